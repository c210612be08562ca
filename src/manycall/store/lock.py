"""One writer for each output."""

import os
import socket
from contextlib import suppress
from pathlib import Path

from manycall.errors import RunLocked
from manycall.store.disk import Disk, write_all
from manycall.store.manifest import run_folder


def take_lock(out: Path, disk: Disk) -> int:
    """Make the run directory and take its lock, which the kernel lets go when this process ends, however it ends.

    Raises:
        RunLocked: somebody else has it; the message names the process.
    """
    folder = run_folder(out)
    new = [each for each in folder.parents if not disk.exists(each)]
    disk.make_folder(folder)
    for each in new:
        disk.sync_folder(each.parent)
    fd = disk.open(folder / "lock")
    if not disk.lock(fd):
        holder = disk.read(fd, 200, 0).decode("utf-8", "replace").strip()
        disk.close(fd)
        raise RunLocked(f"{out} is being written by {holder or 'another process'}. Wait for it, or stop it")
    disk.truncate(fd, 0)
    with suppress(OSError):  # a full disk: the lock holds all the same
        write_all(disk, fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return fd
