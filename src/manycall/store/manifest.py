"""What ran: enough to refuse another run of the same name, and to say afterwards where a file came from."""

import difflib
import os
from pathlib import Path
from typing import Any, Self

import msgspec

from manycall.errors import RunDiffers
from manycall.records import UNREADABLE
from manycall.store.disk import DISK, Disk
from manycall.store.lines import write_whole
from manycall.store.reading import corrupt

FORMAT = 1
NOT_ENDED = "not ended"
"""The ending of a session that goes on, or had no time to write another."""
_encode = msgspec.json.Encoder().encode


def real_output(out: Path) -> Path:
    """The file that a symbolic link leads to, even if it does not exist yet; any other path as it is."""
    return Path(os.path.realpath(out)) if os.path.islink(out) else out  # noqa: PTH114 (those of Path may raise)


def run_folder(out: Path) -> Path:
    """Where an output's manifest is, and everything else that stands beside it."""
    real = real_output(out)
    return real.with_name(real.name + ".run")


class Manifest(msgspec.Struct):
    """What ran.

    Attributes:
        identity: whatever changes an answer: job, prompt, model, parameters. A run that differs is refused.
        source: what the rows were, when they were last read; may change.
        sessions: one entry for each time the command ran: when, how it ended, counts, tokens.
    """

    version: str
    identity: dict[str, Any]
    source: dict[str, Any] = {}
    sessions: list[dict[str, Any]] = []
    format: int = FORMAT

    @classmethod
    def read(cls, path: Path, disk: Disk = DISK) -> Self | None:
        """The manifest in a file; None if there is none.

        Raises:
            StoreCorrupt: there is one, and it cannot be read.
        """
        if not disk.exists(path):
            return None
        with disk.reader(path) as file:
            content = file.read()
        try:
            return msgspec.json.decode(content, type=cls)
        except UNREADABLE as error:
            raise corrupt(path, 0, error, path.parent.with_suffix("")) from None

    def write(self, path: Path, disk: Disk = DISK) -> None:
        """Replace the file."""
        write_whole(path, [msgspec.json.format(_encode(self), indent=2), b"\n"], disk)

    def go_on_from(self, old: "Manifest", out: Path) -> None:
        """Take over what an earlier run of the same thing has noted.

        Raises:
            RunDiffers: it was another thing; the message is a diff.
        """
        new = msgspec.json.decode(_encode(self.identity))
        if old.format != FORMAT or old.identity != new:
            raise RunDiffers(_difference(out, old.identity, new))
        self.sessions = [*old.sessions, *self.sessions]


def _difference(out: Path, old: dict[str, Any], new: dict[str, Any]) -> str:
    """What changed, line by line."""
    lines = [f"{out} was made with other settings:"]
    for name in sorted(old.keys() | new.keys()):
        before, after = _lines(old.get(name)), _lines(new.get(name))
        if before != after:
            lines.append(f"  {name}")
            diff = list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]
            lines += [f"    {line}" for line in diff if not line.startswith("@@")]
    return "\n".join(
        [*lines, "Nothing was called. Choose another -o, or --fresh moves the old files aside and starts over"]
    )


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return [] if value is None else msgspec.json.format(_encode(value), indent=2).decode().splitlines()
