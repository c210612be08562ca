"""The process that a lock file names, and whether it exists. The lock itself is not touched."""

import os
import re
import socket

_HOLDER = re.compile(r"process (\d+) on (.+)")


def this_process() -> bytes:
    """Return the line of a lock file that names this process."""
    return f"process {os.getpid()} on {socket.gethostname()}\n".encode()


def lock_holder(lock: bytes) -> str:
    """Return what a lock file says."""
    return lock.decode("utf-8", "replace").strip()


def is_process_here(holder: str) -> bool:
    """Return whether the process that a lock file names exists on this machine."""
    return _exists(holder) is True


def is_process_gone(holder: str) -> bool:
    """Return whether a lock file names a process of this machine that does not exist any more."""
    return _exists(holder) is False


def _exists(holder: str) -> bool | None:
    """Return whether a process exists; None if it is not one of this machine."""
    if (match := _HOLDER.fullmatch(holder)) is None or match[2] != socket.gethostname():
        return None
    try:
        os.kill(int(match[1]), 0)  # signal 0: only asks whether it exists
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # the process of another user
        return True
    return True
