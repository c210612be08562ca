"""Convert rows to the chosen format, and record which of their fields are written."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from manycall.dataset.answer_reader import AnswerReader
from manycall.dataset.dataset_info import check_for_llama_factory
from manycall.dataset.dataset_rows import NamedRow
from manycall.dataset.example_reader import ExampleReader
from manycall.dataset.training_example import ReasoningPlace, UnsuitableRow, field_of, place_reasoning
from manycall.dataset.training_formats import IMAGES_COLUMN, TrainingFormat
from manycall.dataset.training_images import TrainingImages
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields

FIELD_OPTIONS = {"prompt": "prompt_field", "answer": "text_field"}


class Converted(NamedTuple):
    """A row in another format.

    Attributes:
        fields: All written fields.
        compared: What equal rows have equal: the prompt and the answer.
        has_thinking: The answer has thinking text.
    """

    fields: Fields
    compared: Any
    has_thinking: bool = False


class Converter(Protocol):
    """How rows are written."""

    def convert(self, named: NamedRow) -> Converted:
        """Convert a row."""

    def lost_fields(self, row: Fields, converted: Converted) -> list[str]:
        """Return the fields of a row that are not written."""

    def with_columns(self, fields: Fields, columns: Iterable[str]) -> Fields:
        """Return a converted row with the columns that only other rows have."""


class UnchangedRows:
    """Writes rows as they are.

    Args:
        answers: Reader for the answers, which equal rows have equal. A row without an answer text is compared as a
            whole.
    """

    def __init__(self, answers: AnswerReader) -> None:
        self._answers = answers

    def __repr__(self) -> str:
        return "<UnchangedRows>"

    def convert(self, named: NamedRow) -> Converted:
        """Return a row unchanged."""
        _, row = named
        return Converted(row, self._compared(row))

    def _compared(self, row: Fields) -> Any:
        if any(name in row for name in self._answers.fields):
            with suppress(UsageError):  # a line of a batch may have tool calls, vectors or an error instead of a text
                return self._answers.text(row)
        return {name: value for name, value in row.items() if name != "id"}

    def lost_fields(self, row: Fields, converted: Converted) -> list[str]:
        """Return the fields that are not written: none."""
        return []

    def with_columns(self, fields: Fields, columns: Iterable[str]) -> Fields:
        """Return the row unchanged."""
        return fields


class TrainingRows:
    """Converts rows to a training format.

    Args:
        examples: Reader for the training examples.
        form: The format.
        keep: Fields of the row to write as well.
        images: How images are written.
        reasoning: Where thinking text is written; None if the user did not say.
        for_csv: The file cannot hold lists.
        for_llama_factory: Refuse what LLaMA-Factory would skip.
    """

    def __init__(
        self,
        examples: ExampleReader,
        form: TrainingFormat,
        *,
        keep: Sequence[str],
        images: TrainingImages,
        reasoning: ReasoningPlace | None,
        for_csv: bool,
        for_llama_factory: bool,
    ) -> None:
        self._examples, self._form, self._keep, self._reasoning = examples, form, keep, reasoning
        self._images = images
        self._for_csv, self._for_llama_factory = for_csv, for_llama_factory

    def __repr__(self) -> str:
        return f"<TrainingRows {self._examples!r}>"

    def convert(self, named: NamedRow) -> Converted:
        """Convert a row.

        Raises:
            UsageError: The row cannot be converted, or it is ambiguous how. The message names it.
        """
        name, row = named
        try:
            return self._convert(row)
        except UnsuitableRow as problem:
            raise UsageError(f"{name} {problem}") from None

    def _convert(self, row: Fields) -> Converted:
        read = self._examples.read(row)
        example, images = self._images.take_from(place_reasoning(read, self._reasoning))
        if example.is_text and not self._form.has_text_form:
            raise UnsuitableRow(
                "was made with the completions API, without messages. Name the field to use as the user's message with "
                f"{option('prompt_field')}, or use {option('format', 'prompt-completion')}."
            )
        if self._for_llama_factory:
            check_for_llama_factory(example.prompt, example.answer)
        core = {**self._form.convert(example), **({IMAGES_COLUMN: images} if images else {})}
        self._check_replaced_fields(row, core)
        fields = {**core, **self._kept_fields(row, core)}
        if self._for_csv and (nested := [name for name, value in core.items() if isinstance(value, list | dict)]):
            raise UnsuitableRow(f"has a list in {nested[0]!r}, which a trainer cannot read from CSV. Write .jsonl.")
        return Converted(fields, core, any("reasoning_content" in turn for turn in read.answer))

    def _check_replaced_fields(self, row: Fields, core: Fields) -> None:
        """Check that no column of the format replaces another field of the row that has the same name."""
        for name, value in core.items():
            own, kind = row.get(name), "prompt" if name in self._form.prompt_columns else "answer"
            if own and value and own != value and kind in self._examples.from_run and name not in self._examples.used:
                raise UnsuitableRow(
                    f"has another field {name!r}, which is not the {kind} of the run. To write the field: "
                    f"{option(FIELD_OPTIONS[kind], name)}. To write the {kind} of the run: {self._run_option(kind)}."
                )

    def _run_option(self, kind: str) -> str:
        """Return the option that writes the prompt or the answer of the run although the row has another one."""
        return option("format", "messages") if kind == "prompt" else option("text_field", self._examples.answer_name)

    def _kept_fields(self, row: Fields, core: Fields) -> Fields:
        kept = {name: field_of(row, name) for name in self._keep}
        for name in kept:
            if core.get(name):
                raise UnsuitableRow(f"has a field {name!r} that the format writes itself. Omit {option('keep', name)}.")
        return kept

    def lost_fields(self, row: Fields, converted: Converted) -> list[str]:
        """Return the fields of a row that are neither written nor part of what is written."""
        return [
            name
            for name, value in row.items()
            if name not in self._examples.used
            and converted.fields.get(name) != value
            and not name.endswith("_finish_reason")
        ]

    def with_columns(self, fields: Fields, columns: Iterable[str]) -> Fields:
        """Return a converted row with null in the columns that only other rows have, as loaders expect."""
        return {name: fields.get(name) for name in columns}
