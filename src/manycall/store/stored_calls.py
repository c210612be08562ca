"""The journal of an output, for reading only. A run may still be writing it."""

from pathlib import Path
from types import TracebackType
from typing import Self

from manycall.store.journal_line import decode_key, decode_response, lookup_key
from manycall.store.jsonl import decode_lines
from manycall.store.paths import run_folder_path


class StoredCalls:
    """The completed calls of an output. Use it in a `with` block.

    Args:
        out: the output.

    Raises:
        CorruptFile: a line in the middle of the journal cannot be decoded.
    """

    def __init__(self, out: Path) -> None:
        path = run_folder_path(out) / "calls.jsonl"
        self._offsets = {
            lookup_key(call.id, call.key, call.occurrence): offset
            for offset, _, call in decode_lines(path, decode_key, out)
        }
        self._file = path.open("rb") if self._offsets else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._offsets)

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
        offset = self._offsets.get(name)
        if offset is None or self._file is None:
            return None
        self._file.seek(offset)
        return decode_response(self._file.readline())
