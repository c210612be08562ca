"""Scores of the rows apart, by what stands in one of their fields: MMLU's by subject."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.report import Score
from manycall.evals.tally import Tally
from manycall.records import as_text


class Groups:
    """A tally for each value of a field.

    Args:
        by: the field; None: there are no groups.
        tally: makes an empty one.
    """

    def __init__(self, by: str | None, tally: Callable[[], Tally]) -> None:
        self._by = by
        self._tallies: defaultdict[str, Tally] = defaultdict(tally)

    def add(self, row: Mapping[str, Any], found: Mapping[str, tuple[Any, float]]) -> None:
        """Take in what the filters found in one row.

        Raises:
            UsageError: the row has no such field.
        """
        if self._by is None:
            return
        if self._by not in row:
            raise UsageError(f"the row {row.get('id')!r:.100} has no field {self._by!r}; it has {', '.join(row)}")
        self._tallies[as_text(row[self._by])].add(str(row.get("id", "")), found)

    def scores(self, votes: Mapping[str, int]) -> Iterator[tuple[str, list[Score]]]:
        """(value, its scores); of which value the rows were that failed is not known, and so there are no bounds."""
        for name, tally in sorted(self._tallies.items()):
            yield name, [replace(score, bounds=None, as_lm_eval=None) for score in tally.scores(votes)]
