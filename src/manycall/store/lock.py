"""One writer for each output, by any of its names.

Two kernel locks, which last until their process ends, however it ends. The lock of the run directory is taken first:
it exists before the output does, and holds the name of the process. The lock of the output file itself keeps out a
process that has another name for the same file (a hard link), and so another run directory. Symbolic links are followed
beforehand (`real_output`), so both names have one run directory.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path

from manycall.errors import RunLocked
from manycall.store.disk import Disk, write_all
from manycall.store.manifest import run_folder


class Lock:
    """The locks of one output. Makes its run directory.

    Raises:
        RunLocked: another process has one of them.
    """

    def __init__(self, out: Path, disk: Disk) -> None:
        self._out, self._disk = out, disk
        self._folder_fd = self._output_fd = -1
        try:
            self._lock_folder()
            if disk.exists(out):
                self.lock_output()
        except BaseException:
            self.release()
            raise

    def __repr__(self) -> str:
        return f"<Lock of {self._out.name}{'' if self._folder_fd >= 0 else ', released'}>"

    def _lock_folder(self) -> None:
        disk, folder = self._disk, run_folder(self._out)
        new = [each for each in folder.parents if not disk.exists(each)]
        disk.make_folder(folder)
        for each in new:
            disk.sync_folder(each.parent)
        self._folder_fd = fd = disk.open(folder / "lock")
        if not disk.lock(fd):
            holder = disk.read(fd, 200, 0).decode("utf-8", "replace").strip()
            raise RunLocked(f"{self._out} is being written by {holder or 'another process'}. Wait for it, or stop it")
        disk.truncate(fd, 0)
        with suppress(OSError):  # a full disk: the lock holds all the same
            write_all(disk, fd, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def lock_output(self) -> None:
        """Lock the file that has the output's name now; to be called again when it was made or replaced.

        Raises:
            RunLocked: another process writes it under another name.
        """
        if self._output_fd >= 0:
            self._disk.close(self._output_fd)
        self._output_fd = self._disk.open(self._out)
        if not self._disk.lock(self._output_fd):
            raise RunLocked(
                f"{self._out} is being written by another process, under another name of the same file (a hard link). "
                "Wait for it, or stop it"
            )

    def release(self) -> None:
        """Let both go. Twice does no harm."""
        for fd in (self._output_fd, self._folder_fd):
            if fd >= 0:
                self._disk.close(fd)
        self._folder_fd = self._output_fd = -1
