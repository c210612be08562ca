"""The fields of a chat or completions reply, in every spelling that providers use.

Thinking text and finish reasons have several names. This module reads them all and returns one meaning.
`openai.decode` parses the body into these structs. Optional fields are `Raw` or `Any`, so that a field of an unexpected
type does not make the answer unreadable.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from manycall import errors
from manycall.option_flags import option
from manycall.providers import reasoning
from manycall.providers.error_body import one_line, parse_error_body
from manycall.providers.token_usage import ReportedUsage
from manycall.records import DECODE_ERRORS, AnswerChoice

ABSENT = msgspec.Raw()
EMPTY_JSON_VALUES = (b"", b"null", b'""', b"{}", b"[]", b"false")


class Part(msgspec.Struct, gc=False):
    """One part of a `content` list. Mistral sends thinking text as a part."""

    text: str = ""
    thinking: Any = None


class Message(msgspec.Struct, gc=False):
    """The message of a choice."""

    content: str | list[Part] | None = None
    tool_calls: msgspec.Raw = ABSENT
    refusal: msgspec.Raw = ABSENT
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None


class Choice(msgspec.Struct, gc=False):
    """One answer. `error` is OpenRouter's description of the finish reason "error"."""

    message: Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    error: msgspec.Raw = ABSENT


class Vector(msgspec.Struct, gc=False):
    """One embedding: a list of numbers, or their base64 form. `index` is the position of its text in the request."""

    embedding: list[float] | str | None = None
    index: int | None = None


class ReplyWithoutUsage(msgspec.Struct, gc=False):
    """A reply of any of the three APIs. `base_resp` is MiniMax's error, which has status 200."""

    choices: list[Choice] | None = None
    data: list[Vector] | None = None
    error: msgspec.Raw = ABSENT
    base_resp: msgspec.Raw = ABSENT


class Reply(ReplyWithoutUsage):
    """A reply with its token counts."""

    usage: ReportedUsage | None = None


FINISH_REASONS = {"eos": "stop", "model_length": "length", "max_tokens": "length", "sensitive": "content_filter"}
"""Other names of a finish reason: Together, Mistral, Anthropic's word in some gateways, GLM."""
BROKEN_REASONS = {"error", "network_error", "abort", "insufficient_system_resource", "parse_error"}
"""The server failed while it wrote the answer: OpenRouter, Mistral, GLM, vLLM, SGLang, DeepSeek, LMDeploy."""
_ENDINGS_WITHOUT_ANSWER = {"content_filter", "refusal", *BROKEN_REASONS}


def read_choice(choice: Choice, body: bytes, is_thinker: bool) -> tuple[str, str, str]:
    """Return (text, finish reason, thinking text) of a choice, or raise the reason why it has no answer.

    Args:
        body: the response, for the exception.
        is_thinker: the model is known to begin every answer with thinking text.
    """
    finish = choice.finish_reason or ""
    if finish != "stop":
        finish = FINISH_REASONS.get(finish, finish)
        if finish in _ENDINGS_WITHOUT_ANSWER:  # a text that is present is incomplete
            raise _without_answer(choice, finish, body)
    message = choice.message
    thought = ""
    if message is None:
        text = choice.text
    elif isinstance(message.content, str) and not (
        message.reasoning_content or message.reasoning or message.reasoning_details
    ):  # the usual case
        text = message.content
    else:
        text, thought = _read_message(message)
    if text and not thought and (is_thinker or (message is not None and text.startswith(reasoning.FIRST_CHARACTERS))):
        thought, text = reasoning.split(text, is_thinker=is_thinker, finish=finish)
    if text and not (thought and text.isspace()):
        return text, finish, thought
    if message is not None and bytes(message.tool_calls) not in EMPTY_JSON_VALUES:
        return "", finish, thought
    raise _empty(message, finish, thought, body)


def read_choices(choices: Sequence[Choice], body: bytes, is_thinker: bool) -> tuple[AnswerChoice, ...]:
    """Return the choices that have an answer; if none has, raise the reason of the first.

    Args:
        body, is_thinker: see `read_choice`.
    """
    answers, problem = [], None
    for position, choice in enumerate(choices):
        try:
            answers.append(AnswerChoice(*read_choice(choice, body, is_thinker), position))
        except errors.InvalidResponse as error:
            problem = problem or error.with_traceback(None)
    if problem is not None and not answers:
        raise problem
    return tuple(answers)


def _read_message(message: Message) -> tuple[str | None, str]:
    """Return (text, thinking text). The first place with thinking text counts, because some servers send it twice."""
    content = message.content
    thought = (
        _joined(message.reasoning_content) or _joined(message.reasoning) or _joined(message.reasoning_details)
        if message.reasoning_content or message.reasoning or message.reasoning_details
        else ""
    )
    if isinstance(content, list):
        thought = thought or "".join(_joined(part.thinking) for part in content)
        content = "".join(part.text for part in content)
    return content, thought


def _joined(value: Any) -> str:
    """Return a string, or the joined texts of a list of parts. Encrypted parts, for example, have no text."""
    if isinstance(value, list):
        texts = (part.get("text") for part in value if isinstance(part, dict))
        return "".join(text for text in texts if isinstance(text, str))
    return value if isinstance(value, str) else ""


def _without_answer(choice: Choice, finish: str, body: bytes) -> errors.InvalidResponse:
    if finish == "content_filter":
        return errors.ContentFiltered("A content filter blocked the answer.", body=body)
    if finish == "refusal":
        refusal = ABSENT if choice.message is None else choice.message.refusal
        return errors.Declined(f"The model refused to answer{_explanation(refusal)}", body=body)
    details = "" if choice.error is ABSENT else parse_error_body(b'{"error":' + bytes(choice.error) + b"}")[1]
    return errors.InvalidResponse(f"The answer broke off: finish_reason is {finish!r}. {details}".strip(), body=body)


def _empty(message: Message | None, finish: str, thought: str, body: bytes) -> errors.InvalidResponse:
    """Return the error of a choice without a text."""
    if message is not None and bytes(message.refusal) not in EMPTY_JSON_VALUES:
        return errors.Declined(f"The model refused to answer{_explanation(message.refusal)}", body=body)
    if finish == "length":
        why = (
            "The answer ended inside its thinking, because max_tokens was reached."
            if thought
            else "The model reached max_tokens before writing an answer."
        )
        remedy = f"Raise {option('max_tokens')}, or max_tokens in a request that sets it itself."
        return errors.MaxTokensReached(f"{why} {remedy}", body=body)
    if thought:
        return errors.ReasoningOnly("The response contains thinking text but no answer.", body=body)
    return errors.EmptyCompletion("The answer is empty.", body=body)


def _explanation(refusal: msgspec.Raw) -> str:
    """Return the text of `message.refusal`. OpenAI defines it as a string; any other value is returned as sent."""
    sent = bytes(refusal)
    if sent in EMPTY_JSON_VALUES:
        return "."
    text = sent.decode("utf-8", "replace")
    with suppress(*DECODE_ERRORS):
        text = _decode_string(refusal)
    return f": {one_line(text)}"


_decode_string = msgspec.json.Decoder(str).decode


class _BaseResp(msgspec.Struct):
    status_code: int = 0
    status_msg: str = ""


_decode_base_resp = msgspec.json.Decoder(_BaseResp | None).decode
_MINIMAX_FILTERED = {1026, 1027}
"""MiniMax's content filter, for the prompt and for the answer."""


def without_choice(reply: ReplyWithoutUsage, body: bytes) -> errors.InvalidResponse:
    """Return the error of a reply that has no choice. MiniMax sends its errors in this way."""
    base = None
    with suppress(*DECODE_ERRORS):
        base = _decode_base_resp(reply.base_resp) if reply.base_resp is not ABSENT else None
    if base is None or base.status_code == 0:
        return errors.InvalidResponse(f"The response contains no choice. It is: {parse_error_body(body)[1]}", body=body)
    said = f"{one_line(base.status_msg)} ({base.status_code})"
    if base.status_code in _MINIMAX_FILTERED:
        return errors.ContentFiltered(f"A content filter blocked the answer: {said}", body=body)
    return errors.InvalidResponse(f"The response has status 200 but contains an error: {said}", body=body)
