"""Check which options of a call with a prompt can be combined."""

from typing import Literal

from manycall.data.answer_schema import SchemaLike
from manycall.data.row_prompt import RowPrompt
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.reply_parts import ReplyPart
from manycall.run.options import check_choice

TextApi = Literal["chat", "completions"]
"""API of the call. With "completions" the prompt is sent as plain text, without a chat template."""


def check_call(
    prompt: RowPrompt, output_field: str, schema: SchemaLike | None, extract: str | None, api: TextApi
) -> None:
    """Check that the arguments can be combined.

    Raises:
        UsageError: they cannot, the API is unknown, or the name of the output field is reserved.
    """
    check_choice("api", api, TextApi)
    if output_field in ("", "id"):
        raise UsageError(f"The output field cannot be {output_field!r}. Choose another name.")
    if api == "completions" and (schema is not None or not prompt.is_plain_text):
        raise UsageError(
            f"{option('api', 'completions')} sends plain text and cannot be combined with {option('schema')}, "
            f"{option('system')}, {option('messages')} or {option('images')}."
        )
    if schema is not None and extract is not None:
        raise UsageError(f"{option('schema')} and {option('extract')} cannot be combined: choose one form of answer.")


def check_form(choices: int, keep: tuple[ReplyPart, ...]) -> None:
    """Check the options that an answer with a schema, a regular expression or a `parse` function does not support.

    Raises:
        UsageError: one of them was given.
    """
    if choices > 1:
        raise UsageError(
            f"The parameter n cannot be combined with {option('schema')}, {option('extract')} or {option('parse')}. "
            f"Use {option('samples')}."
        )
    if "refusal" in keep:
        raise UsageError(
            f"{option('keep', 'refusal')} cannot be combined with {option('schema')}, {option('extract')} or "
            f"{option('parse')}: a refusal has none of the fields. Refused rows are in failures.jsonl."
        )


def check_reask(reask: int) -> int:
    """Return the number of additional requests after an invalid answer.

    Raises:
        UsageError: it is negative.
    """
    if reask < 0:
        raise UsageError(f"{option('reask')} must be at least 0, not {reask}.")
    return reask
