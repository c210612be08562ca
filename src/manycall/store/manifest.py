"""The manifest of a run: its settings, which must match on resume, its source and its sessions."""

import difflib
import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import msgspec

from manycall.errors import SettingsMismatch
from manycall.option_flags import option
from manycall.records import DECODE_ERRORS, Fields
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.jsonl import corrupt_file

MANIFEST_VERSION = 1
NOT_FINISHED = "not finished"
"""The outcome of a session that is still running or was killed."""
MAX_DIFF_LINES = 10
"""Lines of a setting's diff that the message about different settings shows."""
_SHOWN_FIRST = ("job", "model")
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


def real_output(out: Path) -> Path:
    """Return the target of a symbolic link, even if it does not exist yet; return any other path unchanged."""
    return Path(os.path.realpath(out)) if os.path.islink(out) else out  # noqa: PTH114 (the methods of Path may raise)


class Manifest(msgspec.Struct):
    """The settings, the source and the sessions of a run.

    Attributes:
        manycall_version: version of manycall that wrote the file.
        settings: everything that changes an answer: job, prompt, model, parameters. A run with other settings cannot
            resume this one.
        source: description of the input rows when they were last read; may change between sessions.
        sessions: one entry for each time the command ran: start, end, outcome, counts, tokens.
        earlier_settings: settings with which older calls in the journal were made, oldest first (`from_`).
        calls_from: the other output whose calls this one took over when it was new (`from_`); "" if there is none.
        format: version of the file format.
    """

    manycall_version: str
    settings: dict[str, Any]
    source: dict[str, Any] = {}
    sessions: list[dict[str, Any]] = []
    format: int = MANIFEST_VERSION
    earlier_settings: list[dict[str, Any]] = []
    calls_from: str = ""

    @classmethod
    def load(cls, path: Path, disk: Disk = REAL_DISK) -> Self | None:
        """Return the manifest in a file; None if the file does not exist.

        Raises:
            CorruptFile: the file cannot be decoded.
        """
        if not disk.exists(path):
            return None
        with disk.open_for_reading(path) as file:
            content = file.read()
        try:
            return msgspec.json.decode(content, type=cls)
        except DECODE_ERRORS as error:
            raise corrupt_file(path, 0, error, path.parent.with_suffix("")) from None

    def write(self, path: Path, disk: Disk = REAL_DISK) -> None:
        """Replace the file atomically."""
        replace_file(path, [msgspec.json.format(_encode(self), indent=2), b"\n"], disk)

    def resume_from(self, old: "Manifest", out: Path, compared: Callable[[Fields], Fields] = dict) -> None:
        """Take over the sessions of an earlier run with the same settings, and its settings as they were.

        Args:
            compared: returns the part of the settings that must be the same.

        Raises:
            SettingsMismatch: its settings differ; the message is a diff.
        """
        new = as_stored(self.settings)
        if old.format != MANIFEST_VERSION or compared(old.settings) != compared(new):
            raise SettingsMismatch(_difference(out, compared(old.settings), compared(new)))
        self.settings, self.earlier_settings, self.calls_from = old.settings, old.earlier_settings, old.calls_from
        self.sessions = [*old.sessions, *self.sessions]

    def has_settings_of(self, other: "Manifest") -> bool:
        """Return whether a manifest that was read from its file has the same settings as another one."""
        return self.format == other.format and self.settings == as_stored(other.settings)

    @property
    def settings_hash(self) -> str:
        """A hash of the settings."""
        return blake2b(_encode_sorted(self.settings), digest_size=16).hexdigest()

    def follow(self, old: "Manifest", calls_from: str) -> None:
        """Record the settings of an earlier run whose calls this one takes from the journal, and whose they were."""
        self.calls_from = calls_from
        self.earlier_settings = [*old.earlier_settings, *([] if old.has_settings_of(self) else [old.settings])]


def as_stored(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they are read from a manifest: tuples are lists, and keys are texts."""
    stored: dict[str, Any] = msgspec.json.decode(_encode(settings))
    return stored


def _difference(out: Path, old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return the message about settings that differ, with a diff of each."""
    lines = [f"{out} was created with different settings:"]
    for name in sorted(old.keys() | new.keys(), key=lambda name: (name not in _SHOWN_FIRST, name)):
        before, after = _lines(old.get(name)), _lines(new.get(name))
        if before != after:
            diff = [*difflib.unified_diff(before, after, lineterm="", n=1)][2:]
            diff = [line for line in diff if not line.startswith("@@")]
            lines += [f"  {name}", *(f"    {line}" for line in diff[:MAX_DIFF_LINES])]
            if len(diff) > MAX_DIFF_LINES:
                lines.append(f"    … {len(diff) - MAX_DIFF_LINES} more lines")
    return "\n".join(
        [
            *lines,
            f"No call was made. Use another {option('out')}, or {option('overwrite', True)} to start over "
            f"(the old files are moved to {out.name}.old).",
        ]
    )


def _lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return [] if value is None else msgspec.json.format(_encode(value), indent=2).decode().splitlines()
