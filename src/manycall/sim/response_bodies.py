"""The bodies of the simulated server's responses."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from manycall import clock
from manycall.sim.generated_text import GeneratedText
from manycall.sim.sim_embeddings import embedding_objects, input_texts

EMBEDDINGS_PATH = "/v1/embeddings"


def prompt_text(path: str, request: Mapping[str, Any]) -> str:
    """Return the prompt of a request.

    Raises:
        LookupError, TypeError, ValueError: the request has none, or is not valid.
    """
    if path == "/v1/chat/completions":
        return "\n\n".join(str(message["content"]) for message in request["messages"])
    if path == EMBEDDINGS_PATH:
        return " ".join(map(str, input_texts(request)))
    texts = request["prompt"]
    return str(texts[0] if isinstance(texts, list) else texts)


def _chat(request: Mapping[str, Any], answer: GeneratedText) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return {"object": "chat.completion", "created": int(clock.wall_time()), "choices": [choice]}


def _completion(request: Mapping[str, Any], answer: GeneratedText) -> dict[str, Any]:
    choice = {"index": 0, "text": answer.text, "finish_reason": answer.finish_reason}
    return {"object": "text_completion", "created": int(clock.wall_time()), "choices": [choice]}


def _embeddings(request: Mapping[str, Any], answer: GeneratedText) -> dict[str, Any]:
    return {"object": "list", "data": embedding_objects(request)}


ANSWER_BODIES: dict[str, Callable[[Mapping[str, Any], GeneratedText], dict[str, Any]]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    EMBEDDINGS_PATH: _embeddings,
}


def error_body(code: str, message: str) -> bytes:
    """Return the body of an error."""
    return msgspec.json.encode({"error": {"message": message, "type": code, "param": None, "code": code}})
