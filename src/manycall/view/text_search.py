"""Search the texts of a file by scanning it. No index of words is built: that would take longer than most runs.

The needle is looked for as JSON spells it, in blocks with ASCII letters in lower case; of other letters, both cases are
looked for, also in the spelling `\\uXXXX` of other programs. Each line with a hit is decoded and checked, so that keys
and neighbouring fields do not count.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from manycall import clock
from manycall.view.column_table import ColumnTable
from manycall.view.line_offsets import LineOffsets
from manycall.view.row_values import decode_row, flat_value, leaf_strings

BLOCK_BYTES = 1 << 20
MAX_NEEDLE_CHARACTERS = 1000


class TextSearch:
    """One search. It continues only while `advance` is called.

    Args:
        number: under which the table records the hits.
        needle: the text; upper and lower case do not matter.
        field: flat name of the field in which it is looked for; "" for all texts.

    Attributes:
        number: as above.
        hits: number of lines found so far.
    """

    def __init__(self, number: int, needle: str, field: str, lines: LineOffsets, table: ColumnTable) -> None:
        self.number, self.hits = number, 0
        self._needle, self._field = needle.casefold(), field
        self._spellings = json_spellings(needle)
        self._lines, self._table = lines, table
        self._next = 0

    @property
    def is_complete(self) -> bool:
        """Whether all lines that are known have been searched."""
        return self._next >= len(self._lines)

    @property
    def scanned(self) -> float:
        """The share of the file that has been searched, from 0 to 1."""
        return 1.0 if self.is_complete else self._lines.start(self._next) / self._lines.size

    def advance(self, seconds: float) -> list[int]:
        """Search for about `seconds`. Return the lines that were found; the table has them too."""
        deadline, found = clock.thread_seconds() + seconds, list[int]()
        while not self.is_complete and clock.thread_seconds() < deadline:
            first = self._next
            block, stop = self._lines.block(first, BLOCK_BYTES)
            numbers = [n for n in self._candidates(block, self._lines.start(first)) if self._is_hit(n)]
            self._table.add_hits(self.number, numbers)
            found += numbers
            self._next = stop
        self.hits += len(found)
        return found

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
