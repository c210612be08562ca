"""JSON in the text of an answer: in prose, in a code fence, after thinking text, or with a small syntax error.

The search takes one pass and linear time, because answers are untrusted and may have hundreds of kilobytes. Two rules
prevent a wrong value. An incomplete text is never completed, because its rest is unknown. If the text contains several
different values that fit, none of them is chosen.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from manycall.providers.reasoning import text_after_thinking
from manycall.records import DECODE_ERRORS

T = TypeVar("T")
TRAILING_COMMA, RAW_CONTROL = "trailing comma", "unescaped control character"
"""The errors that are repaired: each has one possible meaning."""
MAX_VALUES = 100
"""Maximum number of JSON values in the text of an answer. The caller's check may be slow."""

_SPACE = "[ \t\r\n]*+"
_START = re.compile(rf'\{{(?={_SPACE}["}}])|\[(?={_SPACE}(?:["\[{{\]\d-]|true\b|false\b|null\b))')
"""The beginning of an object or an array. A bracket in prose, such as [see above] or \\frac{{a}}, seldom matches."""
_TOKEN = re.compile(rf'"(?:[^"\\]++|\\.?+)*+(?:"|\Z)|[{{}}\[\]]|,(?={_SPACE}[}}\]])', re.DOTALL)
"""A string, a bracket or a trailing comma. A string without an end extends to the end of the text. If it did not match,
the search would start again inside it and take quadratic time."""
_CONTROL = re.compile(r"[\x00-\x1f]")
_CLOSING = {"{": "}", "[": "]"}


class JsonAnswer(NamedTuple, Generic[T]):
    """The JSON value in an answer.

    Attributes:
        value: what `accept` returned for it.
        is_extracted: the answer contained other text in addition to the value.
        repairs: the errors that were repaired.
    """

    value: T
    is_extracted: bool = False
    repairs: tuple[str, ...] = ()


def read_json(text: str, accept: Callable[[Any], T]) -> JsonAnswer[T]:
    """Return the JSON value in an answer.

    Args:
        accept: returns the value to use; raises ValueError, with the reasons, if the value does not fit.

    Raises:
        ValueError: there is no value, none that fits, or several different ones. The message is for the model.
    """
    try:
        whole = msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        syntax_error = ValueError(f"not valid JSON: {error}")
    else:
        return JsonAnswer(accept(whole))
    body = _without_fence(text_after_thinking(text))
    try:
        return JsonAnswer(accept(msgspec.json.decode(body)), is_extracted=True)
    except DECODE_ERRORS:  # also if it does not fit, with the same reasons below
        return _only_one(_accepted(body, accept, syntax_error, len(text.strip())))


def _only_one(found: Iterator[JsonAnswer[T]]) -> JsonAnswer[T]:
    first = next(found)
    if any(other.value != first.value for other in found):
        raise ValueError("the answer contains several different JSON values that fit. Give only one")
    return first


def _accepted(body: str, accept: Callable[[Any], T], error: ValueError, size: int) -> Iterator[JsonAnswer[T]]:
    """Yield each value that fits.

    Args:
        error: raised if the body contains no value at all.
        size: length of the whole answer.

    Raises:
        ValueError: none fits, the text ends within a value, or there are too many values.
    """
    is_any = False
    for number, (start, end, repaired, repairs) in enumerate(_find_spans(body)):
        if number == MAX_VALUES:
            raise ValueError(f"the answer contains more than {MAX_VALUES} JSON values")
        try:
            value = msgspec.json.decode(repaired)
        except DECODE_ERRORS as syntax_error:
            error = ValueError(f"not valid JSON: {syntax_error}") if not is_any else error
            continue
        try:
            yield JsonAnswer(accept(value), end - start < size, repairs)
            is_any = True
        except ValueError as reasons:
            error = reasons
    if not is_any:
        raise error


def _find_spans(text: str) -> Iterator[tuple[int, int, str, tuple[str, ...]]]:
    """Yield (start, end, repaired text, repairs) of each object and array that is not inside another one.

    Raises:
        ValueError: the text ends within one, or a bracket is closed by one of the other kind.
    """
    end = 0
    while opening := _START.search(text, end):
        start = opening.start()
        pieces, expected, repairs = list[str](), list[str](), dict[str, None]()
        done = start
        for token in _TOKEN.finditer(text, start):
            what = token[0]
            if what in _CLOSING:
                expected.append(_CLOSING[what])
            elif what == ",":
                pieces.append(text[done : token.start()])
                done = token.end()
                repairs[TRAILING_COMMA] = None
            elif what[0] == '"':
                if escaped := _escape_controls(what):
                    pieces += (text[done : token.start()], escaped)
                    done = token.end()
                    repairs[RAW_CONTROL] = None
            elif what != expected.pop():
                raise ValueError(f"not valid JSON: unexpected {what!r} (character {token.start():,})")
            elif not expected:
                end = token.end()
                break
        else:
            raise ValueError(f"incomplete JSON, from character {start:,}")
        yield start, end, "".join((*pieces, text[done:end])), tuple(repairs)


def _escape_controls(string: str) -> str:
    """Return a JSON string with its control characters escaped; "" if it contains none."""
    if string.isprintable():  # the usual case
        return ""
    escaped, count = _CONTROL.subn(lambda match: msgspec.json.encode(match[0]).decode()[1:-1], string)
    return escaped if count else ""


def _without_fence(text: str) -> str:
    """Return the content of a code fence around a text; the text itself if there is none."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3].strip()
    return text
