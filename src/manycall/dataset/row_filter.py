"""Drop duplicates and contaminated rows from an export."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manycall.dataset.chinese_spacing import remove_spacing
from manycall.dataset.contamination import ContaminationIndex
from manycall.dataset.duplicates import Duplicates
from manycall.dataset.normalize import leaf_texts

_OPERATORS = str.maketrans({sign: f" {sign}{name} " for sign, name in zip("+*/=<>^%", "abcdefgh", strict=True)})
"""Duplicates ignore punctuation. Here signs of arithmetic become words, so that 2 + 2 and 2 * 2 stay different."""


class RowFilter:
    """Decides which rows are dropped: of equal rows all but the first, and rows that contain a benchmark item.

    Memory: about 10 bytes per row for duplicates.

    Args:
        drop_duplicates: Drop rows whose text equals that of an earlier row, ignoring case, white space and punctuation.
        benchmarks: Benchmark files; see `ContaminationIndex`.

    Attributes:
        dropped: Number of dropped rows by reason. A row that is both is counted as contaminated.

    Raises:
        UsageError: A benchmark file cannot be read.
    """

    def __init__(self, *, drop_duplicates: bool, benchmarks: Sequence[str | Path]) -> None:
        self._seen = Duplicates() if drop_duplicates else None
        self._benchmarks = ContaminationIndex([Path(path) for path in benchmarks]) if benchmarks else None
        reasons = (("duplicates", drop_duplicates), ("contaminated", bool(benchmarks)))
        self.dropped = Counter({reason: 0 for reason, is_active in reasons if is_active})

    def __repr__(self) -> str:
        return f"<RowFilter {dict(self.dropped)}>"

    def is_dropped(self, row: Any, written: Any) -> bool:
        """Return whether a row is dropped.

        Args:
            row: The row, whose texts are searched for benchmark items.
            written: What an equal row has equal: the converted row.
        """
        if self._benchmarks is not None and self._benchmarks.find(row) is not None:
            self.dropped["contaminated"] += 1
            return True
        if self._seen is not None and self._seen.add(_comparable(written)):
            self.dropped["duplicates"] += 1
            return True
        return False


def _comparable(written: Any) -> str:
    """Return the texts of a converted row as one text that equal rows have equal."""
    return "\n".join(remove_spacing(text.translate(_OPERATORS)) for text in leaf_texts(written))
