"""Answers that take long, from child processes. A client asks again until one is done."""

import math
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from manycall import clock
from manycall.records import DECODE_ERRORS
from manycall.sim.process import PACKAGE_FOLDER
from manycall.view.tail import FileStamps, file_stamps

START = """\
import sys
sys.path.append(sys.argv[1])
from manycall.view.child_work import main
main()
"""
MAX_RUNNING, MAX_KEPT = 2, 32
AWAITED_SECONDS = 10.0
"""A client that waits asks once a second. After this time without a request, no client waits for the answer."""


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    started_at: float
    stamp: FileStamps
    asked_at: float


class _Answer(NamedTuple):
    """An answer, the state of its files when the work started, and when a client last waited for it."""

    reply: dict[str, Any]
    stamp: FileStamps
    asked_at: float


class BackgroundWork:
    """The child processes of a server, and what they have answered."""

    def __init__(self) -> None:
        self._children: dict[bytes, _Child] = {}
        self._done: dict[bytes, _Answer] = {}
        self._lock = threading.Lock()

    def state(self, work: str, given: Mapping[str, Any], reads: Iterable[Path]) -> dict[str, Any]:
        """Return the answer if it is there; otherwise start the work, or say how long it has taken so far.

        If the files changed during the work, the client that has waited for it gets the answer with `is_older`. The
        next request starts the work again. So a page that observes a run gets an answer, and starts one process.

        Args:
            work: a name of `child_work.WORK`.
            given: its arguments.
            reads: the files that it reads. After one of them has changed, the work is done again.
        """
        key, stamp = msgspec.json.encode({"work": work, **given}, order="sorted"), file_stamps(reads)
        with self._lock:
            self._collect()
            now, done = clock.thread_seconds(), self._done.get(key)
            if done is not None and (done.stamp == stamp or now - done.asked_at < AWAITED_SECONDS):
                self._done[key] = done._replace(asked_at=-math.inf)
                return done.reply if done.stamp == stamp else done.reply | {"is_older": True}
            if key not in self._children and len(self._children) < MAX_RUNNING:
                self._children[key] = _start(key, stamp)
            if (child := self._children.get(key)) is None:
                return {"state": "working", "seconds": 0.0}
            self._children[key] = child._replace(asked_at=now)
            return {"state": "working", "seconds": round(now - child.started_at, 1)}

    def wait(self, work: str, given: Mapping[str, Any], reads: Iterable[Path], seconds: float) -> dict[str, Any]:
        """Return the answer, waiting for it for at most `seconds`."""
        reads, deadline = list(reads), clock.thread_seconds() + seconds
        while True:
            state = self.state(work, given, reads)
            child = self._children.get(msgspec.json.encode({"work": work, **given}, order="sorted"))
            if state["state"] != "working" or clock.thread_seconds() > deadline:
                return state
            with suppress(subprocess.TimeoutExpired):
                if child is not None:
                    child.process.wait(min(0.5, seconds))
                else:
                    threading.Event().wait(0.05)

    def _collect(self) -> None:
        """Take over the answers of the children that have ended."""
        for key, child in list(self._children.items()):
            if child.process.poll() is not None:
                del self._children[key]
                while len(self._done) >= MAX_KEPT:
                    del self._done[next(iter(self._done))]
                self._done[key] = _Answer(_answer(child), child.stamp, child.asked_at)

    def close(self) -> None:
        """End all children."""
        with self._lock:
            for child in self._children.values():
                child.process.kill()
                child.process.wait()
                child.output.close()
            self._children.clear()


def _start(given: bytes, stamp: FileStamps) -> _Child:
    output = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the answer)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", START, str(PACKAGE_FOLDER)],
        stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    with suppress(OSError), process.stdin as pipe:  # the answer says that it failed
        pipe.write(given)
    now = clock.thread_seconds()
    return _Child(process, output, now, stamp, now)


def _answer(child: _Child) -> dict[str, Any]:
    with child.output as output:
        output.seek(0)
        try:
            reply = msgspec.json.decode(output.read(), type=dict[str, Any])
        except DECODE_ERRORS:
            reply = {"error": "The work was stopped: it took too much time or memory.", "hint": ""}
    if "error" in reply:
        return {"state": "refused", **reply}
    return {"state": "done", "seconds": round(clock.thread_seconds() - child.started_at, 2), "result": reply["result"]}
