"""The journal: every completed call, raw, written before anything looks into it.

So a paid answer survives a bug in a parser, a crash and a kill. On the next run a call is answered from here, and
costs nothing, if it is the same row's, its whole request is equal, and it is as manieth of that row's equal
requests (two equal requests are two samples, not one). Its place among the row's other calls does not matter, so
calls made side by side find their answers in whatever order they come.

One line a call: {"id": row, "key": hash of the request, "nth": which of the row's equal requests, from 1, "at":
seconds since 1970, "seconds": how long it took, "body": the reply's text, exactly}. A body that is no text stands in
"body64" instead.

What the disk would not take is kept in memory, and so is what it has not synced yet. If it comes to that, `close`
writes them to a file of their own, rescued.jsonl, and the next run takes them in.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from manycall.errors import StoreError
from manycall.records import UNREADABLE
from manycall.store.disk import DISK, Disk
from manycall.store.lines import LineFile, write_whole
from manycall.store.reading import corrupt, parsed, read_lines


class _Call(msgspec.Struct, omit_defaults=True):
    id: str
    key: str
    nth: int
    at: float = 0.0
    seconds: float = 0.0
    body: str = ""
    body64: str = ""


class _Heading(msgspec.Struct):
    """What must be known of a call to find it again; the body is passed over."""

    id: str
    key: str
    nth: int


_encode = msgspec.json.Encoder().encode
_decode_call = msgspec.json.Decoder(_Call).decode
_decode_heading = msgspec.json.Decoder(_Heading).decode


def request_key(path: str, body: bytes) -> str:
    """What tells one request from another: where it goes and every byte of it."""
    return blake2b(body, digest_size=16, key=path.encode()).hexdigest()


class Journal:
    """The calls of one output.

    Args:
        path: the file; made if it is not there.
        is_done: whether a row is finished; its calls will not be asked for again.
        out: the output that it belongs to, for the sentence about damage.
        full: called when so much was appended that it should be synced now.

    Raises:
        StoreCorrupt: a line in the middle of it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        is_done: Callable[[str], bool],
        *,
        out: Path | None = None,
        disk: Disk = DISK,
        full: Callable[[], None] = lambda: None,
    ) -> None:
        self._disk, self._out = disk, out
        self._rescued = path.with_name("rescued.jsonl")
        self.file = LineFile(path, disk, full)
        self._take_in()
        self._unsynced: list[bytes] = []
        self._unwritten: list[bytes] = []
        self._synced = self.file.count
        self._offsets: dict[bytes, int] = {}
        for offset, _, call in parsed(path, _decode_heading, out, disk):
            if not is_done(call.id):
                self._offsets[_place(call.id, call.key, call.nth)] = offset

    def __repr__(self) -> str:
        return f"<Journal {self.file.path.name}, {len(self._offsets)} calls to replay>"

    def append(self, row_id: str, key: str, nth: int, body: bytes, *, at: float, seconds: float) -> None:
        """Write one completed call.

        Raises:
            StoreError: the disk would not take it; `close` will try elsewhere.
        """
        try:
            call = _Call(row_id, key, nth, at, seconds, _text(body))
        except UnicodeDecodeError:
            call = _Call(row_id, key, nth, at, seconds, body64=b64encode(body).decode())
        line = _encode(call) + b"\n"
        try:
            self.file.append(line)
        except StoreError:
            self._unwritten.append(line)
            raise
        self._unsynced.append(line)

    def synced(self, mark: int) -> None:
        """The lines before this mark of the file's are on the disk itself."""
        del self._unsynced[: mark - self._synced]
        self._synced = mark

    def close(self) -> int:
        """Sync and close, and write elsewhere what could not be kept; return how many calls were lost all the same."""
        try:
            self.file.close()
            self._unsynced.clear()
        except StoreError:
            pass  # so they are still in it
        kept_back = self._unsynced + self._unwritten
        try:
            if kept_back:
                write_whole(self._rescued, kept_back, self._disk)
        except OSError:
            return len(kept_back)
        return 0

    def _take_in(self) -> None:
        """What an earlier run had to write elsewhere. Twice does no harm: of equal calls the last counts."""
        rescued = [line for _, line in read_lines(self._rescued, self._disk)]
        if rescued:
            for line in rescued:
                self.file.append(line.rstrip(b"\n") + b"\n")  # somebody's editor may have taken the last one
            self.file.sync()
            self._disk.remove(self._rescued)

    def bodies(self) -> Iterator[bytes]:
        """Every reply that was ever kept, oldest first; those of rows that are done, and of killed sessions, too."""
        return (body for _, _, body in parsed(self.file.path, reply, self._out, self._disk))

    def replay(self, row_id: str, key: str, nth: int) -> bytes | None:
        """The reply to an equal call of an earlier run, once; None if there was none."""
        if not self._offsets:
            return None
        offset = self._offsets.pop(_place(row_id, key, nth), None)
        if offset is None:
            return None
        return self._body(offset, self.file.read_at(offset))

    def _body(self, offset: int, line: bytes) -> bytes:
        try:
            return reply(line)
        except UNREADABLE as error:
            raise corrupt(self.file.path, offset, error, self._out) from None


def reply(line: bytes) -> bytes:
    """The reply that is kept in a line; any of UNREADABLE if it cannot be read."""
    call = _decode_call(line)
    return b64decode(call.body64, validate=True) if call.body64 else call.body.encode()


LONG = 1 << 20
_CONTROLS = bytes(range(32))


def _text(body: bytes) -> str:
    """The body as text.

    Raises:
        UnicodeDecodeError: it is none; or it is long, and its control characters, escaped, would make it far longer.
    """
    if len(body) > LONG and 2 * len(body.translate(None, _CONTROLS)) < len(body):
        raise UnicodeDecodeError("utf-8", b"", 0, 0, "control characters")
    return body.decode()


def _place(row_id: str, key: str, nth: int) -> bytes:
    return blake2b(f"{nth} {key} {row_id}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
