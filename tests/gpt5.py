"""A server that refuses parameters as OpenAI's reasoning models do."""

from typing import Any

import msgspec

from fakes import no_header
from manycall.transport.memory import chat_response
from manycall.transport.messages import HttpResponse


def refused(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> HttpResponse:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return HttpResponse(status, msgspec.json.encode({"error": error}), no_header)


def gpt5(body: dict[str, Any], text: str = "5") -> HttpResponse:
    """Answer as gpt-5-mini does."""
    if "max_tokens" in body:
        return refused(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens", "unsupported_parameter",
        )  # fmt: skip
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            return refused(
                f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                "Only the default (1) value is supported.",
                name, "unsupported_value",
            )  # fmt: skip
    if "stop" in body:
        return refused(
            "Unsupported parameter: 'stop' is not supported with this model.", "stop", "unsupported_parameter"
        )
    return chat_response(text)
