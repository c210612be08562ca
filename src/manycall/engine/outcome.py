"""What a row has come to: a result that can be written, or the reason why it is not done."""

import asyncio
import math
import traceback
from collections.abc import Iterable
from pathlib import Path
from sysconfig import get_path
from typing import Any

from manycall import errors
from manycall.data.nesting import MAX_NESTING, TOO_DEEP
from manycall.data.templates import BadPrompt
from manycall.engine.row import RowCalls
from manycall.errors import CallFailed
from manycall.records import Completion, Failure, Made, Row, Unfinished
from manycall.store.parts import PARTS
from manycall.wire import openai

VERDICTS: dict[type[BaseException], Unfinished] = {
    BadPrompt: "bad prompt",
    errors.Filtered: "filtered",
    errors.Declined: "refused",
    errors.EmptyAnswer: "empty",
    errors.OutOfTokens: "empty",
    errors.BadReply: "invalid",
    errors.CallFailed: "call failed",
    BaseException: "function failed",  # the row function is the user's own code
}
BY_CODE: dict[str, Unfinished] = {
    "content_filter": "filtered",  # Azure refuses the prompt with status 400
}

ONLY_THE_ROW: dict[type[BaseException], str] = {
    SystemExit: "it ends this row, and not the command",
    KeyboardInterrupt: "the function raised it; no signal was received",
    asyncio.CancelledError: "cancelled by the function or by one of its tasks",
}
"""What is said of errors that would end a program, where a row function raises them."""

_NOT_THEIRS = (Path(__file__).parent.parent, Path(get_path("stdlib")))
"""Code that the user did not write, though it may be where his went wrong."""


def verdict(error: BaseException) -> Unfinished:
    """Why a row is not done whose function raised this."""
    if isinstance(error, errors.Refused) and error.code in BY_CODE:
        return BY_CODE[error.code]
    return next(VERDICTS[kind] for kind in type(error).__mro__ if kind in VERDICTS)


def status(error: CallFailed) -> int | None:
    """Of the reply in which there was no answer; None if there was no whole reply."""
    if isinstance(error, errors.Refused):
        return error.status
    return 200 if isinstance(error, errors.BadReply) else None


def cause(error: BaseException) -> BaseException:
    """The error itself. Of several at once (an asyncio.TaskGroup raises them as a group), the first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def failure(row: Row, llm: RowCalls, error: BaseException) -> Failure:
    """The end of a row whose function raised this."""
    if isinstance(error, CallFailed):
        return Failure(row, verdict(error), str(error), error.attempts, _text(error.body or llm.raw), status(error))
    said = str(error) if isinstance(error, BadPrompt) else located(error)
    return Failure(row, verdict(error), said, llm.made, _text(llm.raw))


def checked(row: Row, result: Any, may_be_many: bool = False) -> Made:
    """The result, if it can be written.

    Raises:
        Rejected: no rows at all.
        TypeError, ValueError: no dict, another id, a number that JSON does not have.
    """
    if isinstance(result, list) and may_be_many:
        if not result:
            raise errors.Rejected("the answer gave no rows")
        for each in result:
            checked(row, each)
            if taken := {"id", PARTS} & each.keys():
                raise ValueError(f"one of many rows brings {min(taken)!r} along, which is ours to give")
        return result
    if not isinstance(result, dict):
        raise TypeError(f"the row function must return a dict of fields, not {type(result).__name__}")
    if str(result.get("id", row.id)) != row.id:
        raise ValueError("the row function returned another 'id', which is the row's name")
    if any(map(_not_finite, result.values())):
        raise ValueError("the row function returned a number that JSON does not have: nan or infinity")
    return result


def _not_finite(value: Any, level: int = 2) -> bool:
    """Whether there is a nan or an infinity in it, which the JSON encoder would write as null.

    Raises:
        ValueError: it is nested too deeply, or within itself.
    """
    if isinstance(value, str):  # as nearly all are
        return False
    match value:
        case float():
            return not math.isfinite(value)
        case dict():
            values: Iterable[Any] = value.values()
        case list() | tuple():
            values = value
        case _:
            return False
    if level > MAX_NESTING:
        raise ValueError(f"the row function returned a value {TOO_DEEP}")
    return any(_not_finite(each, level + 1) for each in values)


def located(error: BaseException) -> str:
    """Return the error with the line of the user's code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = (f for f in reversed(frames) if not any(map(Path(f.filename).is_relative_to, _NOT_THEIRS)))
    at = next((f"{Path(f.filename).name}, line {f.lineno}" for f in theirs), "")
    name, text = type(error).__name__, str(error)
    said = next((f"; {ONLY_THE_ROW[kind]}" for kind in type(error).__mro__ if kind in ONLY_THE_ROW), "")
    return (f"{name}: {text}" if text else name) + (f" ({at})" if at else "") + said


def _text(body: bytes) -> str | None:
    """The answer's text in a reply, or else the reply itself, as far as it can be shown."""
    if not body:
        return None
    try:
        answer = openai.decode("chat", body)
    except CallFailed:
        return body[:10_000].decode("utf-8", "replace")
    return answer.text if isinstance(answer, Completion) else None
