"""An input file that is read more than once and must hold the same bytes each time.

The first read stores the CRC-32 of each block of 128 KiB. Every later read compares a block with it before it returns
any byte of it. So a row that was checked (readable, with a unique id) is the row that is done, even if another program
changes the file in the meantime. A changed block passes with a chance of 2e-10. A cryptographic hash would cost 1 µs
more for each kB that is read, where a whole row costs 110 µs.
"""

import io
import os
from contextlib import suppress
from hashlib import blake2b
from itertools import count, takewhile
from pathlib import Path
from zlib import crc32

from manycall import clock
from manycall.data.input_record import InputRecord
from manycall.errors import InputChanged

BLOCK_BYTES = 1 << 17
"""A block that fits in the processor's cache is read faster: it is checked, copied and split into lines."""
SETTLED_SECONDS = 2.0
"""A file that changed less than this before it was opened may change once more without another time stamp: the stamps
of some file systems are that coarse."""


class InputFile:
    """One input file and the checksums of the blocks that were read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checksums: dict[int, int] = {}
        self._state: tuple[int, ...] | None = None
        self._is_settled = False

    def __repr__(self) -> str:
        return f"<InputFile {self.path}, {len(self._checksums)} blocks read>"

    def open(self) -> io.BufferedReader:
        """Open the file for reading. Reading raises InputChanged at the first block that has changed."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        if self._state is None:
            self._state = _state(os.fstat(fd))
            self._is_settled = max(self._state[2:]) / 1e9 < clock.wall_time() - SETTLED_SECONDS
        return io.BufferedReader(_Blocks(self, fd), BLOCK_BYTES)

    def block(self, fd: int, number: int) -> bytes:
        """Read a block; one past the end of the file is empty.

        Raises:
            InputChanged: the block differs from the first time that it was read.
        """
        content = _read(fd, number * BLOCK_BYTES)
        checksum = crc32(content)
        if self._checksums.setdefault(number, checksum) != checksum:
            raise InputChanged(
                f"{self.path} changed while the run was reading it (near byte {number * BLOCK_BYTES:,}). "
                "No changed row was used."
            )
        return content

    @property
    def fingerprint(self) -> str:
        """A hash of the bytes that were read."""
        checksums = b"".join(self._checksums[number].to_bytes(4) for number in sorted(self._checksums))
        return blake2b(checksums, digest_size=16).hexdigest()

    @property
    def state(self) -> tuple[int, ...] | None:
        """Inode, size and times of the file when it was opened first; None if they do not identify its content."""
        return self._state if self._is_settled else None

    @property
    def size(self) -> int:
        """Size of the file when it was opened first, in bytes; 0 if it was not opened."""
        return 0 if self._state is None else self._state[1]

    @property
    def checksums(self) -> list[int]:
        """The checksums of the blocks from the first one up to the first one that was not read."""
        return [self._checksums[number] for number in takewhile(self._checksums.__contains__, count())]

    def is_same(self, record: InputRecord) -> bool:
        """Return whether the file is the one of the record, unchanged. If so, take over its checksums."""
        if not self.path.is_file():
            return False  # opening a pipe would take its content
        with suppress(OSError), self.open():
            if record.state is not None and self._state == record.state:
                self._checksums = dict(enumerate(record.checksums))
                return True
        return False

    def begins_like(self, record: InputRecord, end: int) -> bool:
        """Return whether the first `end` bytes are those of the record's file. They are read for it."""
        blocks = -(-end // BLOCK_BYTES)
        if not self.path.is_file() or end > record.size or blocks > len(record.checksums):
            return False
        with suppress(OSError), self.open() as file:
            for number in range(blocks):
                known_bytes = min(BLOCK_BYTES, record.size - number * BLOCK_BYTES)
                content = self.block(file.fileno(), number)
                if crc32(memoryview(content)[:known_bytes]) != record.checksums[number]:
                    return False
            return True
        return False

    def must_be_unchanged(self) -> None:
        """Compare the file with what was read; a `stat` suffices unless it differs. A deleted file counts as unchanged.

        Raises:
            InputChanged: the content of the file has changed.
        """
        try:
            if _state(self.path.stat()) == self._state:
                return
            with self.open() as file:
                for number in sorted(self._checksums):
                    self.block(file.fileno(), number)
        except OSError:
            return  # every row has been read


class _Blocks(io.RawIOBase):
    """The bytes of an input file, block by block."""

    def __init__(self, file: InputFile, fd: int) -> None:
        self._file, self._fd = file, fd
        self._number, self._block = -1, memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = (0, self._position, os.fstat(self._fd).st_size)[whence]
        self._position = start + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        number, at = divmod(self._position, BLOCK_BYTES)
        if number != self._number:
            self._number, self._block = number, memoryview(self._file.block(self._fd, number))
        part = self._block[at : at + len(buffer)]
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def _read(fd: int, start: int) -> bytes:
    """Return the block at offset `start`. Some network file systems return fewer bytes than requested."""
    content = os.pread(fd, BLOCK_BYTES, start)
    while 0 < len(content) < BLOCK_BYTES:
        more = os.pread(fd, BLOCK_BYTES - len(content), start + len(content))
        if not more:
            break
        content += more
    return content


def _state(stat: os.stat_result) -> tuple[int, ...]:
    """Return values that differ if the file may have changed. The last one, ctime, cannot be set by programs."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
