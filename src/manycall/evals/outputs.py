"""An output and what stands beside it: where its numbers come from, and whether it is whole."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from manycall.errors import UsageError
from manycall.plain import plain_line
from manycall.store.lines import UNREADABLE, corrupt, read_lines
from manycall.store.manifest import Manifest

NO_SCORE = 1e100
"""A number as large as this is no score, and its square is more than a float holds."""


ASKED = ("question", "answer")
"""Fields that must be the same in two runs over the same questions, as far as both have them."""


def differ(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows of one id are not of the same question."""
    return any(name in row and name in other and row[name] != other[name] for name in ASKED)


class _Failed(msgspec.Struct):
    verdict: str


class Output(msgspec.Struct):
    """The finished rows of a job, and its run directory.

    Attributes:
        manifest: what ran; None for a file that has none beside it.
        unfinished: why rows have no answer, and how many.
    """

    path: Path
    manifest: Manifest | None
    unfinished: dict[str, int]

    @classmethod
    def at(cls, path: str | Path) -> "Output":
        """The output at this path.

        Raises:
            UsageError: there is no such file.
            StoreCorrupt: its run directory cannot be read.
        """
        path = Path(path)
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
        folder = path.with_name(path.name + ".run")
        return cls(path, Manifest.read(folder / "manifest.json"), _unfinished(folder / "failures.jsonl"))

    @property
    def identity(self) -> dict[str, Any]:
        """Whatever changed an answer; empty where that is not known."""
        return self.manifest.identity if self.manifest else {}

    @property
    def sampled(self) -> bool:
        """Whether its rows are samples, `id#k`, of which several belong to one question; or judge such samples."""
        return self._depth > 0

    @property
    def _depth(self) -> int:
        """How often `#k` was put behind an id: by this run, and by that whose answers it judges, and so on."""
        depth, identity = 0, cast(Any, self.identity)
        while isinstance(identity, dict):
            depth, identity = depth + (identity.get("samples") is True), identity.get("answers")
        return depth

    @property
    def failed(self) -> int:
        """Rows that were given up."""
        return sum(self.unfinished.values())

    @property
    def expected(self) -> int | None:
        """Rows that the last session was to do; None if nobody knew."""
        count = self.manifest.source.get("count") if self.manifest else None
        return count if isinstance(count, int) else None

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(offset, row), one at a time.

        Raises:
            StoreCorrupt: a line that is no row.
        """
        for offset, line in read_lines(self.path):
            try:
                yield offset, msgspec.json.decode(line, type=dict[str, Any])
            except UNREADABLE as error:
                raise corrupt(self.path, offset, error) from None

    def row_at(self, offset: int) -> dict[str, Any]:
        """The row that starts there."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return msgspec.json.decode(file.readline(), type=dict[str, Any])

    def split(self, row_id: str) -> tuple[str, int]:
        """(question, number of the sample): q#2 is ("q", 2), and so is the fifth verdict on it, q#2#4."""
        number = 0
        for _ in range(self._depth):
            question, hash_mark, tail = row_id.rpartition("#")
            if hash_mark and tail.isdecimal():
                row_id, number = question, int(tail)
        return row_id, number

    def missing(self, done: int) -> str:
        """A sentence if the run is not whole: rows that it was to do, and has neither done nor given up."""
        sessions = self.manifest.sessions if self.manifest else []
        ending = str(sessions[-1].get("ending", "")) if sessions else ""
        open_rows = max(0, self.expected - done - self.failed) if self.expected is not None else None
        if not self.manifest or open_rows == 0 or (open_rows is None and ending == "finished"):
            return ""
        of = f" of {self.expected:,}" if self.expected is not None else ""
        why = f"; the last session ended with: {ending}" if ending not in ("", "finished") else ""
        return plain_line(f"Partial: only {done + self.failed:,}{of} rows were asked{why}. The same command goes on.")


def _unfinished(path: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for offset, line in read_lines(path):
        try:
            counts[msgspec.json.decode(line, type=_Failed).verdict] += 1
        except UNREADABLE as error:
            raise corrupt(path, offset, error) from None
    return dict(sorted(counts.items()))


def derived(path: str | Path, inputs: Iterable[Path]) -> Path:
    """A path for something made from these outputs, which may be made again and is overwritten.

    Raises:
        UsageError: it would overwrite one of them, or another run's output.
    """
    path = Path(path)
    if any(path.resolve() == other.resolve() for other in inputs):
        raise UsageError(f"{path} is read, and cannot be written at once")
    if path.with_name(path.name + ".run").exists():
        raise UsageError(f"{path} is the output of a run, and is not overwritten: choose another name")
    if not path.name or path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{str(path)!r} is not the name of a file in a folder that is there")
    return path
