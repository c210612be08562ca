"""The words of the command: what must not be among them, and how they are said again."""

import re
import shlex
from collections.abc import Sequence

from manycall.errors import UsageError

_KEY = re.compile(
    r"^--?api[-_]?key\b"
    r"|\b(?:sk|pk|gsk|hf|xai|nvapi)[-_](?=[\w-]*\d)[\w-]{20,}"
    r"|\b(?i:bearer)\s+(?=\S*\d)\S{20,}"
)
_NO_TEXT = re.compile("[\ud800-\udfff]")  # what Python makes of such bytes
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def check(words: Sequence[str]) -> None:
    """Look at the words before anybody repeats one.

    Raises:
        UsageError: a key, which every process on this machine could read there, and the shell's history keeps; or a
            control character, which could give orders to the terminal; or bytes that no file of ours could hold.
    """
    if any(map(_KEY.search, words)):
        raise UsageError(
            "there seems to be a key in the command, where others can read it: put it in OPENAI_API_KEY or in "
            "endpoints.toml (a prompt that has to look like one can stand in a file)"
        )
    if any(map(_CONTROL.search, words)):
        raise UsageError("there is a control character in the command: rename the file, or put the prompt in one")
    if any(map(_NO_TEXT.search, words)):
        raise UsageError("there are bytes in the command that are no UTF-8: rename the file, or put the prompt in one")


def resume_command(words: Sequence[str]) -> str:
    """The command that goes on from here."""
    return shlex.join(["manycall", *(word for word in words if word != "--overwrite")])
