"""Where each line of a file begins: 8 bytes a line. With it, any row is one read."""

import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, islice, pairwise
from pathlib import Path

READ_LINES = 50_000
_BUFFER_BYTES = 1 << 20
_BLANK_BYTES = 2
"""A line of at most two bytes is blank, or not an object."""


class LineOffsets:
    """The lines of a growing file, without blank lines.

    Args:
        path: the file.

    Attributes:
        end: end of the lines that are known.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", _BUFFER_BYTES)
        self._status = os.fstat(self._file.fileno())
        self._starts = array("Q")
        self.end = self._count = self._seen = 0

    def __len__(self) -> int:
        return self._count  # set last, because other threads read while lines are added

    @property
    def size(self) -> int:
        """Size of the file in bytes. It may end with an incomplete line."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def is_current(self) -> bool:
        """Whether the file has no more lines than those that are known. An incomplete last line does not count."""
        return self.size <= max(self.end, self._seen)

    def is_replaced(self) -> bool:
        """Return whether the path names another file by now, or the file was shortened."""
        try:
            status = self._path.stat()
        except OSError:
            return True
        return not os.path.samestat(status, self._status) or status.st_size < self.end

    def extend(self, most: int = READ_LINES) -> bool:
        """Find the next `most` lines, or fewer. Return whether there were any."""
        size = self.size
        self._file.seek(self.end)
        lengths = list(map(len, islice(self._file, most)))
        if not lengths:
            self._seen = size
            return False
        ends = list(accumulate(lengths, initial=self.end))
        known = max(bisect_right(ends, size) - 1, 0)
        # A later line may have come in two reads, which look like two lines.
        del ends[known + 1 :], lengths[known:]
        if lengths and os.pread(self._file.fileno(), 1, ends[-1] - 1) != b"\n":  # a line that is being written
            ends.pop()
            lengths.pop()
        if min(lengths, default=0) <= _BLANK_BYTES:
            self._starts.extend(at for at, length in zip(ends, lengths, strict=False) if length > _BLANK_BYTES)
        else:
            self._starts.extend(ends[:-1])
        grown, self.end, self._count = ends[-1] > self.end, ends[-1], len(self._starts)
        if not grown:
            self._seen = size
        return grown

    def start(self, n: int) -> int:
        """Return the offset of a line."""
        return self._starts[n]

    def number_at(self, offset: int) -> int:
        """Return the number of the line that contains an offset."""
        return bisect_right(self._starts, offset) - 1

    def lines(self, first: int, stop: int, max_bytes: int | None = None) -> list[bytes]:
        """Return some consecutive lines without their newlines.

        Args:
            max_bytes: return no line that starts more than this after the first one.
        """
        stop = min(stop, len(self))
        if max_bytes is not None and first < stop:
            stop = max(bisect_right(self._starts, self._starts[first] + max_bytes, first, stop), first + 1)
        if first >= stop:
            return []
        begin, end = self._starts[first], self._starts[stop] if stop < len(self._starts) else self.end
        data = os.pread(self._file.fileno(), end - begin, begin)
        bounds = [*(start - begin for start in self._starts[first:stop]), len(data)]
        return [data[a:b].rstrip(b"\r\n") for a, b in pairwise(bounds)]

    def block(self, first: int, size: int) -> tuple[bytes, int]:
        """Return about `size` bytes of whole lines from a line on, and the number of the line after them."""
        begin = self._starts[first]
        stop = min(max(bisect_right(self._starts, begin + size), first + 1), len(self))
        end = self._starts[stop] if stop < len(self._starts) else self.end
        return os.pread(self._file.fileno(), end - begin, begin), stop

    def select(self, numbers: Sequence[int]) -> list[bytes]:
        """Return some lines without their newlines; one read if they are consecutive."""
        if numbers and list(numbers) == list(range(numbers[0], numbers[0] + len(numbers))):
            return self.lines(numbers[0], numbers[0] + len(numbers))
        return [line for n in numbers for line in self.lines(n, n + 1)]

    def close(self) -> None:
        """Close the file."""
        self._file.close()
