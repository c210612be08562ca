"""An output, opened to be read: its rows, and what its run directory tells of them. A run may still write it."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import msgspec

from manycall.errors import StoreError, UsageError
from manycall.ids import Named, row_name
from manycall.plain import plain_line
from manycall.records import UNREADABLE, Fields
from manycall.store.journal import reply
from manycall.store.manifest import Manifest, run_folder
from manycall.store.reading import corrupt, parsed


class _Reject(Named):
    reason: str = ""


class _Failed(Named):
    verdict: str


_fields = msgspec.json.Decoder(Fields).decode
_reject = msgspec.json.Decoder(_Reject).decode
_failed = msgspec.json.Decoder(_Failed).decode


class Output:
    """The finished rows of a run, or any other file of rows.

    Args:
        path: the file.
        without: files of rejects; rows whose id stands in one of them are passed over.

    Attributes:
        manifest: what ran; None if the file is not from manycall.
        reads: the files that this is made of: it, those of the rejects, and that of the rows that were asked.

    Raises:
        UsageError: there is no such file.
        StoreCorrupt: the manifest, or a reject, cannot be read. So do all that read on, of what they read.
    """

    def __init__(self, path: str | Path, without: Iterable[str | Path] = ()) -> None:
        self.path, rejects = Path(path), [Path(each) for each in without]
        for each in (self.path, *rejects):
            if not each.is_file():
                raise UsageError(f"{each}: there is no such file")
        self._stat = self.path.stat()
        self.folder = run_folder(self.path)
        self._ours = self.path if self.folder.is_dir() else None
        self.manifest = Manifest.read(self.folder / "manifest.json")
        source = self.manifest.source if self.manifest is not None else {}
        self.reads = (self.path, *rejects, *([Path(source["rows"])] if source.get("is_file") else []))
        self._rejects = {str(row.id): row.reason for each in rejects for _, _, row in parsed(each, _reject)}

    def __repr__(self) -> str:
        return f"<Output {self.path.name}, but for {len(self._rejects)} rows>"

    @property
    def identity(self) -> Fields:
        """What ran, that is whatever changed an answer: job, prompt, model, parameters; nothing, if nobody knows."""
        return self.manifest.identity if self.manifest is not None else {}

    def made_by(self) -> Manifest:
        """The manifest.

        Raises:
            UsageError: there is none.
        """
        if self.manifest is None:
            raise UsageError(f"{self.path} has no {self.folder.name}/manifest.json beside it, which says what made it")
        return self.manifest

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """(offset in the file, row), in the order in which they finished."""
        read = parsed(self.path, _fields, self._ours)
        return ((at, row) for at, _, row in read if str(row.get("id")) not in self._rejects)

    def places(self) -> Iterator[tuple[str, int]]:
        """(id, offset in the file) of each."""
        return ((name, at) for name, at in self._named() if name not in self._rejects)

    def at(self, offsets: Iterable[int]) -> Iterator[Fields]:
        """The rows that stand there.

        Raises:
            StoreCorrupt: one of them cannot be read.
            StoreError: another file has taken the place of the one that the offsets were read from.
        """
        with self.path.open("rb") as file:
            if not os.path.samestat(os.fstat(file.fileno()), self._stat):
                raise StoreError(f"{self.path} was replaced while it was read. Run the same command again")
            for offset in offsets:
                file.seek(offset)
                yield self._row(offset, file.readline())

    def _row(self, offset: int, line: bytes) -> Fields:
        try:
            return _fields(line)
        except UNREADABLE as error:
            raise corrupt(self.path, offset, error, self._ours) from None

    def left_out(self) -> Counter[str]:
        """How many rows of the file are passed over, by the first words of the reason."""
        named = self._named() if self._rejects else ()
        return Counter(self._rejects[name].partition(":")[0] for name, _ in named if name in self._rejects)

    def rejected(self) -> Counter[str]:
        """How many rows the run itself did not want, by the first words of the reason."""
        lines = parsed(self.folder / "rejected.jsonl", _reject, self.path)
        return Counter(row.reason.partition(":")[0] for _, _, row in lines)

    def _named(self) -> Iterator[tuple[str, int]]:
        return ((name, at) for at, _, name in parsed(self.path, row_name, self._ours))

    @property
    def sampled(self) -> bool:
        """Whether its rows are samples, `id#k`, of which several belong to one question; or judge such samples."""
        return self._depth > 0

    @cached_property
    def _depth(self) -> int:
        """How often `#k` was put behind an id: by this run, and by that whose answers it judges, and so on."""
        depth, identity = 0, cast(Any, self.identity)
        while isinstance(identity, dict):
            depth, identity = depth + (identity.get("samples") is True), identity.get("answers")
        return depth

    def split(self, row_id: str) -> tuple[str, int]:
        """(question, number of the sample): q#2 is ("q", 2), and so is the fifth verdict on it, q#2#4."""
        number = 0
        for _ in range(self._depth):
            question, hash_mark, tail = row_id.rpartition("#")
            if hash_mark and tail.isdecimal():
                row_id, number = question, int(tail)
        return row_id, number

    def failures(self) -> dict[str, str]:
        """The rows that were given up, with the verdict. While a run goes on, or after a kill, some are done by now."""
        lines = parsed(self.folder / "failures.jsonl", _failed, self.path)
        return {str(failed.id): failed.verdict for _, _, failed in lines}

    @cached_property
    def unfinished(self) -> dict[str, int]:
        """Why rows were given up, and how many; as far as failures.jsonl said when this was first asked."""
        return dict(sorted(Counter(self.failures().values()).items()))

    @property
    def failed(self) -> int:
        """How many rows were given up."""
        return sum(self.unfinished.values())

    @property
    def expected(self) -> int | None:
        """Rows that the last session was to do; None if nobody knew."""
        count = self.manifest.source.get("count") if self.manifest is not None else None
        return count if isinstance(count, int) else None

    def missing(self, done: int) -> str:
        """A sentence if the run is not whole: rows that it was to do, and has neither done nor given up."""
        sessions = self.manifest.sessions if self.manifest is not None else []
        ending = str(sessions[-1].get("ending", "")) if sessions else ""
        open_rows = max(0, self.expected - done - self.failed) if self.expected is not None else None
        if self.manifest is None or open_rows == 0 or (open_rows is None and ending == "finished"):
            return ""
        of = f" of {self.expected:,}" if self.expected is not None else ""
        why = f"; the last session ended with: {ending}" if ending not in ("", "finished") else ""
        return plain_line(f"Partial: only {done + self.failed:,}{of} rows were asked{why}. The same command goes on.")

    def replies(self) -> Iterator[bytes]:
        """Every reply that was paid for, those of killed sessions too."""
        return (body for _, _, body in parsed(self.folder / "calls.jsonl", reply, self.path))


def may_write(path: str | Path, reads: Iterable[Path] = ()) -> Path:
    """The same path, if nothing stands there that was paid for, or that is read. Its folder is made.

    Args:
        reads: the files that what is written is made of.

    Raises:
        UsageError: the output of a run stands there, or one of those files; it lies among the files of a run; or it is
            no name of a file.
    """
    path = Path(path)
    if not path.name or path.is_dir():
        raise UsageError(f"{str(path)!r} is not the name of a file")
    if why := _why_not(path, reads):
        raise UsageError(f"{path} {why}, and is not overwritten: choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: its folder cannot be made: {error.strerror}") from None
    return path


def _why_not(path: Path, reads: Iterable[Path]) -> str:
    """Why a file must not be written there; "" if it may be."""
    if run_folder(path).exists():
        return "is the output of a run"
    if path.resolve().parent.suffix == ".run":
        return "is among the files of a run"
    is_read = path.exists() and any(each.exists() and path.samefile(each) for each in reads)
    return "is what this is made of" if is_read else ""
