"""Fields for the other parts of a reply: tool calls, log probabilities, refusals (`keep`)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from manycall.errors import Declined, UsageError
from manycall.option_flags import option
from manycall.providers.reply_parts import REPLY_PARTS, ReplyPart, read_parts
from manycall.records import Completion


class ReplyFields(NamedTuple):
    """The parts that are written next to one output field, each to a separate field: `text_logprobs`.

    Attributes:
        answer_field: the field with the answer.
        keep: the parts. One that a reply does not have is not written.
    """

    answer_field: str
    keep: tuple[ReplyPart, ...]

    @property
    def writes(self) -> tuple[str, ...]:
        """The fields that may be added to a row."""
        return tuple(map(self._name, self.keep))

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that must be the same in a resumed run."""
        return {"keep": list(self.keep)} if self.keep else {}

    def fields(self, body: bytes, position: int = 0) -> dict[str, Any]:
        """Return the fields for a choice of a response."""
        found = read_parts(body, position) if self.keep else {}
        return {self._name(part): found[part] for part in self.keep if part in found}

    def refused(self, refusal: Declined) -> dict[str, Any]:
        """Return the fields of a row whose answer is a refusal.

        Raises:
            Declined: refusals are not kept.
        """
        if "refusal" not in self.keep:
            raise refusal
        said = read_parts(refusal.body, 0).get("refusal", str(refusal))
        return {self.answer_field: "", self._name("refusal"): said}

    def _name(self, part: ReplyPart) -> str:
        return f"{self.answer_field}_{part}"


def first_position(reply: Completion) -> int:
    """Return the position of the choice whose text is the text of the reply."""
    return reply.choices[0].position if reply.choices else 0


def parse_keep(keep: str | Sequence[str]) -> tuple[ReplyPart, ...]:
    """Return the parts that an option names, in one list or separated by commas.

    Raises:
        UsageError: there is no such part.
    """
    given = [name.strip() for each in ([keep] if isinstance(keep, str) else keep) for name in each.split(",")]
    if unknown := [name for name in given if name not in REPLY_PARTS]:
        raise UsageError(
            f"{option('keep', unknown[0])} is not a part of a reply. Available: {', '.join(REPLY_PARTS)}. "
            "The row's own fields are always written."
        )
    return tuple(part for part in REPLY_PARTS if part in given)
