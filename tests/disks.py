"""Disks that refuse, and a disk that remembers: from its history every state is made that a crash may leave."""

import errno
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from manycall.store.disk import Disk
from manycall.store.row_store import RESERVED_BYTES

Files = dict[Path, bytes]
FOLDER = -1
"""Where a file has the number of its inode."""


class Refusing(Disk):
    """The real disk, until it refuses.

    Attributes:
        room: bytes that it still takes; None: without end. most: bytes that it takes at a time.
        sync_error, write_error: what the next sync, or write, comes to; None: it succeeds.
    """

    def __init__(self, room: int | None = None, most: int | None = None) -> None:
        self.room, self.most = room, most
        self.sync_error: int | None = None
        self.write_error: int | None = None
        self.truncate_error: int | None = None

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if self.write_error is not None:
            raise _error(self.write_error)
        size = len(data)
        if self.most is not None:
            size = min(size, self.most)
        if self.room is not None:
            if self.room <= 0:
                raise _error(errno.ENOSPC)
            size = min(size, self.room)
            self.room -= size
        return super().write(fd, data[:size])

    def remove(self, path: Path) -> None:
        if self.room is not None and path.name == "spare":
            self.room += RESERVED_BYTES
        super().remove(path)

    def truncate(self, fd: int, size: int) -> None:
        if self.truncate_error is not None:
            raise _error(self.truncate_error)
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        if self.sync_error is not None:
            raise _error(self.sync_error)
        super().sync(fd)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Op(NamedTuple):
    """One change that was asked of the disk.

    Attributes:
        kind: name, write, truncate, sync, replace, remove, folder, sync_folder, or a note of the test's own.
        path: what was named, synced, replaced or removed; for folder and sync_folder the folder.
        inode: the file itself, whatever it is called. data: what was written, or noted. size: after truncation.
        new: the other name, of a replace.
    """

    kind: str
    path: Path = Path()
    inode: int = -1
    data: bytes = b""
    size: int = 0
    new: Path = Path()


class Remembering(Disk):
    """A disk in memory, with these files on it.

    Attributes:
        log: every change that was asked of it, in order.
        refuses: the name of a file that takes nothing more.
    """

    refuses = ""

    def __init__(self, files: Files | None = None) -> None:
        self.log: list[Op] = []
        self.beginning = dict(files or {})
        self._names = {path: number for number, path in enumerate(self.beginning)}
        self._inodes = [bytearray(content) for content in self.beginning.values()]
        self._open: dict[int, int] = {}
        self._folders = {Path("/"), *_folders(self.beginning)}

    @property
    def files(self) -> Files:
        """What is on it."""
        return {path: bytes(self._inodes[inode]) for path, inode in self._names.items()}

    def note(self, kind: str, data: bytes = b"") -> None:
        """Write into the log what the test must remember."""
        self.log.append(Op(kind, data=data))

    def open(self, path: Path) -> int:
        if path not in self._names:
            self._names[path] = len(self._inodes)
            self._inodes.append(bytearray())
            self.log.append(Op("name", path, self._names[path]))
        fd = 1000 + len(self._open)
        self._open[fd] = self._names[path]
        return fd

    def create(self, path: Path) -> int:
        fd = self.open(path)
        self.truncate(fd, 0)
        return fd

    def open_for_reading(self, path: Path) -> BinaryIO:
        if path not in self._names:
            raise FileNotFoundError(path)
        return BytesIO(self._inodes[self._names[path]])

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if any(path.name == self.refuses and inode == self._open[fd] for path, inode in self._names.items()):
            raise _error(errno.ENOSPC)
        self._inodes[self._open[fd]] += data
        self.log.append(Op("write", inode=self._open[fd], data=bytes(data)))
        return len(data)

    def read(self, fd: int, size: int, start: int) -> bytes:
        return bytes(self._inodes[self._open[fd]][start : start + size])

    def size(self, fd: int) -> int:
        return len(self._inodes[self._open[fd]])

    def truncate(self, fd: int, size: int) -> None:
        del self._inodes[self._open[fd]][size:]
        self.log.append(Op("truncate", inode=self._open[fd], size=size))

    def reserve(self, fd: int, size: int) -> None:
        pass

    def sync(self, fd: int) -> None:
        inode = self._open[fd]
        path = next((path for path, number in self._names.items() if number == inode), Path())  # replaced, still open
        self.log.append(Op("sync", path, inode))

    def sync_folder(self, folder: Path) -> None:
        self.log.append(Op("sync_folder", folder))

    def close(self, fd: int) -> None:
        assert fd in self._open

    def replace(self, old: Path, new: Path) -> None:
        self._names[new] = self._names.pop(old)
        if old.parent == new.parent:
            self.log.append(Op("replace", old, new=new))
        else:  # until both folders are synced, a power cut may undo either half
            self.log += [Op("name", new, self._names[new]), Op("remove", old)]

    def remove(self, path: Path) -> None:
        if self._names.pop(path, None) is not None:
            self.log.append(Op("remove", path))

    def make_folder(self, path: Path) -> None:
        for folder in (*reversed(path.parents), path):
            if folder not in self._folders:
                self._folders.add(folder)
                self.log.append(Op("folder", folder))

    def remove_folder(self, path: Path) -> None:
        assert not self.list_files(path)
        self._folders.remove(path)
        self.log.append(Op("remove", path))

    def list_files(self, folder: Path) -> list[Path]:
        return sorted(path for path in {*self._names, *self._folders} if path.parent == folder)

    def exists(self, path: Path) -> bool:
        return path in self._names or path in self._folders

    def lock(self, fd: int) -> bool:
        return True


class Crash(NamedTuple):
    """What a crash has left: how it came to be, and the files."""

    how: str
    files: Files


def crashes(disk: Remembering, end: int) -> Iterator[Crash]:
    """Every state that a crash after the first `end` changes may leave.

    The process alone (kill -9): all of them are there. The machine (a power cut): of each folder the names as they
    were when it was last synced, and any number of the changes since, in order; of each file what was synced, and of
    what was written since any number of whole writes, then a part of the next one, or zeros in its place, with
    nothing or with the later ones behind it. Files are harmed one at a time, the others keep all, or lose all.
    """
    moment = _Moment(disk, end)
    yield Crash("killed", moment.files(moment.all_names, moment.whole))
    for kept in range(len(moment.late_names) + 1):
        names = moment.names(kept)
        for others in (moment.whole, moment.synced):
            yield Crash(f"{kept} names kept", moment.files(names, others))
            for inode in sorted(moment.late):
                for how, content in moment.harmed(inode):
                    harmed = {path: content for path, number in names.items() if number == inode}
                    yield Crash(f"{kept} names kept, file {inode} {how}", moment.files(names, others) | harmed)


class _Moment:
    """Which changes of the first `end` are past a power cut, and which are not yet."""

    def __init__(self, disk: Remembering, end: int) -> None:
        self._safe_names = dict.fromkeys(_folders(disk.beginning), FOLDER)
        self._safe_names |= {path: number for number, path in enumerate(disk.beginning)}
        self._safe = dict(enumerate(disk.beginning.values()))
        self.late_names: list[Op] = []
        self.late: dict[int, list[Op]] = {}
        for op in disk.log[:end]:
            if op.kind in {"name", "replace", "remove", "folder"}:
                self.late_names.append(op)
            elif op.kind == "sync_folder":
                mine = [each for each in self.late_names if each.path.parent == op.path]
                self._safe_names = _renamed(self._safe_names, mine)
                self.late_names = [each for each in self.late_names if each.path.parent != op.path]
            elif op.kind in {"write", "truncate"}:
                self.late.setdefault(op.inode, []).append(op)
            elif op.kind == "sync":
                self._safe[op.inode] = self.whole(op.inode)
                self.late.pop(op.inode, None)

    @property
    def all_names(self) -> dict[Path, int]:
        return self.names(len(self.late_names))

    def names(self, kept: int) -> dict[Path, int]:
        """The files' names after the first `kept` late changes. A file is lost if the name of its folder is lost."""
        names = _renamed(self._safe_names, self.late_names[:kept])
        there = {path for path, inode in names.items() if inode == FOLDER and names.keys() >= {*path.parents[:-1]}}
        return {path: inode for path, inode in names.items() if inode != FOLDER and path.parent in there}

    def files(self, names: dict[Path, int], content: Callable[[int], bytes]) -> Files:
        return {path: content(inode) for path, inode in names.items()}

    def synced(self, inode: int) -> bytes:
        """Only what was synced."""
        return self._safe.get(inode, b"")

    def whole(self, inode: int) -> bytes:
        """All of it."""
        return _written(self.synced(inode), self.late.get(inode, []))

    def harmed(self, inode: int) -> Iterator[tuple[str, bytes]]:
        """What may be left of one file."""
        ops = self.late[inode]
        for at, op in enumerate(ops):
            before = _written(self.synced(inode), ops[:at])
            yield f"keeps {at} writes", before
            if op.kind != "write":
                continue
            for part in sorted({1, len(op.data) // 2, len(op.data) - 1} - {0, len(op.data)}):
                yield f"keeps {at} writes and {part} bytes", before + op.data[:part]
                yield f"keeps {at} writes, {part} bytes and zeros", _padded(before + op.data[:part], self.whole(inode))
            zeros = op._replace(data=bytes(len(op.data)))
            yield f"keeps {at} writes and zeros", _padded(before, self.whole(inode))
            yield f"has zeros for write {at}", _written(before, [zeros, *ops[at + 1 :]])


def _folders(files: Files) -> set[Path]:
    return {folder for path in files for folder in path.parents[:-1]}


def _renamed(names: dict[Path, int], ops: list[Op]) -> dict[Path, int]:
    names = dict(names)
    for op in ops:
        match op.kind:
            case "name" | "folder":
                names[op.path] = op.inode
            case "remove":
                names.pop(op.path, None)
            case _ if op.path in names:
                names[op.new] = names.pop(op.path)
    return names


def _written(content: bytes, ops: list[Op]) -> bytes:
    for op in ops:
        content = content + op.data if op.kind == "write" else content[: op.size]
    return content


def _padded(content: bytes, whole: bytes) -> bytes:
    """The file's length may get to the disk before its bytes do."""
    return content + bytes(max(0, len(whole) - len(content)))


class Recovered:
    """What a recovery makes of each state of the disk. Many crashes leave the same state, which is recovered once.

    Args:
        recover: opens the files, goes on to the end, and returns what was there.
    """

    def __init__(self, recover: Callable[[Files], set[str]]) -> None:
        self._recover = recover
        self._known: dict[frozenset[tuple[Path, bytes]], set[str]] = {}

    def __call__(self, files: Files) -> set[str]:
        """The result for this state."""
        state = frozenset(files.items())
        if state not in self._known:
            self._known[state] = self._recover(files)
        return self._known[state]
