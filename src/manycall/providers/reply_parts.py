"""The other parts of a choice: tool calls, log probabilities, the explanation of a refusal."""

from contextlib import suppress
from typing import Any, Literal

import msgspec

from manycall.records import DECODE_ERRORS

ReplyPart = Literal["tool_calls", "logprobs", "refusal"]
REPLY_PARTS: tuple[ReplyPart, ...] = ("tool_calls", "logprobs", "refusal")


class _Message(msgspec.Struct):
    tool_calls: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    logprobs: Any = None


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []


_decode = msgspec.json.Decoder(_Reply).decode


def read_parts(body: bytes, position: int) -> dict[ReplyPart, Any]:
    """Return the parts of a choice that are present, in the chat API's form.

    Args:
        body: the response of the chat or completions API.
        position: place of the choice in the response, from 0.
    """
    with suppress(*DECODE_ERRORS, IndexError):
        choice = _decode(body).choices[position]
        message = choice.message or _Message()
        found: dict[ReplyPart, Any] = {
            "tool_calls": message.tool_calls, "logprobs": choice.logprobs, "refusal": message.refusal
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}
    return {}
