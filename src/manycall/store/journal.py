"""The journal: the raw response of every completed call, written before it is decoded.

So a billed response survives a bug in a decoder, a crash and a kill. The next run replays a call from the journal at no
cost if it belongs to the same row, its whole request is identical, and it has the same occurrence number among the
row's identical requests (two identical requests are two samples, not one). The order of a row's other calls does not
matter, so concurrent calls of a row are replayed whatever order they complete in.

One line per call: {"id": row id, "key": hash of the request, "nth": occurrence number of the request in the row, from
1, "at": seconds since 1970, "seconds": duration, "body": the exact text of the response}. A body that is not valid
UTF-8 is stored base64-encoded in "body64" instead.

Lines that could not be written, or are not synced yet, are kept in memory. If the file fails, `close` writes them to
rescued.jsonl, and the next run imports that file.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from manycall.errors import StorageError
from manycall.records import DECODE_ERRORS
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.jsonl import corrupt_file, decode_lines, read_lines


class _Call(msgspec.Struct, omit_defaults=True):
    id: str
    key: str
    occurrence: int = msgspec.field(name="nth")
    at: float = 0.0
    seconds: float = 0.0
    body: str = ""
    body64: str = ""


class _CallKey(msgspec.Struct):
    """The fields that identify a call; the body is not decoded."""

    id: str
    key: str
    occurrence: int = msgspec.field(name="nth")


_encode = msgspec.json.Encoder().encode
_decode_call = msgspec.json.Decoder(_Call).decode
_decode_heading = msgspec.json.Decoder(_CallKey).decode


def request_hash(path: str, body: bytes) -> str:
    """Return a hash that identifies a request: its URL path and every byte of its body."""
    return blake2b(body, digest_size=16, key=path.encode()).hexdigest()


class Journal:
    """The completed calls of one output.

    Args:
        path: the file; created if it does not exist.
        is_done: returns whether a row is done; its calls are not replayed.
        out: the output, for the message about damage.
        on_sync_needed: called when the file should be synced early (see AppendLog).

    Raises:
        CorruptFile: a line in the middle of the file cannot be decoded.
    """

    def __init__(
        self,
        path: Path,
        is_done: Callable[[str], bool],
        *,
        out: Path | None = None,
        disk: Disk = REAL_DISK,
        on_sync_needed: Callable[[], None] = lambda: None,
    ) -> None:
        self._disk, self._out = disk, out
        self._rescued = path.with_name("rescued.jsonl")
        self.file = AppendLog(path, disk, on_sync_needed)
        self._import_rescued()
        self._unsynced: list[bytes] = []
        self._unwritten: list[bytes] = []
        self._synced = self.file.count
        self._offsets: dict[bytes, int] = {}
        for offset, _, call in decode_lines(path, _decode_heading, out, disk):
            if not is_done(call.id):
                self._offsets[_lookup_key(call.id, call.key, call.occurrence)] = offset

    def __repr__(self) -> str:
        return f"<Journal {self.file.path.name}, {len(self._offsets)} calls to replay>"

    def append(self, row_id: str, key: str, occurrence: int, body: bytes, *, at: float, seconds: float) -> None:
        """Write one completed call.

        Raises:
            StorageError: the line could not be written; `close` will try another file.
        """
        try:
            call = _Call(row_id, key, occurrence, at, seconds, _text(body))
        except UnicodeDecodeError:
            call = _Call(row_id, key, occurrence, at, seconds, body64=b64encode(body).decode())
        line = _encode(call) + b"\n"
        try:
            self.file.append(line)
        except StorageError:
            self._unwritten.append(line)
            raise
        self._unsynced.append(line)

    def synced(self, mark: int) -> None:
        """Record that the lines before this mark (AppendLog.sync_mark) are on the disk itself."""
        del self._unsynced[: mark - self._synced]
        self._synced = mark

    def close(self) -> int:
        """Sync and close the file; write unsaved calls to rescued.jsonl. Return the number of lost calls."""
        try:
            self.file.close()
            self._unsynced.clear()
        except StorageError:
            pass  # the unsynced lines are still in the list
        unsaved = self._unsynced + self._unwritten
        try:
            if unsaved:
                replace_file(self._rescued, unsaved, self._disk)
        except OSError:
            return len(unsaved)
        return 0

    def _import_rescued(self) -> None:
        """Import the calls that an earlier run rescued. Importing twice is safe: the last identical call counts."""
        rescued = [line for _, line in read_lines(self._rescued, self._disk)]
        if rescued:
            for line in rescued:
                self.file.append(line.rstrip(b"\n") + b"\n")  # an editor may have removed the last newline
            self.file.sync()
            self._disk.remove(self._rescued)

    def responses(self) -> Iterator[bytes]:
        """Yield every stored response, oldest first, including those of done rows and of killed sessions."""
        return (body for _, _, body in decode_lines(self.file.path, decode_response, self._out, self._disk))

    def replay(self, row_id: str, key: str, occurrence: int) -> bytes | None:
        """Return the stored response to an identical call, once; None if there is none."""
        if not self._offsets:
            return None
        offset = self._offsets.pop(_lookup_key(row_id, key, occurrence), None)
        if offset is None:
            return None
        return self._body(offset, self.file.read_at(offset))

    def _body(self, offset: int, line: bytes) -> bytes:
        try:
            return decode_response(line)
        except DECODE_ERRORS as error:
            raise corrupt_file(self.file.path, offset, error, self._out) from None


def decode_response(line: bytes) -> bytes:
    """Return the response body stored in a line. Raises one of DECODE_ERRORS if the line cannot be decoded."""
    call = _decode_call(line)
    return b64decode(call.body64, validate=True) if call.body64 else call.body.encode()


LARGE_BODY_BYTES = 1 << 20
_CONTROLS = bytes(range(32))


def _text(body: bytes) -> str:
    """Decode a body as text.

    Raises:
        UnicodeDecodeError: the body is not UTF-8, or it is large and more than half of it are control characters, which
            JSON escapes with six bytes each.
    """
    if len(body) > LARGE_BODY_BYTES and 2 * len(body.translate(None, _CONTROLS)) < len(body):
        raise UnicodeDecodeError("utf-8", b"", 0, 0, "control characters")
    return body.decode()


def _lookup_key(row_id: str, key: str, occurrence: int) -> bytes:
    return blake2b(f"{occurrence} {key} {row_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
