"""Locks that allow only one writer per output, whatever path it uses.

There are two kernel locks, which are held until their process ends, even if it is killed. The lock in the run folder is
acquired first: the folder exists before the output does, and the lock file names the process. The lock of the output
file itself keeps out a process that uses another name of the same file (a hard link), and so another run folder.
Symbolic links are resolved beforehand (`real_output`), so both paths have the same run folder.
"""

from contextlib import suppress
from pathlib import Path

from manycall.errors import OutputLocked
from manycall.store.disk import Disk, write_all
from manycall.store.lock_holder import lock_holder, this_process
from manycall.store.paths import run_folder_path


class Lock:
    """The locks of one output. Creates its run folder.

    Raises:
        OutputLocked: another process holds one of them.
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
        disk, folder = self._disk, run_folder_path(self._out)
        new = [each for each in folder.parents if not disk.exists(each)]
        disk.make_folder(folder)
        for each in new:
            disk.sync_folder(each.parent)
        self._folder_fd = fd = disk.open(folder / "lock")
        if not disk.lock(fd):
            holder = lock_holder(disk.read(fd, 200, 0))
            raise OutputLocked(
                f"{self._out} is locked by {holder or 'another process'}. Wait until it finishes, or stop it."
            )
        disk.truncate(fd, 0)
        with suppress(OSError):  # the lock is effective even if a full disk prevents this
            write_all(disk, fd, this_process())

    def lock_output(self) -> None:
        """Lock the file that is now at the output's path. Call this again after the file was created or replaced.

        Raises:
            OutputLocked: another process is writing the file under another name.
        """
        if self._output_fd >= 0:
            self._disk.close(self._output_fd)
        self._output_fd = self._disk.open(self._out)
        if not self._disk.lock(self._output_fd):
            raise OutputLocked(
                f"{self._out} is locked by another process, which uses another name of the same file (a hard link). "
                "Wait until it finishes, or stop it."
            )

    def release(self) -> None:
        """Release both locks. Releasing them twice is safe."""
        for fd in (self._output_fd, self._folder_fd):
            if fd >= 0:
                self._disk.close(fd)
        self._folder_fd = self._output_fd = -1
