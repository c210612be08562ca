"""What should make a reader of a score wonder: answers that could not be read, more rows than were asked for, samples
that are all the same."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from manycall.evals.scorers import INVALID
from manycall.store.output import Output

NEARLY_ALL = 0.95
"""Of the questions; of some few, or where answers are short, samples may well be equal by chance."""


class Oddities:
    """What is odd about the answers of one output, gathered while the rows go by.

    Held are, where questions were asked several times, the hashes of their answers.

    Attributes:
        unread: by filter, the answers in which it found nothing.
    """

    def __init__(self, output: Output) -> None:
        self.unread: Counter[str] = Counter()
        self._output = output
        self._rows = 0
        self._said: dict[str, list[int]] = defaultdict(list)

    def look(self, row_id: str, response: str, found: Mapping[str, tuple[Any, float]]) -> None:
        """Take in one row, and what the filters found in it: name -> (answer, score)."""
        self._rows += 1
        self.unread.update(name for name, (answer, _) in found.items() if isinstance(answer, str) and answer == INVALID)
        if self._output.sampled:
            question, _ = self._output.split(row_id)
            self._said[question].append(hash(response))

    def remarks(self) -> list[str]:
        """What is to be said of all of it."""
        return [*self._more_rows(), *self._equal_samples()]

    def _more_rows(self) -> list[str]:
        expected = self._output.expected
        if expected is None or self._rows <= expected:
            return []
        return [
            f"The last session was to do {expected:,} rows, but earlier ones did {self._rows:,}: the score is of all."
        ]

    def _equal_samples(self) -> list[str]:
        several = [said for said in self._said.values() if len(said) > 1]
        equal = sum(len(set(said)) == 1 for said in several)
        params = self._output.identity.get("params") or {}
        if not several:
            return []
        if params.get("temperature") == 0:
            return ["The samples were drawn at temperature 0, which asks for the same again: try --temperature 0.7."]
        if equal < NEARLY_ALL * len(several):
            return []
        return [
            f"For {equal:,} of {len(several):,} questions all samples are the same text, and tell no more than one: "
            "does the endpoint remember its answers, or do all have one `seed`?"
        ]
