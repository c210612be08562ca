"""The journal of an output, for reading only. A run may still be writing it."""

from pathlib import Path
from types import TracebackType
from typing import Self

from manycall.store.journal_line import decode_key, decode_response, lookup_key
from manycall.store.paths import run_folder_path
from manycall.store.segment_fold import decode_journals


class StoredCalls:
    """The completed calls of an output. Use it in a `with` block.

    Args:
        out: the output.

    Raises:
        CorruptFile: a line in the middle of the journal cannot be decoded.
    """

    def __init__(self, out: Path) -> None:
        self._offsets: dict[Path, dict[bytes, int]] = {}
        for path, offset, call in decode_journals(run_folder_path(out), decode_key, out):
            offsets = self._offsets.setdefault(path, {})
            offsets[lookup_key(call.id, call.key, call.occurrence)] = offset
        self._files = {path: path.open("rb") for path in self._offsets}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def __len__(self) -> int:
        return sum(map(len, self._offsets.values()))

    @property
    def has_replays(self) -> bool:
        """Whether there are any calls."""
        return bool(self._offsets)

    def replay(self, row_id: str, key: str, occurrence: int) -> bytes | None:
        """Return the stored response of this call; None if there is none.

        Raises:
            One of DECODE_ERRORS: the line was damaged after the file was opened.
        """
        return self.response(lookup_key(row_id, key, occurrence))

    def response(self, name: bytes) -> bytes | None:
        """Return the stored response of the call with this `lookup_key`; None if there is none.

        Raises:
            One of DECODE_ERRORS: the line was damaged after the file was opened.
        """
        for path, file in reversed(self._files.items()):  # of equal calls, the last
            if (offset := self._offsets[path].get(name)) is not None:
                file.seek(offset)
                return decode_response(file.readline())
        return None
