"""Reading of small files: TOML and JSON settings, and text."""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.records import DECODE_ERRORS


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML or JSON file.

    Raises:
        UsageError: the file does not exist or cannot be decoded.
    """
    try:
        text = path.read_text(encoding="utf-8")
        config = tomllib.loads(text) if path.suffix == ".toml" else msgspec.json.decode(text)
    except FileNotFoundError:
        raise UsageError(f"{path}: file not found.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except DECODE_ERRORS as error:
        raise UsageError(f"{path}: {error!s:.300}") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path} must contain a table.")
    return config


def is_file(name: str) -> bool:
    """Return whether a file with this name exists."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a file name: a prompt in Chinese has no spaces
        return False


def read_text(path: Path, what: str) -> str:
    """Return the text in a file.

    Args:
        what: what needs the file, for the message.

    Raises:
        UsageError: the file does not exist or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{what}: file {str(path)!r} not found.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{what}: {path} cannot be read: {error}") from None
