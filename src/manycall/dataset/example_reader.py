"""Decide in which fields of a dataset the prompts and the answers are, and read its rows as training examples."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

from manycall.data.conversations import is_conversation
from manycall.dataset.answer_reader import AnswerReader
from manycall.dataset.training_example import (
    TrainingExample,
    answer_turns,
    begins_with_prompt,
    field_of,
    prompt_in,
    split_conversation,
    split_pair,
    tools_in,
    turns_as_messages,
)
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields, Messages

LAYOUTS = (
    ("messages", "messages"),
    ("conversations", "conversations"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "response"),
)
"""Fields with the prompt and with the answer in rows that are themselves training rows. A conversation has both."""
PROMPT_FIELDS = tuple(dict.fromkeys(prompt for prompt, _ in LAYOUTS))
PAIR = ("chosen", "rejected")


class ExampleReader:
    """Reader for training examples. What is not named is decided once, from the settings of the run and the first row.

    A row that a schema, steps or another program have filled with the fields of a training row is read as that. In the
    output of any other run, the prompt is the one that was sent and the answer the one that came back.

    Args:
        answers: Reader for the answers of the run, built with `text_field`.
        first: The first row.
        is_pair: Read preference pairs.
        prompt_field: Field with the prompt, if the user named one.
        text_field: Field with the answer, if the user named one.

    Attributes:
        from_run: Which of "prompt" and "answer" the run made, so that a field of the row may have another one.
        used: Fields that the examples are made of, so that a column of the same name is not another one.

    Raises:
        UsageError: Several fields may be meant, or none. The message shows the likely commands.
        UnsuitableRow: The first row has a turn of an unknown role.
    """

    def __init__(
        self, answers: AnswerReader, first: Fields, *, is_pair: bool, prompt_field: str | None, text_field: str | None
    ) -> None:
        self._answers, self._first, self._is_pair = answers, first, is_pair
        if is_pair and text_field is not None:
            raise UsageError(f"A preference pair has the fields chosen and rejected. Omit {option('text_field')}.")
        self._answer_field = None if is_pair else text_field or self._find_answer_field()
        self._prompt_field = prompt_field or self._find_prompt_field(text_field)
        sources = {"prompt": self._prompt_field, "answer": "chosen" if is_pair else self._answer_field}
        self.from_run = frozenset(kind for kind, field in sources.items() if field is None)
        self.used = self._used_fields()

    def __repr__(self) -> str:
        return f"<ExampleReader prompt: {self.prompt_name}, answer: {self.answer_name}>"

    @property
    def prompt_name(self) -> str:
        """Where the prompts are, for a table."""
        if self._prompt_field is None:
            referenced = self._answers.prompt_fields
            names = ", ".join(name for name in self._first if name in referenced)
            return f"the prompt that was sent, with {names}" if names else "the prompt that was sent"
        return ", ".join(name for name in self._prompt_fields() if name in self._first)

    @property
    def answer_name(self) -> str:
        """Where the answers are, for a table."""
        return ", ".join(PAIR) if self._is_pair else self._answer_field or self._answers.name

    def read(self, row: Fields) -> TrainingExample:
        """Return the training example of a row.

        Raises:
            UnsuitableRow: A field is missing or of another kind.
            UsageError: The prompt of the run cannot be rendered.
        """
        return self._read_pair(row) if self._is_pair else self._read_single(row)

    def _read_single(self, row: Fields) -> TrainingExample:
        name = self._answer_field
        if name is not None and name == self._prompt_field:
            return TrainingExample(*split_conversation(field_of(row, name), name), tools=tools_in(row))
        if name is None:
            self._answers.must_be_text(row)
        prompt, split = self._prompt(row)
        answer = self._answer(row, name) if name else self._answer_of_run(row)
        is_text = self._prompt_field is None and self._answers.is_completion
        tools = tools_in(row) or (None if name else self._answers.tools)
        return TrainingExample(prompt, answer, instruction=split, tools=tools, is_text=is_text)

    def _read_pair(self, row: Fields) -> TrainingExample:
        if self._prompt_field == "chosen" or any(begins_with_prompt(row.get(name)) for name in PAIR):
            return TrainingExample(*split_pair(*(field_of(row, name) for name in PAIR)), tools=tools_in(row))
        chosen, rejected = (self._answer(row, name) for name in PAIR)
        prompt, split = self._prompt(row)
        return TrainingExample(prompt, chosen, rejected, split, tools_in(row))

    def _answer(self, row: Fields, name: str) -> Messages:
        return answer_turns(field_of(row, name), row.get(f"{name}_reasoning"), row.get(f"{name}_tool_calls"))

    def _answer_of_run(self, row: Fields) -> Messages:
        answers = self._answers
        return answer_turns(answers.answer(row), row.get(answers.thinking_field), row.get(answers.calls_field))

    def _prompt(self, row: Fields) -> tuple[Messages, tuple[str, str] | None]:
        if self._prompt_field is not None:
            return prompt_in(row, self._prompt_field)
        messages = self._answers.prompt_messages(row)
        return messages, _split_as_in_row(row, messages[-1].get("content"))

    def _find_answer_field(self) -> str | None:
        """Return the field with the answer; None for the answer of the run."""
        answers = self._answers
        found = {answer: prompt for prompt, answer in reversed(LAYOUTS) if self._is_layout(prompt, answer)}
        if answers.is_recorded_in(self._first):
            if not answers.is_object:
                return None
            return next((name for name, prompt in found.items() if self._is_written(name, prompt)), None)
        found = {name: prompt for name, prompt in found.items() if not answers.wrote(name)}
        if len(found) > 1:
            raise UsageError(f"The rows have several answers. Choose one: {_choices(found)}.")
        if not found and answers.several:
            raise UsageError(f"The run wrote several answers. Choose one: {_choices(answers.several)}.")
        if not found and {*PAIR} <= self._first.keys():
            pairs, single = option("format", "dpo"), option("text_field", "chosen")
            raise UsageError(f"The rows are preference pairs. To write the pairs: {pairs}. Only the chosen: {single}.")
        return next(iter(found), None)

    def _is_layout(self, prompt: str, answer: str) -> bool:
        """Return whether the first row has both fields. A conversation that ends with a question has no answer."""
        if prompt == answer:
            return answer in self._first and has_answer(self._first[answer])
        return {prompt, answer} <= self._first.keys()

    def _is_written(self, answer: str, prompt: str) -> bool:
        """Return whether the schema of the run made training rows: it wrote prompt and answer, or an `output`."""
        written = self._answers.fields
        return answer in written and (prompt in written or answer == "output")

    def _find_prompt_field(self, text_field: str | None) -> str | None:
        """Return the field with the prompt; None for the prompt of the run."""
        name = "chosen" if self._is_pair else self._answer_field
        if name is not None and begins_with_prompt(self._first.get(name)):
            return name
        if name is None and self._answers.is_recorded_in(self._first):
            return None
        if text_field is not None and self._answers.has_prompt_of(text_field):
            return None
        return next((each for each in PROMPT_FIELDS if each in self._first and each != name), None)

    def _prompt_fields(self) -> tuple[str, ...]:
        """Return the fields of the prompt: earlier turns belong to a text, a system prompt to all that have none."""
        name = self._prompt_field
        if name is None:
            return ()
        value: Any = self._first.get(name)
        if isinstance(value, str):
            return (name, *(["input"] if name == "instruction" else []), "system", "history")
        has_system = is_conversation(value) and turns_as_messages(value)[0]["role"] == "system"
        return (name,) if has_system else (name, "system")

    def _used_fields(self) -> frozenset[str]:
        answer = PAIR if self._is_pair else (self._answer_field,) if self._answer_field else self._answers.fields
        parts = (f"{name}_{part}" for name in answer for part in ("reasoning", "tool_calls"))
        return frozenset({*answer, *self._prompt_fields(), "tools", *parts})


def has_answer(value: Any) -> bool:
    """Return whether a value is a conversation that ends with an answer."""
    return is_conversation(value) and len(value) > 1 and turns_as_messages(value)[-1]["role"] == "assistant"


def _choices(names: Iterable[str]) -> str:
    return " or ".join(option("text_field", name) for name in islice(names, 2))


def _split_as_in_row(row: Fields, sent: Any) -> tuple[str, str] | None:
    """Return the fields `instruction` and `input` of a row if the text that was sent consists of them."""
    instruction, given = row.get("instruction"), row.get("input") or ""
    if not (isinstance(sent, str) and isinstance(instruction, str) and isinstance(given, str)):
        return None
    is_same = "".join(sent.split()) == "".join(f"{instruction}{given}".split())
    return (instruction, given) if is_same else None
