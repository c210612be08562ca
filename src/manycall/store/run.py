"""The run directory: who may write, what ran, what is done, what failed.

`stories.jsonl` holds the finished rows; beside it `stories.jsonl.run/` holds manifest.json, calls.jsonl,
failures.jsonl, rejected.jsonl, timeline.jsonl and the lock. Everything is plain text. Each row's id stands in the
output exactly once; a row given up stands in failures.jsonl until a later run finishes it; one that a row function
did not want stands in rejected.jsonl, and is as good as done.

What is written survives the process; what is synced survives the machine. Everything is synced at least once a
second, and after 1,000 lines or 8 MiB (group commit); rows that are synced are counted in `durable`.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import Rejected, RunDiffers, StoreError, UsageError
from manycall.ids import IdTable, row_name
from manycall.records import Row, Success
from manycall.store.disk import DISK, Disk
from manycall.store.failures import Failures
from manycall.store.inplace import Shape, put_in, take_out
from manycall.store.journal import Journal
from manycall.store.lines import WHAT_TO_DO, LineFile, refusal
from manycall.store.lock import Lock
from manycall.store.manifest import Manifest, real_output, run_folder
from manycall.store.parts import PARTS, must_be_parts, part_id, whole
from manycall.store.reading import corrupt, parsed, read_lines

SPARE_BYTES = 4 << 20
"""Room that is kept so that a full disk still takes the answers in flight."""
_encode = msgspec.json.Encoder().encode


class Run:
    """One output and its run directory, open for writing by this process alone.

    Args:
        out: the output file.
        manifest: what is about to run.
        fresh: move what is there aside (to `<out>.old`, `.old2`, ...) and start over.
        expected: how many rows there will be, if that is known.
        cut: how the line of a row ends that was cut at max_tokens; None if that cannot be told.
        shape: the lines of the output, if they are not the row's fields with the answer among them.
        parted: a row may become many (store/parts.py).
        disk: where it all goes; for tests.

    Attributes:
        known: the ids that are done, rejected ones too. truncated: how many of them were cut at max_tokens.
        rejected: how many of them are not wanted. written: rows that the others have become, where they may be many.
        durable: rows in the output that would survive a power cut.
        full: called when so much was written that `sync` should not wait for its second.
        ended: every row of the input has come to its end; to be set before `close`.
        journal: the calls. failures: the rows that were given up.

    Raises:
        RunDiffers: what is there was made otherwise; the message is a diff.
        RunLocked: another process is writing.
        StoreCorrupt: a damaged file.
        StoreError: a full disk.
        UsageError: a path that cannot be written.
    """

    def __init__(
        self,
        out: Path,
        manifest: Manifest,
        *,
        fresh: bool = False,
        expected: int | None = None,
        cut: bytes | None = None,
        shape: Shape | None = None,
        parted: bool = False,
        disk: Disk = DISK,
    ) -> None:
        self.out = out = real_output(out)
        self.folder = run_folder(out)
        self.manifest = manifest
        self.full: Callable[[], None] = lambda: None
        self._disk = disk
        self._expected = expected or 0
        self._cut, self._shape, self._parted = cut, shape, parted
        self.ended = False
        self.truncated = self.rejected = self.written = 0
        self._lock: Lock | None = None
        try:
            self._lock = Lock(out, disk)
            self._open(fresh)
            self._lock.lock_output()  # by now it is there, and perhaps another file
        except BaseException as error:
            self._unlock()
            if not isinstance(error, OSError):
                raise
            if error.errno in WHAT_TO_DO:
                raise refusal(self.folder, error) from error
            raise UsageError(f"{error.filename or out} cannot be used for the output: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"<Run {self.out.name}, {len(self.known)} rows done, {len(self.failures.before)} failed>"

    def _open(self, fresh: bool) -> None:
        if fresh:
            self._set_aside()
        self._adopt_manifest()
        if self._shape is not None:
            take_out(self.out, self._shape, self._disk)
        self._rows = self._file(self.out)
        self._rejects = self._file(self.folder / "rejected.jsonl")
        self.known = self._read_done()
        self.durable = len(self.known)
        self._before = self.durable
        self.journal = Journal(
            self.folder / "calls.jsonl", self._is_done, out=self.out, disk=self._disk, full=self._is_full
        )
        self.failures = Failures(
            self.folder / "failures.jsonl", self._is_done, out=self.out, disk=self._disk, full=self._is_full
        )
        self._timeline = self._file(self.folder / "timeline.jsonl")
        self._keep_spare_room()
        self.save_manifest()
        self._disk.sync_folder(self.out.parent)

    def _file(self, path: Path) -> LineFile:
        return LineFile(path, self._disk, self._is_full)

    def _is_full(self) -> None:
        self.full()

    def _set_aside(self) -> None:
        """Rename what is there; nothing paid for is ever deleted."""
        disk = self._disk
        if not disk.exists(self.out) and not disk.exists(self.folder / "manifest.json"):
            return
        tails = (".old" if n == 1 else f".old{n}" for n in range(1, 1_000_000))
        names = (self.out.with_name(self.out.name + tail) for tail in tails)
        aside = next(a for a in names if not disk.exists(a) and not disk.exists(run_folder(a)))
        kept = run_folder(aside)
        disk.make_folder(kept)
        if disk.exists(self.out):
            disk.replace(self.out, aside)
        for path in disk.names(self.folder):
            if path.name != "lock":
                disk.replace(path, kept / path.name)
        disk.sync_folder(kept)
        disk.sync_folder(self.out.parent)  # the folder's own name

    def _adopt_manifest(self) -> None:
        """Go on from the manifest that is there, if it is of the same run."""
        path = self.folder / "manifest.json"
        old = Manifest.read(path, self._disk)
        if old is not None and self._anything_paid():
            self.manifest.go_on_from(old, self.out)
        elif old is None and self._holds_a_line(self.out) and not self._disk.exists(damaged(path)):
            raise RunDiffers(
                f"{self.out} is there already, and not from manycall. Choose another -o, or --fresh moves it aside"
            )

    def _anything_paid(self) -> bool:
        """Whether a run got as far as an answer. If not (a misspelt model, say), there is nothing to protect."""
        paid = (self.out, self.folder / "calls.jsonl", self.folder / "rescued.jsonl")
        return any(map(self._holds_a_line, paid))

    def _holds_a_line(self, path: Path) -> bool:
        return any(True for _ in read_lines(path, self._disk))

    def _read_done(self) -> IdTable:
        known = IdTable(self._expected)
        self._read_names(self._rejects.path, known)
        self.rejected = len(known)
        if not self._parted:
            self._read_names(self.out, known)
            return known
        for offset, name, parts in whole(self.out, self._disk):
            if not known.add_done(name):
                raise corrupt(self.out, offset, f"the id {name!r} stands there twice", self.out)
            self.written += parts
        self._rows.close()  # it may be another file now
        self._rows = self._file(self.out)
        return known

    def _read_names(self, path: Path, known: IdTable) -> None:
        for offset, line, name in parsed(path, row_name, self.out, self._disk):
            if not known.add_done(name):
                raise corrupt(path, offset, f"the id {name!r} stands there twice", self.out)
            self.truncated += self._cut is not None and line.endswith(self._cut)

    def _keep_spare_room(self) -> None:
        with suppress(OSError):  # not every disk can
            fd = self._disk.create(self.folder / "spare")
            try:
                self._disk.reserve(fd, SPARE_BYTES)
            finally:
                self._disk.close(fd)

    def _is_done(self, name: str) -> bool:
        return bool(self.known.look(name))

    def success(self, done: Success) -> None:
        """Write a finished row.

        Raises:
            StoreError: the disk would not take it.
            TypeError, ValueError: its result cannot be written as JSON; nothing was written.
        """
        row, result = done.row, done.result
        if isinstance(result, list) or (self._parted and must_be_parts(row.id)):
            self._become(row, result if isinstance(result, list) else [result])
        else:
            bare = self._shape is not None
            self._rows.append(_encode({"id": row.id, **result}) + b"\n" if bare else _line(row, row.id, result))
            self.written += 1
        self.failures.done(row.id)

    def _tell_failures(self) -> None:
        if self.ended and self._shape is not None:
            put_in(self.out, self.folder / "failures.jsonl", self._shape, self._disk)

    def _become(self, row: Row, results: list[dict[str, Any]]) -> None:
        """Write the rows that a row has become, with one write."""
        each = [{**result, PARTS: len(results)} for result in results]
        self._rows.append(b"".join(_line(row, part_id(row.id, n), part) for n, part in enumerate(each)))
        self.written += len(results)

    def reject(self, row: Row, why: Rejected) -> None:
        """Write a row that is not wanted.

        Raises:
            StoreError: the disk would not take it.
            TypeError, ValueError: what was made of it cannot be written as JSON.
        """
        self._rejects.append(_line(row, row.id, {**why.fields, "reason": str(why)}))
        self.rejected += 1
        self.failures.done(row.id)

    def timeline(self, event: dict[str, Any]) -> None:
        """Note how the run is going."""
        self._timeline.append(_encode(event) + b"\n")

    def mark(self) -> tuple[int, int]:
        """What a `sync` that begins now will make durable; for `synced`, once it is through."""
        return self.journal.file.mark(), self._rows.mark()

    def sync(self) -> None:
        """Bring everything to the disk itself. Blocks: call it from a thread.

        Raises:
            StoreError: the disk failed.
        """
        for file in (self.journal.file, self._rows, self._rejects, self.failures.file, self._timeline):
            file.sync()

    def synced(self, mark: tuple[int, int]) -> None:
        """All that was written before this mark is durable."""
        calls, rows = mark
        self.journal.synced(calls)
        self.durable = self._before + rows

    def save_manifest(self) -> None:
        """Write the manifest as it stands."""
        self.manifest.write(self.folder / "manifest.json", self._disk)

    def begin(self, session: dict[str, Any]) -> None:
        """Write the manifest with a session in it, so that one that is killed has left its name.

        Raises:
            StoreError: the disk would not take it.
        """
        self.manifest.sessions.append(session)
        try:
            self.save_manifest()
        except OSError as error:
            raise refusal(self.folder, error) from error

    def close(self) -> None:
        """Sync, tidy failures.jsonl, write the manifest, let the lock go: as much of this as the disk allows.

        Raises:
            StoreError: it did not allow all; the message says what is lost, if anything is.
        """
        self._disk.remove(self.folder / "spare")
        lost = self.journal.close()
        troubles: list[StoreError] = []
        files = (self._rows, self._rejects, self.failures, self._timeline)
        for step in (*(file.close for file in files), self._tell_failures, self.save_manifest):
            try:
                step()
            except StoreError as error:
                troubles.append(error)
            except OSError as error:
                troubles.append(refusal(self.folder, error))
        self._unlock()
        if lost:
            raise StoreError(f"{lost} finished calls could be written nowhere: they are paid, and lost")
        if troubles:
            raise troubles[0]
        self.durable = self._before + self._rows.count

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()


def _line(row: Row, row_id: str, result: dict[str, Any]) -> bytes:
    """A row of the output: its name, its own fields, what was made of it."""
    own = row.fields.get("id")
    name = own if isinstance(own, int) and str(own) == row_id else row_id  # a number stays a number
    line = {"id": name, **row.fields}
    if "id" in row.fields and own != name:  # a sample, or --id-field named another one
        line.setdefault("original_id", own)
    line.update(result)
    line["id"] = name
    return _encode(line) + b"\n"


def damaged(path: Path) -> Path:
    """Where `manycall repair` puts what it takes out of this file."""
    return path.with_name(path.name + ".damaged")
