"""Small files: settings in TOML, or the same as JSON; texts."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.records import UNREADABLE


def settings(path: Path) -> dict[str, Any]:
    """A TOML or JSON file of settings.

    Raises:
        UsageError: it is not there, or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text) if path.suffix == ".toml" else msgspec.json.decode(text)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UNREADABLE as error:
        raise UsageError(f"{path}: {error!s:.300}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} must hold a table")
    return found


def is_file(name: str) -> bool:
    """Whether there is a file of this name."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name: Chinese is written without spaces
        return False


def read_text(path: Path, what: str) -> str:
    """The text in a file.

    Raises:
        UsageError: it is not there, or cannot be read: `what` wants it.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{what}: there is no file {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what}: {path} cannot be read: {error}") from None
