"""The chat and completions APIs of the simulated providers: read requests, write replies and streams."""

from collections.abc import Iterator
from typing import Any

from manycall.sim.reply_usage import USAGES
from manycall.sim.sim_dialects import SimDialect
from manycall.sim.sim_embeddings import embedding_objects, input_texts
from manycall.sim.sim_request import Body, SimAnswer, SimCall, prompt_of, stop_list
from manycall.sim.sim_stream import StreamPlan, sse
from manycall.sim.thinking_text import REASONING_FORMS, cut_text, deltas

_DONE = b"data: [DONE]\n\n"


def read_chat(body: Body, model: str) -> SimCall:
    """Return the call of a chat request. The URL contains the model in Azure's classic API.

    Raises:
        LookupError, TypeError, AttributeError: the request is not valid.
    """
    return _read(body, model, prompt_of(*(message["content"] for message in body["messages"])))


def read_completion(body: Body, model: str) -> SimCall:
    """Return the call of a completions request; as `read_chat`."""
    prompt = body["prompt"]
    return _read(body, model, str(prompt[0] if isinstance(prompt, list) else prompt))


def read_embeddings(body: Body, model: str) -> SimCall:
    """Return the call of an embeddings request; as `read_chat`."""
    return SimCall(body["model"], " ".join(map(str, input_texts(body))), body, {})


def embeddings_reply(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> Body:
    """Return the body of embeddings."""
    usage = {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens}
    return {"object": "list", "model": answer.model, "data": embedding_objects(call.body), "usage": usage}


def _read(body: Body, model: str, prompt: str) -> SimCall:
    params = {name: body.get(name) for name in ("temperature", "response_format")}
    params["stop"] = stop_list(body.get("stop"))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    options = body.get("stream_options") or {}
    return SimCall(
        model or body["model"], prompt, body, params, limit, bool(body.get("stream")),
        body.get("include_reasoning") is not False, bool(options.get("include_usage")),
    )  # fmt: skip


def chat_reply(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> Body:
    """Return the body of a chat completion."""
    message: Body = {"role": "assistant", **REASONING_FORMS[form](_thinking(call, answer), answer.text)}
    if answer.refusal:
        message |= {"content": None, "refusal": answer.refusal}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer, dialect)}
    if answer.finish_reason == "content_filter" and dialect.name.startswith("azure"):
        choice["content_filter_results"] = {"violence": {"filtered": True, "severity": "medium"}}
    return {
        **_head(answer, "chat.completion"),
        "choices": [choice],
        "usage": USAGES[dialect.usage](answer),
        **_extras(answer, dialect),
    }


def completion_reply(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> Body:
    """Return the body of a completion."""
    choice = {"index": 0, "text": answer.text, "finish_reason": _finish(answer, dialect)}
    return {**_head(answer, "text_completion"), "choices": [choice], "usage": USAGES[dialect.usage](answer)}


def chat_stream(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> StreamPlan:
    """Return the chunks of a streamed chat completion."""
    head = {**_head(answer, "chat.completion.chunk"), **_extras(answer, dialect)}
    opening = b""
    if dialect.name == "azure":
        filters = [{"prompt_index": 0, "content_filter_results": {}}]
        opening = sse({**head, "id": "", "model": "", "choices": [], "prompt_filter_results": filters})
    opening += sse(_chunk(head, {"role": "assistant", "content": ""}))
    pieces = [sse(_chunk(head, delta)) for delta in _deltas(call, answer, form)]
    return StreamPlan(opening, pieces, _closing(call, answer, dialect, head, {"delta": {}}))


def completion_stream(call: SimCall, answer: SimAnswer, dialect: SimDialect, form: str) -> StreamPlan:
    """Return the chunks of a streamed completion."""
    head = _head(answer, "text_completion")
    pieces = [
        sse({**head, "choices": [{"index": 0, "text": piece, "finish_reason": None}]})
        for piece in cut_text(answer.text)
    ]
    return StreamPlan(b"", pieces, _closing(call, answer, dialect, head, {"text": ""}))


def chat_error_event(body: Any) -> bytes:
    """Return the events with which a stream ends after an error."""
    return sse(body) + _DONE


def _closing(call: SimCall, answer: SimAnswer, dialect: SimDialect, head: Body, last: Body) -> bytes:
    end = {**head, "choices": [{"index": 0, **last, "finish_reason": _finish(answer, dialect)}]}
    usage = b""
    if call.has_usage or dialect.sends_usage:
        usage = sse({**head, "choices": [], "usage": USAGES[dialect.usage](answer)})
    if dialect.name == "groq":
        end["x_groq"] = {"id": "req_sim", "usage": USAGES[dialect.usage](answer)}
    return sse(end) + usage + _DONE


def _deltas(call: SimCall, answer: SimAnswer, form: str) -> Iterator[Body]:
    if not answer.refusal:
        return deltas(form, _thinking(call, answer), answer.text, cut_text)
    return ({"refusal": piece} for piece in cut_text(answer.refusal))


def _thinking(call: SimCall, answer: SimAnswer) -> str:
    return answer.thinking if call.shows_thinking else ""


def _chunk(head: Body, delta: Body) -> Body:
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def _head(answer: SimAnswer, kind: str) -> Body:
    return {"id": answer.id, "object": kind, "created": answer.created, "model": answer.model}


def _finish(answer: SimAnswer, dialect: SimDialect) -> str:
    return dialect.finishes.get(answer.finish_reason, answer.finish_reason)


def _extras(answer: SimAnswer, dialect: SimDialect) -> Body:
    """Return further fields at the top of a reply or a chunk."""
    if dialect.name == "openai":
        return {"service_tier": "default", "system_fingerprint": "fp_sim"}
    if dialect.name == "openrouter":
        return {"provider": "Sim"}
    if dialect.name == "minimax":
        return {"base_resp": {"status_code": 0, "status_msg": ""}}
    return {}
