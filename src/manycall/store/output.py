"""An output, opened to be read: its rows, and what its run directory tells of them. A run may still write it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.store.disk import DISK
from manycall.store.failures import row_name
from manycall.store.journal import reply
from manycall.store.lines import UNREADABLE, corrupt, read_lines
from manycall.store.manifest import Manifest

Fields = dict[str, Any]
_decode = msgspec.json.Decoder(Fields).decode


class Output:
    """A file of finished rows.

    Args:
        path: the file.
        without: files of rejects; rows whose id stands in one of them are passed over.

    Attributes:
        manifest: what ran; None if the file is not from manycall.

    Raises:
        UsageError: there is no such file.
    """

    def __init__(self, path: Path, without: tuple[Path, ...] = ()) -> None:
        self.path = path
        for each in (path, *without):
            if not each.is_file():
                raise UsageError(f"{each}: there is no such file")
        self.folder = path.with_name(path.name + ".run")
        self.manifest = Manifest.read(self.folder / "manifest.json")
        self._rejects = {name: row.get("reason", "") for each in without for _, name, row in _rows(each)}

    def __repr__(self) -> str:
        return f"<Output {self.path.name}, but for {len(self._rejects)} rows>"

    @property
    def identity(self) -> Fields:
        """What ran: job, prompt, model, parameters; nothing, if nobody knows."""
        return self.manifest.identity if self.manifest is not None else {}

    def made_by(self) -> Manifest:
        """The manifest.

        Raises:
            UsageError: there is none.
        """
        if self.manifest is None:
            raise UsageError(f"{self.path} has no {self.folder.name}/manifest.json beside it, which says what made it")
        return self.manifest

    def rows(self) -> Iterator[Fields]:
        """Each row, in the order in which they finished.

        Raises:
            StoreCorrupt: a line cannot be read.
        """
        return (row for _, name, row in _rows(self.path) if name not in self._rejects)

    def places(self) -> Iterator[tuple[str, int]]:
        """(id, offset in the file) of each."""
        named = ((row_name(line), at) for at, line in _whole_lines(self.path))
        return ((name, at) for name, at in named if name not in self._rejects)

    def at(self, offsets: Iterator[int]) -> Iterator[Fields]:
        """The rows that stand there."""
        with self.path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                yield _decode(file.readline())

    def left_out(self) -> Counter[str]:
        """How many rows of the file are passed over, by the first words of the reason."""
        named = (row_name(line) for _, line in _whole_lines(self.path)) if self._rejects else ()
        return Counter(self._rejects[name].partition(":")[0] for name in named if name in self._rejects)

    def may_write(self, path: Path) -> Path:
        """The same path, if nothing that was paid for, or that it was made of, stands there.

        Raises:
            UsageError: it does.
        """
        source = self.manifest.source.get("rows") if self.manifest is not None else None
        is_output = path.with_name(path.name + ".run").exists() or path.resolve() == self.path.resolve()
        if is_output or (source and path.exists() and path.resolve() == Path(source).resolve()):
            raise UsageError(
                f"{path} is {'an output' if is_output else 'the rows'} of manycall, and would be overwritten"
            )
        if not path.name or path.is_dir() or not path.parent.is_dir():
            raise UsageError(f"-o {str(path)!r} is not the name of a file in a folder that is there")
        return path

    def failures(self) -> dict[str, str]:
        """The rows that were given up, with the verdict. While a run goes on, or after a kill, some are done by now."""
        return {name: row["verdict"] for _, name, row in _rows(self.folder / "failures.jsonl")}

    def replies(self) -> Iterator[bytes]:
        """Every reply that was paid for, those of killed sessions too."""
        path = self.folder / "calls.jsonl"
        for at, line in _whole_lines(path):
            try:
                yield reply(line)
            except (*UNREADABLE, ValueError) as error:
                raise corrupt(path, at, error, self.path) from None


def _rows(path: Path) -> Iterator[tuple[int, str, Fields]]:
    for at, line in _whole_lines(path):
        try:
            yield at, row_name(line), _decode(line)
        except UNREADABLE as error:
            raise corrupt(path, at, error) from None


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """All but a last one that somebody is writing, or was when he was killed."""
    return ((at, line) for at, line in read_lines(path, DISK) if line.endswith(b"\n"))
