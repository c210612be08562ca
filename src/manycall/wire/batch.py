"""The OpenAI Batch file: a request on every line in, a response on every line out, as vLLM's run-batch has it too.

Pure: a line's fields in, records out, and back. The shapes are those of OpenAI's API reference ("The request input
object", "The request output object" of the Batch API).
"""

from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.records import UNREADABLE, Api, Completion, Embeddings, Request
from manycall.wire.openai import CONTENT, PATHS, encode

Line = dict[str, Any]


def request(line: Line, model: str = "", params: dict[str, Any] | None = None) -> Request:
    """The request that a line asks for.

    Args:
        model: of a line that names none; "": every line must name its own.
        params: of a line that does not say otherwise; embeddings take none.

    Raises:
        UsageError: it is no such line; the sentence says why.
    """
    name, body = line.get("custom_id"), line.get("body")
    if not isinstance(name, str) or not name:
        raise UsageError(f"custom_id must be a text, not {name!r:.100}")
    if (method := line.get("method", "POST")) != "POST":
        raise UsageError(f"method must be POST, not {method!r:.100}")
    if not isinstance(body, dict):
        raise UsageError(f"body must be an object, not {body!r:.100}")
    api = _api(line.get("url"))
    own = {key: value for key, value in body.items() if key not in ("model", CONTENT[api])}
    if own.pop("stream", False):
        raise UsageError("body.stream cannot be: the whole answer is written at once")
    if own.get("encoding_format", "float") != "float":
        raise UsageError("body.encoding_format must be float")
    content: Any = body.get(CONTENT[api])
    if not content or type(content) not in KINDS[api]:
        raise UsageError(f"body.{CONTENT[api]} must be {SAID[api]}, not {content!r:.100}")
    wanted = body.get("model") or model
    if not wanted or not isinstance(wanted, str):
        raise UsageError("body.model is missing, and -m names none")
    made = Request(api, wanted, content, own if api == "embeddings" else {**(params or {}), **own})
    encode(made)
    return made


KINDS: dict[Api, tuple[type, ...]] = {"chat": (list,), "completions": (str, list), "embeddings": (str, list)}
SAID: dict[Api, str] = {
    "chat": "a list of messages",
    "completions": "a text, or a list of them",
    "embeddings": "a text, or a list of them",
}


def _api(url: Any) -> Api:
    for api, path in PATHS.items():
        if isinstance(url, str) and url.rstrip("/").endswith(path):
            return api
    raise UsageError(f"url must be one of {', '.join('/v1' + path for path in PATHS.values())}, not {url!r:.100}")


def answered(name: str, answer: Completion | Embeddings) -> Line:
    """What the output says of a request that was answered: the server's own body."""
    return _line(name, {"status_code": 200, "body": answer.raw})


def failed(failure: Line) -> Line:
    """What the output says of a request that was given up, from its line in failures.jsonl.

    As OpenAI has it, a refusal is a response with its status; anything else is an error: no reply, or one that holds no
    answer, which is shown too.
    """
    status, raw = failure.get("status"), failure.get("raw")
    error = {"code": failure["verdict"].replace(" ", "_"), "message": failure["error"]}
    if status is None:
        return _line(failure["id"], None, error)
    try:
        body = msgspec.json.decode(raw or "")
    except UNREADABLE:
        body = None
    if status == 200:
        return _line(failure["id"], None if body is None else {"status_code": status, "body": body}, error)
    if not isinstance(body, dict) or "error" not in body:
        body = {"error": error}
    return _line(failure["id"], {"status_code": status, "body": body})


def is_failed(line: bytes) -> bool:
    """Whether this line of an output tells of a request that was given up."""
    try:
        told = _decode(line)
    except UNREADABLE:
        return False
    return told.error is not None or told.response is None or told.response.status_code != 200


def unanswered(line: Line) -> bool:
    """The same, of a line that was decoded."""
    response = line.get("response") or {}
    return line.get("error") is not None or response.get("status_code") != 200


class _Response(msgspec.Struct):
    status_code: int


class _Told(msgspec.Struct):
    response: _Response | None
    error: dict[str, Any] | None


_decode = msgspec.json.Decoder(_Told).decode


def _line(name: str, response: Line | None, error: Line | None = None) -> Line:
    if response is not None:
        of = response["body"].get("id") if isinstance(response["body"], dict) else None
        response = {"status_code": response["status_code"], "request_id": str(of or name), "body": response["body"]}
    return {"id": name, "custom_id": name, "response": response, "error": error}
