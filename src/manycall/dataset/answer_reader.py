"""Read the prompt, the answer and the truncation of a finished row."""

import re
from collections.abc import Iterator
from typing import Any

from manycall.data.answer_schema import AnswerSchema
from manycall.data.prompt_error import PromptError
from manycall.data.row_prompt import RowPrompt
from manycall.dataset.batch_answers import BatchAnswerReader
from manycall.dataset.normalize import leaf_texts
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.reply_parts import REPLY_PARTS
from manycall.records import Fields, Messages, Row
from manycall.store.output_reader import OutputReader
from manycall.store.row_parts import PARTS

_FUNCTION = re.compile(r"function \S+( [0-9a-f]{16})?")
"""How a manifest records a prompt that is a Python function."""


class AnswerReader:
    """Reader for the answers in the rows of an output and for their prompts.

    Args:
        output: Output of `generate`, `run_steps` or `run_batch`, or any file of rows.
        field: Field with the answer. Default: the field that `generate` wrote, or all fields of its schema as one
            object; for steps, the fields of the only step that generates; for a batch, the text of the reply;
            otherwise "text".

    Attributes:
        name: Name of the answer in tables.
        fields: Fields of the row that hold the answer.
        is_object: The answer is an object of all these fields.
        is_completion: The prompt was sent as plain text, without messages.
        several: The answers that the run wrote, if they are several and none was chosen; otherwise ().
        thinking_field: Field with the thinking text of the answer. Rows without thinking text do not have it.
        calls_field: Field with the tool calls of the answer, if the run kept them (`keep`).
    """

    def __init__(self, output: OutputReader, field: str | None = None) -> None:
        self._output, self._prompts = (
            output,
            [_RecordedPrompt(settings) for settings in _prompt_settings(output.settings)],
        )
        prompts = [prompt for prompt in self._prompts if field is None or field in prompt.fields]
        if not prompts and "steps" not in output.settings:
            prompts = self._prompts  # a `parse` function turned the answer into other fields
        self._prompt = prompts[0] if len(prompts) == 1 else None
        self.several = tuple(prompt.fields[0] for prompt in prompts) if len(prompts) > 1 else ()
        self.is_completion = self._prompt is not None and self._prompt.is_completion
        self._fields = self._prompt.fields if self._prompt is not None and field is None else (field or "text",)
        self.is_object = field is None and self._prompt is not None and self._prompt.is_object
        is_batch = field is None and output.settings.get("job") == "batch"
        self._batched = BatchAnswerReader(output) if is_batch else None
        self.name = ", ".join(self._fields) if self._batched is None else self._batched.name
        self.thinking_field, self.calls_field = f"{self._fields[0]}_reasoning", f"{self._fields[0]}_tool_calls"
        self.fields = self._fields if self._batched is None else ("custom_id", "response", "error")

    def __repr__(self) -> str:
        return f"<AnswerReader {self.name} of {self._output.path.name}>"

    def answer(self, row: Fields) -> Any:
        """Return the answer of a row.

        Raises:
            UsageError: The row has no answer.
        """
        if self._batched is not None:
            return self._batched.answer(row)
        values = {name: row[name] for name in self._fields if name in row}
        return (
            values
            if self.is_object and values
            else require_field(row, self._fields[0], f" Choose a field with {option('text_field')}.")
        )

    def is_recorded_in(self, row: Fields) -> bool:
        """Return whether the run recorded how the answer in this row was made."""
        return self._batched is not None or (self._prompt is not None and any(name in row for name in self._fields))

    def wrote(self, name: str) -> bool:
        """Return whether the run wrote this field with one of its prompts."""
        return any(name in prompt.fields for prompt in self._prompts)

    def has_prompt_of(self, name: str) -> bool:
        """Return whether this field is an answer to a prompt of the run, or what a `parse` function made of it."""
        return self._prompt is not None and (self.wrote(name) or "parse" in self._output.settings)

    @property
    def prompt_fields(self) -> list[str]:
        """The fields of a row that the prompt of the run refers to."""
        return [] if self._prompt is None else sorted(self._prompt.referenced_fields)

    @property
    def tools(self) -> Any:
        """The tools that the run offered to the model; None if there were none."""
        return None if self._prompt is None else self._output.settings.get("params", {}).get("tools")

    def must_be_text(self, row: Fields) -> None:
        """Check that the answer is a single text. An answer of a batch may have several choices or tool calls.

        Raises:
            UsageError: The answer is not a single text.
        """
        if self._batched is not None:
            self._batched.must_be_text(row)

    def text(self, row: Fields) -> str:
        """Return all text of the answer without its structure, for comparison with other answers."""
        answer = self.answer(row)
        return answer if isinstance(answer, str) else "\n".join(leaf_texts(answer))

    def is_truncated(self, row: Fields) -> bool | None:
        """Return whether the answer was truncated at max_tokens.

        If the row has no finish reason for this field, check all finish reasons in the row. None if it has none.
        """
        if self._prompt is not None and self._prompt.schema is not None:
            return False  # a truncated answer would not match its schema
        finish_reason_field = f"{self._fields[0]}_finish_reason"
        reasons = [row[finish_reason_field]] if finish_reason_field in row else list(_finish_reasons(row))
        return "length" in reasons if reasons else None

    def prompt_messages(self, row: Fields) -> Messages:
        """Return the prompt of a row: the run's template rendered again, or the request in the batch file.

        Raises:
            UsageError: The prompt cannot be reconstructed.
        """
        if self._batched is not None:
            return self._batched.prompt_messages(row)
        prompt, problem = self._prompt, ""
        if self.several:
            listed = ", ".join(self.several)
            problem = (
                f"has several answers ({listed}). Choose one with {option('text_field')}, or name the prompt's field"
            )
        elif prompt is None or prompt.is_function:
            problem = "does not record the prompt. Name the field that holds it"
        elif (prompt.schema is not None and prompt.schema.is_list) or (
            "parse" in self._output.settings and PARTS in row
        ):
            problem = "has several rows per answer, so the prompt does not fit each row. Name the field with the prompt"
        if prompt is None or problem:
            raise UsageError(f"{self._output.path} {problem} with {option('prompt_field')}.")
        try:
            return prompt.render(row)
        except PromptError as error:
            raise UsageError(f"Row {row['id']!r}: {error}") from None


class _RecordedPrompt:
    """One prompt of a run, reconstructed from the manifest."""

    def __init__(self, settings: Fields) -> None:
        source = settings.get("prompt")
        self.is_function = isinstance(source, str) and _FUNCTION.fullmatch(source) is not None
        self.is_completion = settings.get("api") == "completions"
        self.schema = AnswerSchema(settings["schema"]) if "schema" in settings else None
        name = settings["output_field"]
        groups = tuple(re.compile(settings.get("extract", "")).groupindex)
        named = self.schema.fields if self.schema is not None else groups
        self.is_object, self.fields = bool(named), named or (name,)
        self._written_fields = {*self.fields, f"{name}_finish_reason", "original_id"}
        self._written_fields |= {f"{self.fields[0]}_{part}" for part in ("reasoning", "repaired", *REPLY_PARTS)}
        self._prompt = RowPrompt(
            source, messages=settings.get("messages"), system=settings.get("system"), images=settings.get("images", ())
        )  # fmt: skip

    @property
    def referenced_fields(self) -> set[str]:
        """Fields that the prompt refers to."""
        return set() if self.is_function else self._prompt.referenced_fields

    def render(self, row: Fields) -> Messages:
        fields = {name: value for name, value in row.items() if name not in self._written_fields}
        return self._prompt.messages(Row(str(row["id"]), {**fields, "id": row.get("original_id", row["id"])}))


def _prompt_settings(settings: Fields) -> list[Fields]:
    """Return the settings of each prompt whose answers are in the rows."""
    sources = [settings, *(step.get("generate") or {} for step in settings.get("steps", ()))]
    return [
        source
        for source in sources
        if (source.get("prompt") or source.get("messages")) is not None and "output_field" in source
    ]


def _finish_reasons(row: Fields) -> Iterator[Any]:
    """Yield the finish reason of each answer in a row, also those in the reply of a batch line."""
    for name, value in row.items():
        if name.endswith("finish_reason"):
            yield value
    match row:
        case {"response": {"body": {"choices": [*choices]}}}:
            yield from (choice.get("finish_reason") for choice in choices)


def require_field(row: Fields, name: str, hint: str = "") -> Any:
    """Return the value of a field.

    Raises:
        UsageError: The row has no such field.
    """
    if name not in row:
        which = f"Row {row['id']!r}" if "id" in row else "A row"
        raise UsageError(f"{which} has no field {name!r}. Its fields: {', '.join(row)}.{hint}")
    return row[name]
