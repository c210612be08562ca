"""Where the thinking text of a reply is written: to a separate field, before the answer, or nowhere."""

from typing import Any, NamedTuple

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers import reasoning
from manycall.records import AnswerChoice, Completion
from manycall.run.options import Reasoning


class ReasoningField(NamedTuple):
    """The thinking text that belongs to one output field.

    Attributes:
        answer_field: the field with the answer.
        mode: the option `reasoning`.
    """

    answer_field: str
    mode: Reasoning

    @property
    def name(self) -> str:
        """The field for the thinking text."""
        return f"{self.answer_field}_reasoning"

    @property
    def writes(self) -> tuple[str, ...]:
        """The fields that may be added to a row."""
        return (self.name,) if self.mode == "separate" else ()

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that must be the same in a resumed run."""
        return {} if self.mode == "separate" else {"reasoning": self.mode}

    def fields(self, reply: Completion | AnswerChoice) -> dict[str, Any]:
        """Return the field with the thinking text; nothing if the model returned none or it is not wanted."""
        return {self.name: reply.reasoning} if reply.reasoning and self.mode == "separate" else {}

    def text(self, reply: Completion | AnswerChoice) -> str:
        """Return the answer, with `inline` after the thinking text in tags."""
        return reasoning.join(reply.reasoning, reply.text) if self.mode == "inline" else reply.text


def refuse_inline(mode: Reasoning, why: str) -> None:
    """Refuse the mode `inline` where the written text is read by something that must not get thinking text.

    Raises:
        UsageError: the mode is `inline`.
    """
    if mode == "inline":
        raise UsageError(
            f"{option('reasoning', 'inline')} cannot be used here: {why} Use {option('reasoning', 'separate')}."
        )


def add_to_first(result: Any, fields: dict[str, Any]) -> Any:
    """Add fields to a result, or to its first part if the row is split. The result's own fields take precedence."""
    match result:
        case dict():
            return {**fields, **result}
        case [dict() as first, *others]:
            return [{**fields, **first}, *others]
    return result
