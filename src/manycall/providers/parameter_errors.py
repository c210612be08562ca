"""Read from an error body which parameter a server does not accept, and what it accepts instead.

Every pattern describes a whole message from its beginning: a message that only mentions a parameter teaches nothing,
because it may quote the prompt. A wrong lesson would change the answers of a whole run.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

import msgspec

from manycall.providers.parameter_lesson import ADJUSTABLE, LIMITS, Change, ParameterLesson, canonical_name
from manycall.records import DECODE_ERRORS

STATUSES = frozenset({400, 422})
"""Statuses of a response that may be about a parameter."""
MAX_BODY_BYTES = 64 << 10
MAX_MESSAGE_CHARACTERS = 1000
MAX_LISTED = 20
"""Messages of a list that are read."""
MAX_DEPTH = 4
"""How many objects of an error body may be nested around the message."""


Meaning = Literal["not accepted", "only the default", "one value", "minimum", "stream", "listed"]
_CHANGES: dict[Meaning, Change] = {"only the default": "omit", "one value": "set", "minimum": "minimum"}


class Complaint(NamedTuple):
    """One message of an error body, with the code and the parameter that stand next to it; "" if there are none."""

    message: str
    code: str = ""
    param: str = ""


def read_parameter_errors(status: int, body: bytes) -> list[ParameterLesson]:
    """Return what an error response teaches about parameters; empty for an error about anything else."""
    if status not in STATUSES:
        return []
    try:
        content = msgspec.json.decode(body[:MAX_BODY_BYTES])
    except DECODE_ERRORS:
        return []
    lessons = [lesson for complaint in _complaints(content) for lesson in _lessons(complaint)]
    return list(dict.fromkeys(lessons))


# Shapes of error bodies.


def _complaints(content: Any, depth: int = 0) -> Iterator[Complaint]:
    """Yield the messages of an error body in any known format: nested, flat, listed, FastAPI's, and a proxy's."""
    match content:
        case _ if depth > MAX_DEPTH:
            return
        case str():
            yield Complaint(_clean(content))
        case list():
            for item in content[:MAX_LISTED]:
                yield from _complaints(item, depth + 1)
        case dict():
            yield from _complaints_in_object(content, depth)


def _complaints_in_object(content: dict[str, Any], depth: int) -> Iterator[Complaint]:
    match content:
        case {"metadata": {"raw": str() as raw}}:  # OpenRouter: the error of the provider behind it
            yield from _complaints(_decoded(raw), depth + 1)
        case {"msg": str() as message, "loc": [*_, str() as name]}:  # FastAPI
            yield Complaint(_clean(message), str(content.get("type") or ""), name)
        case {"message": str() as message} if "error" not in content:
            yield Complaint(_clean(message), _text(content.get("code")), _text(content.get("param")))
        case _:
            inner = next((content[name] for name in ("error", "detail", "message") if name in content), None)
            yield from _complaints(inner, depth + 1)


def _text(value: Any) -> str:
    """Return a field that contains text; "" for null, which LiteLLM sends as "None"."""
    return value if isinstance(value, str) and value != "None" else ""


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS:
        return text


_PREFIX = re.compile(
    r"(?:litellm\.\w+(?:Error)?: |(?:\w+Exception|\w+Error)(?: - |: )|Error code: \d+ - |Invalid request: |"
    r"invalid params?[:,] ?|InternalError\.[\w.]+: |<\d+> ?)*",
    re.IGNORECASE,
)
"""Text that proxies and frameworks put before a message."""


def _clean(message: str) -> str:
    return _PREFIX.sub("", " ".join(message[:MAX_MESSAGE_CHARACTERS].split()), count=1)


# What the messages mean.

_NAME = r"['\"`]?(?P<name>[A-Za-z_][\w.]*)['\"`]?"
_VALUE = r"(?P<value>-?\d+(?:\.\d+)?)"
_PATTERNS: tuple[tuple[Meaning, str, str], ...] = (
    ("not accepted", "OpenAI, llama.cpp", rf"Unsupported param(?:eter)?: {_NAME}"),
    ("not accepted", "OpenAI, Azure", rf"(?:Unrecognized request arguments? supplied|Unknown parameter): {_NAME}"),
    ("not accepted", "OpenAI", rf"Invalid parameter: {_NAME} of type '\w+' is not supported with this model"),
    ("not accepted", "Groq", rf"property {_NAME} is unsupported"),
    ("not accepted", "Groq", r"This model does not support (?P<name>response[ _]format)\b"),
    ("not accepted", "several", rf"{_NAME} is (?:not supported|unsupported) (?:with|by|for) (?:this|the) model"),
    ("not accepted", "Anthropic", rf"{_NAME}: Extra inputs are not permitted"),
    ("not accepted", "Anthropic", rf"{_NAME} is deprecated for this model"),
    ("not accepted", "Anthropic", rf"{_NAME} must be (?:greater than or equal to [\d.]+ or )?unset\b"),
    ("not accepted", "Fireworks", rf"Extra inputs are not permitted, field: {_NAME}"),
    ("not accepted", "xAI", rf"Argument not supported on this model: {_NAME}"),
    ("not accepted", "xAI", rf"(?:Model )?[\w./:-]+ does not support (?:the )?parameter:? {_NAME}"),
    ("not accepted", "DeepSeek", rf"[\w./:-]+ does not support the {_NAME} parameter"),
    ("not accepted", "DeepSeek", rf"This {_NAME} type is unavailable now"),
    ("not accepted", "Volcengine", rf"The parameter {_NAME} specified in the request (?:is|are) not valid: "
                                   r".{1,60} is not supported by this model"),
    ("not accepted", "Gemini", rf"Invalid JSON payload received\. Unknown name {_NAME}"
                               r"(?: at '[\w.\[\]]+')?: Cannot find field"),
    ("not accepted", "Gemini", rf"{_NAME} is not enabled for (?:this model|models?/[\w.-]+)"),
    ("not accepted", "servers in Go", rf"(?:json: )?unknown field {_NAME}"),
    ("only the default", "OpenAI", rf"Unsupported value: {_NAME} does not support .{{1,60}} with this model\. "
                                   rf"Only the default \({_VALUE}\) value is supported"),
    ("only the default", "LiteLLM", rf"[\w./() -]{{1,80}} (?:don't|doesn't|does not) support {_NAME}=\S{{1,20}} "
                                    rf"Only (?P=name)={_VALUE} is supported"),
    ("one value", "Moonshot", rf"invalid {_NAME}: only {_VALUE} is allowed for this model"),
    ("one value", "Anthropic", rf"{_NAME} may only be set to {_VALUE} when thinking is enabled"),
    ("one value", "several", rf"{_NAME} must be (?:set to )?{_VALUE} (?:for|with|when using) "
                             r"(?:this|the|thinking|reasoning)\b"),
    ("minimum", "OpenAI, OpenRouter", rf"Invalid {_NAME}: integer below minimum value\. Expected a value >= {_VALUE}"),
    ("minimum", "several", rf"{_NAME} must be (?:at least|>=|greater than or equal to) {_VALUE}(?! or\b)\b"),
    ("stream", "DashScope", r"This model only supports? stream(?:ing)? mode"),
    ("stream", "DashScope", r"(?:parameter\.)?enable_thinking (?:only support stream|"
                            r"must be set to false for non-streaming)"),
    ("stream", "Anthropic", r"Streaming is required for operations that may take longer than"),
    ("listed", "LiteLLM", r"[\w./:-]+ does not support parameters: \[(?P<name>[\w', \"]{1,300})\]"),
)  # fmt: skip
"""What a message means, who sends it, and its beginning."""
_SUGGESTED = re.compile(r"\bUse ['\"`](?P<name>\w+)['\"`] instead")
_NOT_ACCEPTED_CODES = frozenset({"unsupported_parameter", "unknown_parameter", "extra_forbidden"})
"""Codes that say, without the message, that the parameter next to them is not accepted."""


@cache
def _compiled_patterns() -> list[tuple[Meaning, re.Pattern[str]]]:
    """Compile the patterns when they are first needed, because that takes 9 ms."""
    return [(meaning, re.compile(pattern, re.IGNORECASE)) for meaning, _, pattern in _PATTERNS]


def _lessons(complaint: Complaint) -> Iterator[ParameterLesson]:
    """Yield what one message teaches."""
    for meaning, pattern in _compiled_patterns():
        if match := pattern.match(complaint.message):
            yield from _lessons_of(meaning, complaint, **match.groupdict())
            return
    if complaint.code in _NOT_ACCEPTED_CODES and complaint.param:
        yield from _not_accepted(canonical_name(complaint.param), complaint.message)


def _lessons_of(meaning: Meaning, complaint: Complaint, name: str = "", value: str = "") -> Iterator[ParameterLesson]:
    if meaning == "stream":
        yield ParameterLesson("stream", "stream")
        return
    if meaning == "listed":
        for each in re.findall(r"\w+", name):
            yield from _not_accepted(canonical_name(each), "")
        return
    parameter = canonical_name(name.replace(" ", "_"))
    if complaint.param and canonical_name(complaint.param) != parameter:
        return  # the message is about something else
    if meaning == "not accepted":
        yield from _not_accepted(parameter, complaint.message)
        return
    number = float(value) if "." in value else int(value)
    change = _CHANGES[meaning]
    if parameter in (LIMITS if change == "minimum" else ADJUSTABLE):
        yield ParameterLesson(parameter, change, number)


def _not_accepted(parameter: str, message: str) -> Iterator[ParameterLesson]:
    """Yield the lesson about a parameter that is not accepted: another name, or leave it out."""
    if parameter in LIMITS:
        suggested = _SUGGESTED.search(message)
        if suggested is None or suggested["name"] == LIMITS[parameter]:
            yield ParameterLesson(parameter, "rename", LIMITS[parameter])
    elif parameter in ADJUSTABLE:
        yield ParameterLesson(parameter, "omit")
