"""Answers that take long, from child processes. A client asks again until one is done."""

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


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    started_at: float
    stamp: FileStamps


class BackgroundWork:
    """The child processes of a server, and what they have answered."""

    def __init__(self) -> None:
        self._children: dict[bytes, _Child] = {}
        self._done: dict[bytes, tuple[FileStamps, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def state(self, work: str, given: Mapping[str, Any], reads: Iterable[Path]) -> dict[str, Any]:
        """Return the answer if it is there; otherwise start the work, or say how long it has taken so far.

        Args:
            work: a name of `child_work.WORK`.
            given: its arguments.
            reads: the files that it reads. After one of them has changed, the work is done again.
        """
        key, stamp = msgspec.json.encode({"work": work, **given}, order="sorted"), file_stamps(reads)
        with self._lock:
            self._collect()
            if key in self._done and self._done[key][0] == stamp:
                return self._done[key][1]
            if key not in self._children and len(self._children) < MAX_RUNNING:
                self._children[key] = _start(key, stamp)
            child = self._children.get(key)
            seconds = clock.thread_seconds() - child.started_at if child is not None else 0.0
            return {"state": "working", "seconds": round(seconds, 1)}

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
                self._done[key] = (child.stamp, _answer(child))

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
    return _Child(process, output, clock.thread_seconds(), stamp)


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
