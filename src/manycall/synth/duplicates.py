"""Texts that differ from an earlier one in case, white space and punctuation alone."""

from manycall.ids import IdTable, Known
from manycall.synth.texts import normal


class Duplicates:
    """Counts the texts that came before, but for case, white space and punctuation. About 15 bytes a text.

    Attributes:
        count: how many.
    """

    def __init__(self) -> None:
        self._met = IdTable()
        self.count = 0

    def __repr__(self) -> str:
        return f"<Duplicates: {self.count} of {len(self._met) + self.count}>"

    def add(self, text: str) -> bool:
        """Whether it came before."""
        came = self._met.meet(normal(text)) is not Known.NOT
        self.count += came
        return came
