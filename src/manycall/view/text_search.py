"""Search the texts of a file by scanning it. No index of words is built: that would take longer than most runs.

The needle is looked for as JSON spells it, in blocks with ASCII letters in lower case; of other letters, both cases are
looked for, also in the spelling `\\uXXXX` of other programs. Each line with a hit is decoded and checked, so that keys
and neighbouring fields do not count.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from manycall import clock
from manycall.view.column_table import ColumnTable
from manycall.view.line_offsets import LineOffsets
from manycall.view.row_values import decode_row, flat_value, leaf_strings

BLOCK_BYTES = 1 << 20
MAX_NEEDLE_CHARACTERS = 1000
CHECKED_LINES, CHECK_BYTES = 200, 10_000
"""Lines of a narrower search that are checked at a time, and bytes that are scanned in the time of one check."""


class TextSearch:
    """One search. It continues only while `advance` is called.

    Args:
        number: under which the table records the hits.
        needle: the text; upper and lower case do not matter.
        field: flat name of the field in which it is looked for; "" for all texts.

    Attributes:
        number: as above.
    """

    def __init__(self, number: int, needle: str, field: str, lines: LineOffsets, table: ColumnTable) -> None:
        self.number, self._found = number, array("Q")
        self._typed, self._needle, self._field = needle, needle.casefold(), field
        self._spellings = json_spellings(needle)
        self._lines, self._table = lines, table
        self._next, self._unchecked = 0, array("Q")

    @property
    def hits(self) -> int:
        """Number of lines found so far."""
        return len(self._found)

    def start_from(self, other: "TextSearch") -> None:
        """Check only the hits of a wider search in the part that it has searched, if that takes less time."""
        is_wider = other._field == self._field and other._typed in self._typed and self._typed.isascii()
        begin = self._lines.start(other._next - 1) if other._next else 0
        if is_wider and other._next > self._next and other.hits * CHECK_BYTES < begin:
            self._next, self._unchecked = other._next, other._found + other._unchecked

    @property
    def is_complete(self) -> bool:
        """Whether all lines that are known have been searched."""
        return self._next >= len(self._lines) and not self._unchecked

    @property
    def scanned(self) -> float:
        """The share of the file that has been searched, from 0 to 1."""
        return 1.0 if self._next >= len(self._lines) else self._lines.start(self._next) / self._lines.size

    def advance(self, seconds: float, is_over: Callable[[], bool] = lambda: False) -> list[int]:
        """Search for about `seconds`, or until `is_over`. Return the lines that were found; the table has them too."""
        deadline, before = clock.thread_seconds() + seconds, self.hits
        while not self.is_complete and clock.thread_seconds() < deadline and not is_over():
            candidates, unchecked, following = self._next_piece()
            if numbers := [n for n in candidates if self._is_hit(n)]:
                self._table.add_hits(self.number, numbers)
                self._found.extend(numbers)
            self._unchecked, self._next = unchecked, following  # last, because other threads ask whether it is complete
        return self._found[before:].tolist()

    def _next_piece(self) -> tuple[Sequence[int], "array[int]", int]:
        """Return the next lines to check, and what is left after them: lines of a wider search, and the next line."""
        if self._unchecked:
            return self._unchecked[:CHECKED_LINES], self._unchecked[CHECKED_LINES:], self._next
        block, stop = self._lines.block(self._next, BLOCK_BYTES)
        return self._candidates(block, self._lines.start(self._next)), self._unchecked, stop

    def _candidates(self, block: bytes, begin: int) -> Sequence[int]:
        """Return the lines of a block that contain a spelling of the needle."""
        lowered = block.lower()
        return sorted({n for spelling in self._spellings for n in self._lines_with(spelling, lowered, begin)})

    def _lines_with(self, spelling: bytes, block: bytes, begin: int) -> Iterator[int]:
        at = block.find(spelling)
        while at >= 0:
            yield self._lines.number_at(begin + at)
            end = block.find(b"\n", at)
            at = block.find(spelling, end) if end >= 0 else -1

    def _is_hit(self, n: int) -> bool:
        row: Any = decode_row(self._lines.lines(n, n + 1)[0])
        if row is None:
            return False
        searched = flat_value(row, self._field) if self._field else row
        return any(self._needle in text.casefold() for text in leaf_strings(searched))


def json_spellings(needle: str) -> tuple[bytes, ...]:
    """Return how JSON may spell a text, with ASCII letters in lower case."""
    cases = {needle, needle.lower(), needle.upper(), needle.casefold(), needle.title()}
    spelled = {json.dumps(each, ensure_ascii=escaped)[1:-1] for each in cases for escaped in (False, True)}
    return tuple(sorted({text.encode("utf-8", "replace").lower() for text in spelled}))
