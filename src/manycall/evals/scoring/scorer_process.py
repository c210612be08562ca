"""Grade answers with a user's own scorer, in processes that can be killed.

A regular expression that backtracks for hours holds Python's interpreter lock, so neither a signal nor a thread can
stop it. A process can be killed. Therefore a task whose functions a new process can load (from FILE.py:task or from a
pattern) is graded in a separate process, within `Task.scoring_timeout` seconds per answer. Built-in scorers take linear
time and run in this process. Functions that only exist in this process (in a notebook) also run here, because another
process cannot load them.

The processes are started, never forked: the first one with the first answer, and at most one per core. Requests and
replies are lines of JSON.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import BoundedSemaphore
from typing import Any
from weakref import finalize

import msgspec

from manycall.evals.tasks.task import Task
from manycall.records import Fields

Grade = Callable[[str, Fields], dict[str, tuple[Any, float]]]
"""(response, fields of the row) -> filter name -> (extracted answer, score)."""
CLOSING_SECONDS = 1.0
READ_BYTES = 1 << 16


class ScorerFailed(Exception):
    """The user's scorer raised an exception, was too slow or ended its process. The message says which."""


class ScorerTooSlow(ScorerFailed):
    """The user's scorer did not finish in time."""


class ScorerNotLoaded(ScorerFailed):
    """A process could not load the scorer. No answer was graded, and the next process will fail as well."""


class ScorerReply(msgspec.Struct):
    """Reply of a process for one answer: its grades, or the error that the scorer raised. The first one, before any
    answer, says that the scorer is loaded, or why not."""

    grades: dict[str, tuple[Any, float]] = {}
    error: str = ""


_reply = msgspec.json.Decoder(ScorerReply)


def grade_function(task: Task) -> Grade:
    """Return the function that grades answers of a task: in processes if they can load it, else in this process."""
    return ScorerProcesses(task.origin, task.scoring_timeout).grade if task.origin else task.score_response


class ScorerProcesses:
    """Pool of processes that grade answers. `grade` can be called from several threads.

    Args:
        origin: the task that a process loads: FILE.py:task or regex:PATTERN.
        timeout: maximum seconds per answer.

    Attributes:
        close: end the processes. It is called at the latest when this object is garbage-collected.
    """

    def __init__(self, origin: str, timeout: float) -> None:
        self._origin, self._timeout = origin, timeout
        self._idle: list[_Process] = []
        self._free = BoundedSemaphore(os.cpu_count() or 1)
        self.close = finalize(self, _close, self._idle)

    def __repr__(self) -> str:
        return f"<ScorerProcesses for {self._origin}, {len(self._idle)} idle>"

    def grade(self, response: str, fields: Fields) -> dict[str, tuple[Any, float]]:
        """Grade one response to a row with these fields, as `Task.score_response` does.

        Raises:
            ScorerFailed: the scorer raised an exception, took too long, ended its process, or could not be loaded.
        """
        request = msgspec.json.encode((response, fields)) + b"\n"
        with self._free:
            process = self._idle_or_new()
            try:
                reply = _reply.decode(process.ask(request))
            except BaseException:
                process.kill()
                raise
            self._idle.append(process)
        if reply.error:
            raise ScorerFailed(reply.error)
        return reply.grades

    def _idle_or_new(self) -> "_Process":
        try:
            return self._idle.pop()
        except IndexError:
            return _Process(self._origin, self._timeout)


class _Process:
    """Process that grades one answer at a time."""

    def __init__(self, origin: str, timeout: float) -> None:
        self._timeout = timeout
        command = [sys.executable, "-m", "manycall.cli.scorer", origin, str(timeout)]
        self._process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )  # a new session, so that Ctrl-C in the terminal does not reach the process
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)
        self._is_loaded = False

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the line with the reply."""
        if not self._is_loaded:  # no time limit, because the user's imports can take long
            if error := _reply.decode(self._read_line(None)).error:
                raise ScorerNotLoaded(f"the scorer could not be loaded: {error}")
            self._is_loaded = True
        with suppress(BrokenPipeError):  # the process has ended; `_read_line` raises for that
            while request:
                request = request[self._requests.write(request) :]
        return self._read_line(self._timeout)

    def _read_line(self, seconds: float | None) -> bytes:
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            if not self._poll.poll(None if seconds is None else seconds * 1000):
                raise ScorerTooSlow(
                    f"the scorer took longer than {seconds:g} s for this answer. Fix it, or allow more time with "
                    "Task(scoring_timeout=...)."
                )
            pieces.append(self._replies.read(READ_BYTES))
            if not pieces[-1]:
                raise ScorerFailed(f"the scorer ended its process (exit code {self._process.wait()})")
        return b"".join(pieces)

    def close(self) -> None:
        """Close the standard input of the process, which ends it; kill it if it does not end in `CLOSING_SECONDS`."""
        self._requests.close()
        try:
            self._process.wait(CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._replies.close()

    def kill(self) -> None:
        """Kill the process and all processes that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._requests.close()
        self._replies.close()


def _close(idle: list[_Process]) -> None:
    while idle:
        idle.pop().close()
