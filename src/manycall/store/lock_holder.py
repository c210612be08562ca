"""The process that a lock file names, and whether it exists. The lock itself is not touched."""

import os
import re
import socket
from typing import NamedTuple

_HOLDER = re.compile(r"process (\d+) on (.+)")


def this_process() -> bytes:
    """Return the line of a lock file that names this process."""
    return f"process {os.getpid()} on {socket.gethostname()}\n".encode()


def lock_holder(lock: bytes) -> str:
    """Return what a lock file says."""
    return lock.decode("utf-8", "replace").strip()


class WritingProcess(NamedTuple):
    """The process that writes, or has written, the output of a run.

    Attributes:
        exists: None if it is unknown, because the process is on another machine.
        host: name of its machine; "" if no process is named.
    """

    exists: bool | None = False
    host: str = ""


def writing_process(holder: str) -> WritingProcess:
    """Return the process that a lock file names."""
    if (match := _HOLDER.fullmatch(holder)) is None:
        return WritingProcess()
    host = match[2]
    return WritingProcess(_exists(int(match[1])) if host == socket.gethostname() else None, host)


def is_process_gone(holder: str) -> bool:
    """Return whether a lock file names a process of this machine that does not exist any more."""
    process = writing_process(holder)
    return process.host != "" and process.exists is False


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0: only asks whether it exists
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # the process of another user
        return True
    return True
