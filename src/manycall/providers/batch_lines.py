"""Convert lines of OpenAI Batch files: one request per input line, one response per output line.

vLLM's run-batch uses the same format. These functions do no I/O: they convert the fields of a line to records and back.
The format is described in OpenAI's API reference ("The request input object" and "The request output object" of the
Batch API).
"""

from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.openai import API_PATHS, CONTENT_FIELD, encode
from manycall.providers.parameter_lesson import with_defaults
from manycall.records import DECODE_ERRORS, Api, Completion, Embeddings, Request

BatchLine = dict[str, Any]


def parse_request(line: BatchLine, model: str = "", params: dict[str, Any] | None = None) -> Request:
    """Return the request of an input line.

    Args:
        line: the decoded line.
        model: default for lines without a model; "" if every line must name its model.
        params: default parameters, which a line may override. They are not used for embeddings.

    Raises:
        UsageError: the line is not valid. The message is the reason.
    """
    name, body = line.get("custom_id"), line.get("body")
    if not isinstance(name, str) or not name:
        raise UsageError(f"custom_id must be a string, got {name!r:.100}")
    if (method := line.get("method", "POST")) != "POST":
        raise UsageError(f"method must be POST, got {method!r:.100}")
    if not isinstance(body, dict):
        raise UsageError(f"body must be an object, got {body!r:.100}")
    api = _api(line.get("url"))
    own = {key: value for key, value in body.items() if key not in ("model", CONTENT_FIELD[api])}
    if own.pop("stream", False):
        raise UsageError("body.stream is not supported, because complete answers are written")
    if own.get("encoding_format", "float") != "float":
        raise UsageError("body.encoding_format must be float")
    content: Any = body.get(CONTENT_FIELD[api])
    if not content or type(content) not in CONTENT_TYPES[api]:
        raise UsageError(f"body.{CONTENT_FIELD[api]} must be {CONTENT_DESCRIPTIONS[api]}, got {content!r:.100}")
    model_name = body.get("model") or model
    if not model_name or not isinstance(model_name, str):
        raise UsageError(f"body.model is missing, and {option('model')} is not set")
    request = Request(api, model_name, content, own if api == "embeddings" else with_defaults(own, params or {}))
    encode(request)
    return request


CONTENT_TYPES: dict[Api, tuple[type, ...]] = {"chat": (list,), "completions": (str, list), "embeddings": (str, list)}
CONTENT_DESCRIPTIONS: dict[Api, str] = {
    "chat": "a list of messages",
    "completions": "a string or a list",
    "embeddings": "a string or a list",
}


def _api(url: Any) -> Api:
    for api, path in API_PATHS.items():
        if isinstance(url, str) and url.rstrip("/").endswith(path):
            return api
    raise UsageError(f"url must be one of {', '.join('/v1' + path for path in API_PATHS.values())}, got {url!r:.100}")


def success_line(name: str, answer: Completion | Embeddings) -> BatchLine:
    """Return the output line of a request that was answered, with the server's response body unchanged."""
    return _line(name, {"status_code": 200, "body": answer.raw})


def failure_line(failure: BatchLine) -> BatchLine:
    """Return the output line of a request that failed, from its line in failures.jsonl.

    As in OpenAI's format, an HTTP error is a response with its status. Any other failure is an error: there was no
    response, or the response contained no answer. In the latter case, the line also contains the response.
    """
    status, raw = failure.get("status"), failure.get("last_text")
    error = {"code": failure["kind"], "message": failure["error"]}
    if status is None:
        return _line(failure["id"], None, error)
    try:
        body = msgspec.json.decode(raw or "")
    except DECODE_ERRORS:
        body = None
    if status == 200:
        return _line(failure["id"], None if body is None else {"status_code": status, "body": body}, error)
    if not isinstance(body, dict) or "error" not in body:
        body = {"error": error}
    return _line(failure["id"], {"status_code": status, "body": body})


def is_failed_bytes(line: bytes) -> bool:
    """Return whether an encoded output line is that of a failed request."""
    try:
        output = _decode(line)
    except DECODE_ERRORS:
        return False
    return output.error is not None or output.response is None or output.response.status_code != 200


def is_failed_line(line: BatchLine) -> bool:
    """Return whether a decoded output line is that of a failed request."""
    response = line.get("response") or {}
    return line.get("error") is not None or response.get("status_code") != 200


class _Response(msgspec.Struct):
    status_code: int


class _OutputLine(msgspec.Struct):
    response: _Response | None
    error: dict[str, Any] | None


_decode = msgspec.json.Decoder(_OutputLine).decode


def _line(name: str, response: BatchLine | None, error: BatchLine | None = None) -> BatchLine:
    if response is not None:
        body_id = response["body"].get("id") if isinstance(response["body"], dict) else None
        request_id = str(body_id or name)
        response = {"status_code": response["status_code"], "request_id": request_id, "body": response["body"]}
    return {"id": name, "custom_id": name, "response": response, "error": error}
