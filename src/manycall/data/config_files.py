"""Reading of small files: TOML and JSON settings, and text."""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.records import DECODE_ERRORS

_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)")


def read_config(path: Path) -> dict[str, Any]:
    """Return the settings in a TOML or JSON file.

    Raises:
        UsageError: the file does not exist or cannot be decoded.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        config = parse_toml(text) if path.suffix == ".toml" else msgspec.json.decode(text)
    except FileNotFoundError:
        raise UsageError(f"{path}: file not found.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except DECODE_ERRORS as error:
        raise UsageError(f"{path}: {error!s:.300}") from None
    if not isinstance(config, dict):
        raise UsageError(f"{path} must contain a table.")
    return config


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises:
        ValueError: it is not valid. The message names a character that is not ASCII where TOML allows none, such as a
            full-width quote, or the beginning of a Chinese name without quotes.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        fault = str(error)
    hint = ""
    if (place := _PLACE.search(fault)) is not None:
        character = text.split("\n")[int(place[1]) - 1][int(place[2]) - 1 :][:1]
        if character and not character.isascii():
            hint = f": {character} is not ASCII. Use the quotes and punctuation of ASCII, and put such names in quotes"
    raise ValueError(f"{fault}{hint}")  # outside of the except block, because the other error contains the whole file


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
