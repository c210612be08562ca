"""The bodies of the simulated server's responses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from manycall import clock
from manycall.sim.generated_text import GeneratedText
from manycall.sim.sim_embeddings import embedding_objects, input_texts
from manycall.sim.sim_request import content_text

EMBEDDINGS_PATH = "/v1/embeddings"
Answers = Sequence[GeneratedText]
"""The answers to one request: as many as its parameter `n`, usually one."""


def prompt_text(path: str, request: Mapping[str, Any]) -> str:
    """Return the prompt of a request.

    Raises:
        LookupError, TypeError, ValueError: the request has none, or is not valid.
    """
    if path == "/v1/chat/completions":
        return "\n\n".join(content_text(message["content"]) for message in request["messages"])
    if path == EMBEDDINGS_PATH:
        return " ".join(map(str, input_texts(request)))
    texts = request["prompt"]
    return str(texts[0] if isinstance(texts, list) else texts)


def _chat(request: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    choices = [
        {"index": n, "message": {"role": "assistant", "content": each.text}, "finish_reason": each.finish_reason}
        for n, each in enumerate(answers)
    ]
    return {"object": "chat.completion", "created": int(clock.wall_time()), "choices": choices}


def _completion(request: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    choices = [{"index": n, "text": each.text, "finish_reason": each.finish_reason} for n, each in enumerate(answers)]
    return {"object": "text_completion", "created": int(clock.wall_time()), "choices": choices}


def _embeddings(request: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    return {"object": "list", "data": embedding_objects(request)}


ANSWER_BODIES: dict[str, Callable[[Mapping[str, Any], Answers], dict[str, Any]]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    EMBEDDINGS_PATH: _embeddings,
}


def error_body(code: str, message: str) -> bytes:
    """Return the body of an error."""
    return msgspec.json.encode({"error": {"message": message, "type": code, "param": None, "code": code}})
