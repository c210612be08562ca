"""Rows to which the model responded without an answer: thinking text only, an empty text, a refusal.

As in lm-evaluation-harness, they count as wrong by default. Rows whose call failed are never scored.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from manycall.evals.scoring.text_answers import UNPARSED
from manycall.records import NO_ANSWER_KINDS, Fields
from manycall.run.options import check_choice
from manycall.store.output_reader import OutputReader

NoAnswer = Literal["wrong", "exclude"]
"""How rows without an answer are scored: 0, or not at all."""


class UnansweredRow(NamedTuple):
    """A row without an answer: why, and the row's own fields."""

    kind: str
    fields: Fields


class UnansweredRows:
    """The rows of an output without an answer, by id; none if they are excluded from the scores.

    Read the output after creating this, and call `discard` for each of its rows: a row that failed may be done by now.

    Raises:
        UsageError: `no_answer` is neither "wrong" nor "exclude".
    """

    def __init__(self, output: OutputReader, no_answer: NoAnswer) -> None:
        check_choice("no_answer", no_answer, NoAnswer)
        self._kinds = NO_ANSWER_KINDS if no_answer == "wrong" else ()
        self._rows: dict[str, UnansweredRow] = {}
        for name, kind, fields in output.failed_rows():  # the last failure of a row counts
            self._rows[name] = UnansweredRow(kind, fields)
            if kind not in self._kinds:
                del self._rows[name]
        self.failure_counts = {kind: n for kind, n in output.failure_counts.items() if kind not in self._kinds}
        """Number of failed rows that are not scored, by kind."""

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._rows

    def __repr__(self) -> str:
        return f"<UnansweredRows: {len(self._rows)}>"

    @property
    def failed(self) -> int:
        """Number of failed rows that are not scored."""
        return sum(self.failure_counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows without an answer, by kind."""
        return dict(sorted(Counter(row.kind for row in self._rows.values()).items()))

    def discard(self, row_id: str) -> None:
        """Forget a row, because the output contains its answer."""
        self._rows.pop(row_id, None)

    def items(self) -> Iterable[tuple[str, UnansweredRow]]:
        """Return (row id, row) pairs."""
        return self._rows.items()


def no_answer_grades(names: Iterable[str]) -> Mapping[str, tuple[Any, float]]:
    """Return the grades of a row without an answer, for these filters."""
    return dict.fromkeys(names, (UNPARSED, 0.0))
