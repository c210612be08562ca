"""resume.cache: what the files of a run contain, so that the next session need not read a million lines again.

The file is a cache and never a second truth. It holds the table of the done ids and some counts, together with the
length of the output, of rejected.jsonl and of the journal at that time, each with a hash of the last 64 KiB before that
length. It is written after these lengths were synced, replaced atomically, and carries a checksum. A session that
finds the same lengths and hashes reads only the lines behind them. Otherwise it reads everything, as if the file did
not exist.

A change in the middle of a file is therefore not noticed. `manycall repair` reads everything and removes the cache.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

import msgspec

from manycall.ids import IdTable
from manycall.records import DECODE_ERRORS
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.row_layout import RowLayout

CACHE = "resume.cache"
CACHE_VERSION = 1
MIN_CACHED_ROWS = 10_000
"""Fewer rows are read in a few hundredths of a second, so no cache is written."""
TAIL_BYTES = 64 << 10
"""How much of a file before the cached length is hashed."""
_CHECKSUM_BYTES = 16
Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class FileMark(msgspec.Struct, frozen=True):
    """A length that a file had, and a hash of the last 64 KiB before it."""

    size: Count = 0
    tail: str = ""

    @classmethod
    def at(cls, path: Path, size: int, disk: Disk) -> Self:
        """Return the mark of a file at a length that it has or had."""
        start = max(0, size - TAIL_BYTES)
        try:
            with disk.open_for_reading(path) as file:
                file.seek(start)
                tail = file.read(size - start)
        except OSError:
            tail = b""
        if len(tail) < size - start:
            return cls(size, "shorter")
        return cls(size, blake2b(tail, digest_size=_CHECKSUM_BYTES).hexdigest())

    def matches(self, path: Path, disk: Disk) -> bool:
        """Return whether the file still begins with what the mark describes."""
        return self == FileMark.at(path, self.size, disk)


class CachedUsage(msgspec.Struct, frozen=True):
    """The tokens of all responses in the journal before its mark."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    cached_tokens: Count = 0


class CacheRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the cache, except the table of ids.

    Attributes:
        layout: name of the line format of the output.
        truncation_marks: bytes of which the lines of a truncated row have one.
        output, rejected, journal: the marks of the files.
        truncated, rejected_rows, output_rows: counts of rows before the marks.
        unfinished_calls: offsets of the calls before the mark of the journal whose rows are not done.
        usage: None if it is not known.
        source: what is known of the input (see data/input_record.py); None if it cannot be used again.
    """

    version: int = CACHE_VERSION
    layout: str
    truncation_marks: list[str]
    output: FileMark
    rejected: FileMark
    journal: FileMark
    truncated: Count
    rejected_rows: Count
    output_rows: Count
    unfinished_calls: list[Count]
    usage: CachedUsage | None
    source: dict[str, Any] | None


class ResumeCache(msgspec.Struct, frozen=True):
    """The content of the file."""

    record: CacheRecord
    ids: IdTable

    @classmethod
    def load(cls, folder: Path, disk: Disk = REAL_DISK) -> Self | None:
        """Return the cache in a run folder; None if there is none, or if it is damaged or of another version."""
        try:
            with disk.open_for_reading(folder / CACHE) as file:
                checksum, content = file.read(_CHECKSUM_BYTES), file.read()
        except OSError:
            return None
        if _checksum([content]) != checksum:
            return None
        end = content.find(b"\n") + 1
        try:
            record = msgspec.json.decode(memoryview(content)[:end], type=CacheRecord)
            return cls(record, IdTable.load(memoryview(content)[end:])) if record.version == CACHE_VERSION else None
        except DECODE_ERRORS:
            return None


class CachedFiles(NamedTuple):
    """The files of a run that its cache describes, and how their lines are read.

    Attributes:
        folder: the run folder.
        output, rejected, journal: the files.
        layout: name of the line format of the output.
        truncation_marks: bytes of which the lines of a truncated row have one.
    """

    folder: Path
    output: Path
    rejected: Path
    journal: Path
    layout: str
    truncation_marks: list[str]

    @classmethod
    def of(
        cls, folder: Path, rows: Path, rejected: Path, layout: RowLayout, truncation_marks: tuple[bytes, ...]
    ) -> Self:
        """Return the files of a run."""
        marks = [mark.decode() for mark in truncation_marks]
        return cls(folder, rows, rejected, folder / "calls.jsonl", type(layout).__name__, marks)

    def load(self, disk: Disk) -> ResumeCache | None:
        """Return the cache if it describes the files as they are now; otherwise None."""
        cache = ResumeCache.load(self.folder, disk)
        if cache is None:
            return None
        record = cache.record
        if (record.layout, record.truncation_marks) != (self.layout, self.truncation_marks):
            return None
        marks = ((self.output, record.output), (self.rejected, record.rejected), (self.journal, record.journal))
        return cache if all(mark.matches(path, disk) for path, mark in marks) else None

    def write(self, record: CacheRecord, table: Callable[[], Iterable[bytes]], disk: Disk) -> None:
        """Replace the cache atomically. Everything before the marks of the record must be synced.

        Args:
            record: its marks need no hashes.
            table: returns the pieces of the table of ids; called twice.

        Raises:
            OSError: it could not be written.
        """
        complete = msgspec.structs.replace(
            record,
            output=FileMark.at(self.output, record.output.size, disk),
            rejected=FileMark.at(self.rejected, record.rejected.size, disk),
            journal=FileMark.at(self.journal, record.journal.size, disk),
        )
        head = msgspec.json.encode(complete) + b"\n"
        checksum = _checksum(chain([head], table()))
        replace_file(self.folder / CACHE, chain([checksum, head], table()), disk)


def _checksum(pieces: Iterable[bytes]) -> bytes:
    digest = blake2b(digest_size=_CHECKSUM_BYTES)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
