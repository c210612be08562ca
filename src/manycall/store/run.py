"""The run directory: who may write, what ran, what is done, what failed.

`stories.jsonl` holds the finished rows; beside it `stories.jsonl.run/` holds manifest.json, calls.jsonl,
failures.jsonl, timeline.jsonl and the lock. Everything is plain text. Each row's id stands in the output
exactly once; a row given up stands in failures.jsonl until a later run finishes it.
"""

import fcntl
import os
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import RunDiffers, RunLocked, StoreError, UsageError
from manycall.ids import IdTable
from manycall.records import Failure, Success
from manycall.store.journal import Journal
from manycall.store.lines import MAKE_ROOM, LineFile, corrupt, read_lines, sync_folder, write_whole
from manycall.store.manifest import Manifest

MOST_REASONS = 1000
_encode = msgspec.json.Encoder().encode


class _Named(msgspec.Struct):
    id: str | int


_decode_id = msgspec.json.Decoder(_Named).decode


class Run:
    """One output and its run directory, open for writing by this process alone.

    Args:
        out: the output file.
        manifest: what is about to run.
        fresh: move what is there aside (to `<out>.old`, `.old2`, ...) and start over.
        expected: how many rows there will be, if that is known.
        mark: what stands in the line of a row that was cut at max_tokens; None if that cannot be told.

    Attributes:
        known: the ids that are done. truncated: how many of them were cut at max_tokens.
        journal: the calls.
        reasons: why this run gave rows up, and how often.
        failed_before: the ids that earlier runs gave up, and this one has not finished.

    Raises:
        RunDiffers: what is there was made otherwise; the message is a diff.
        RunLocked: another process is writing.
        StoreCorrupt: a damaged file.
        UsageError: a path that cannot be written.
    """

    def __init__(
        self,
        out: Path,
        manifest: Manifest,
        *,
        fresh: bool = False,
        expected: int | None = None,
        mark: bytes | None = None,
    ) -> None:
        self.out = out
        self.folder = out.with_name(out.name + ".run")
        self.manifest = manifest
        self._expected = expected or 0
        self._mark = mark
        self.truncated = 0
        self._lock = -1
        try:
            self._open(fresh)
        except BaseException as error:
            self._unlock()
            if not isinstance(error, OSError):
                raise
            raise UsageError(f"{error.filename or out} cannot be used for the output: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"<Run {self.out.name}, {len(self.known)} rows done, {len(self.failed_before)} failed>"

    def _open(self, fresh: bool) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder / "lock", self.out)
        if fresh:
            self._set_aside()
        self._adopt_manifest()
        self._rows = LineFile(self.out)
        self.known = self._read_done()
        self.journal = Journal(self.folder / "calls.jsonl", self._is_done)
        self._failures = LineFile(self.folder / "failures.jsonl")
        self.failed_before = self._tidy_failures(self._is_done)
        self._failures = LineFile(self.folder / "failures.jsonl")
        self._timeline = LineFile(self.folder / "timeline.jsonl")
        self._files = (self.journal.file, self._rows, self._failures, self._timeline)
        self._recovered: set[str] = set()
        self.reasons: Counter[str] = Counter()
        self.save_manifest()
        sync_folder(self.out.parent)

    def _set_aside(self) -> None:
        """Rename what is there; nothing paid for is ever deleted."""
        if not self.out.exists() and not (self.folder / "manifest.json").exists():
            return
        tails = (".old" if n == 1 else f".old{n}" for n in range(1, 1_000_000))
        names = (self.out.with_name(self.out.name + tail) for tail in tails)
        aside = next(a for a in names if not a.exists() and not a.with_name(a.name + ".run").exists())
        if self.out.exists():
            self.out.replace(aside)
        kept = aside.with_name(aside.name + ".run")
        kept.mkdir()
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.replace(kept / path.name)

    def _adopt_manifest(self) -> None:
        """Go on from the manifest that is there, if it is of the same run."""
        old = Manifest.read(self.folder / "manifest.json")
        if old is None and self.out.exists() and self.out.stat().st_size:
            raise RunDiffers(
                f"{self.out} is there already, and not from manycall. Choose another -o, or --fresh moves it aside"
            )
        if old is not None and self._anything_paid():
            self.manifest.go_on_from(old, self.out)

    def _anything_paid(self) -> bool:
        """Whether a run got as far as an answer. If not (a misspelt model, say), there is nothing to protect."""
        paid = (self.out, self.folder / "calls.jsonl")
        return any(path.exists() and path.stat().st_size for path in paid)

    def _read_done(self) -> IdTable:
        known = IdTable(self._expected)
        for offset, line in read_lines(self.out):
            try:
                name = str(_decode_id(line).id)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise corrupt(self.out, offset, error) from None
            if not known.add_done(name):
                raise corrupt(self.out, offset, ValueError(f"the id {name!r} stands there twice"))
            self.truncated += self._mark is not None and self._mark in line
        return known

    def _is_done(self, name: str) -> bool:
        return bool(self.known.look(name))

    def success(self, done: Success) -> None:
        """Write a finished row.

        Raises:
            StoreError: the disk would not take it.
            TypeError, ValueError: its result cannot be written as JSON; nothing was written.
        """
        row = done.row
        own = row.fields.get("id")
        name = own if isinstance(own, int) and str(own) == row.id else row.id  # a number stays a number
        line = {"id": name} | row.fields | done.result | {"id": name}
        if "id" in row.fields and own != name:  # a sample, or --id-field named another one
            line.setdefault("original_id", own)
        self._rows.append(_encode(line) + b"\n")
        if row.id in self.failed_before:
            self._recovered.add(row.id)

    def failure(self, failed: Failure) -> None:
        """Note a row that was given up."""
        if len(self.reasons) < MOST_REASONS or failed.error[:100] in self.reasons:
            self.reasons[failed.error[:100]] += 1
        line = {
            "id": failed.row.id,
            "verdict": failed.verdict,
            "error": failed.error.encode("utf-8", "replace").decode(),
            "attempts": failed.attempts,
            "raw": failed.raw,
            "row": failed.row.fields,
        }
        self._failures.append(_encode(line) + b"\n")

    def timeline(self, event: dict[str, Any]) -> None:
        """Note how the run is going."""
        self._timeline.append(_encode(event) + b"\n")

    def sync(self) -> None:
        """Bring everything to the disk itself. Blocks: call it from a thread."""
        for file in self._files:
            file.sync()

    def save_manifest(self) -> None:
        """Write the manifest as it stands."""
        self.manifest.write(self.folder / "manifest.json")

    def close(self) -> None:
        """Sync, tidy failures.jsonl, write the manifest, let the lock go.

        Raises:
            StoreError: the disk would not take it.
        """
        try:
            for file in self._files:
                file.close()
            self._tidy_failures(self._recovered.__contains__)
            self.save_manifest()
        except OSError as error:
            raise StoreError(f"{self.folder} could not be written: {error.strerror}. {MAKE_ROOM}") from error
        finally:
            self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _tidy_failures(self, is_done: Callable[[str], bool]) -> set[str]:
        """Keep one line for each row that is still failed, its last; return their ids."""
        path = self._failures.path
        self._failures.close()
        last: dict[str, bytes] = {}
        for offset, line in read_lines(path):
            try:
                name = str(_decode_id(line).id)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise corrupt(path, offset, error) from None
            if not is_done(name):
                last[name] = line
        write_whole(path, b"".join(last.values()))
        return set(last)


def _lock(path: Path, out: Path) -> int:
    """Take the lock, which the kernel lets go when this process ends, however it ends."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 200).decode("utf-8", "replace").strip()
        os.close(fd)
        raise RunLocked(f"{out} is being written by {holder or 'another process'}. Wait for it, or stop it") from None
    os.ftruncate(fd, 0)
    os.write(fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return fd
