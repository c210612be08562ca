"""The outcome of a row: a result that can be written, or the failure."""

import asyncio
import math
import traceback
from collections.abc import Iterable
from pathlib import Path
from sysconfig import get_path
from typing import Any

from manycall import errors
from manycall.data.nesting import MAX_NESTING, TOO_DEEP
from manycall.data.prompt_error import PromptError
from manycall.errors import CallError, FailureClass
from manycall.providers import openai
from manycall.records import Completion, Failure, FailureKind, Row, RowOutput
from manycall.run.row_client import RowClient
from manycall.store.row_parts import PARTS

KIND_BY_ERROR: dict[type[BaseException], FailureKind] = {
    PromptError: "prompt_error",
    errors.ContentFiltered: "content_filter",
    errors.Declined: "refused",
    errors.EmptyCompletion: "empty",
    errors.ReasoningOnly: "reasoning_only",
    errors.MaxTokensReached: "reasoning_only",
    errors.InvalidResponse: "invalid",
    errors.CallError: "call_error",
    BaseException: "function_error",  # the row function is the user's own code
}
KIND_BY_CLASS: dict[FailureClass, FailureKind] = {
    FailureClass.CONTENT_FILTER: "content_filter",  # most filters of the prompt respond with an error status
}
"""The meaning of a failed attempt is more specific than the type of its error, so it takes precedence."""

ONLY_THE_ROW: dict[type[BaseException], str] = {
    SystemExit: "it ends this row, and not the command",
    KeyboardInterrupt: "the function raised it; no signal was received",
    asyncio.CancelledError: "cancelled by the function or by one of its tasks",
}
"""Explanation added to errors that would end a program, when a row function raises them."""

_LIBRARY_PATHS = (Path(__file__).parent.parent, Path(get_path("stdlib")))
"""Locations of code that the user did not write. The reported line is the last one outside of them."""


def failure_kind(error: BaseException) -> FailureKind:
    """Return the kind of failure of a row whose function raised this error."""
    if isinstance(error, CallError) and error.failure_class in KIND_BY_CLASS:
        return KIND_BY_CLASS[error.failure_class]
    return next(KIND_BY_ERROR[kind] for kind in type(error).__mro__ if kind in KIND_BY_ERROR)


def http_status(error: CallError) -> int | None:
    """Return the HTTP status of the response without an answer; None if there was no complete response."""
    if isinstance(error, errors.HttpStatusError):
        return error.status
    return 200 if isinstance(error, errors.InvalidResponse) else None


def cause(error: BaseException) -> BaseException:
    """Return the error or, of an exception group (as raised by asyncio.TaskGroup), the first one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def make_failure(row: Row, llm: RowClient, error: BaseException) -> Failure:
    """Return the failure of a row whose function raised this error."""
    if isinstance(error, CallError):
        return Failure(
            row, failure_kind(error), str(error), error.attempts, _text(error.body or llm.last_body), http_status(error)
        )
    message = str(error) if isinstance(error, PromptError) else located(error)
    return Failure(row, failure_kind(error), message, llm.calls_made, _text(llm.last_body))


def validate_result(row: Row, result: Any, may_be_many: bool = False) -> RowOutput:
    """Return the result of a row function if it can be written.

    Raises:
        RowRejected: the result is an empty list.
        TypeError, ValueError: the result is not a dict, has another id, a number that JSON does not have, or a field
            that is reserved for split rows.
    """
    if not may_be_many:
        return _validate_fields(row, result)
    output: RowOutput = result
    if output == []:
        raise errors.RowRejected("the answer gave no rows")
    reserved = {"id", PARTS} if isinstance(output, list) else {PARTS}
    for each in output if isinstance(output, list) else [output]:
        if taken := reserved & _validate_fields(row, each).keys():
            raise ValueError(
                f"the row function returned a field {min(taken)!r}, which is reserved for split rows. Rename it"
            )
    return output


def _validate_fields(row: Row, result: Any) -> dict[str, Any]:
    """Return the fields of one output row if they can be written. Raises TypeError and ValueError."""
    if not isinstance(result, dict):
        raise TypeError(f"the row function must return a dict of fields, not {type(result).__name__}")
    if "id" in result and str(result["id"]) != row.id:
        raise ValueError("the row function returned another 'id', which is the row's name")
    for value in result.values():
        if not isinstance(value, str) and _not_finite(value):
            raise ValueError("the row function returned a number that JSON does not have: nan or infinity")
    return result


def _not_finite(value: Any, level: int = 2) -> bool:
    """Whether the value contains a NaN or an infinity, which the JSON encoder would write as null.

    Raises:
        ValueError: the value is nested too deeply, or contains itself.
    """
    if isinstance(value, str):  # the usual case
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
    theirs = (f for f in reversed(frames) if not any(map(Path(f.filename).is_relative_to, _LIBRARY_PATHS)))
    at = next((f"{Path(f.filename).name}, line {f.lineno}" for f in theirs), "")
    name, text = type(error).__name__, str(error)
    explanation = next((f"; {ONLY_THE_ROW[kind]}" for kind in type(error).__mro__ if kind in ONLY_THE_ROW), "")
    return (f"{name}: {text}" if text else name) + (f" ({at})" if at else "") + explanation


def _text(body: bytes) -> str | None:
    """Return the text of the answer in a response; without an answer, the first 10,000 bytes of the response."""
    if not body:
        return None
    try:
        answer = openai.decode("chat", body)
    except CallError:
        return body[:10_000].decode("utf-8", "replace")
    return answer.text if isinstance(answer, Completion) else None
