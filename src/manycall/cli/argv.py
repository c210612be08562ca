"""The arguments of the command: refuse API keys in them, and repeat them in the command that resumes."""

import re
import shlex
from collections.abc import Sequence

from manycall.errors import UsageError

_KEY = re.compile(
    r"^--?api[-_]?key\b"
    r"|\b(?:sk|pk|gsk|hf|xai|nvapi)[-_](?=[\w-]*\d)[\w-]{20,}"
    r"|\b(?i:bearer)\s+(?=\S*\d)\S{20,}"
)
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how Python represents bytes that are not valid UTF-8 (PEP 383)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

_PARAMETERS = {
    "top-p": "--param top_p=0.9",
    "top-k": "--param top_k=20",
    "min-p": "--param min_p=0.05",
    "stop": """--param 'stop=["END"]'""",
    "presence-penalty": "--param presence_penalty=0.5",
    "frequency-penalty": "--param frequency_penalty=0.5",
    "repetition-penalty": "--param repetition_penalty=1.05",
    "max-completion-tokens": "--max-tokens 1000",
    "reasoning-effort": "--thinking high",
    "enable-thinking": "--thinking off",
}
"""Parameter of a call that other programs have as a flag -> how it is written here."""


def check(words: Sequence[str]) -> None:
    """Check the arguments, before any of them appears in a message.

    Raises:
        UsageError: an argument contains an API key, which every process on this machine could read and which the
            shell's history keeps; or a control character, which the terminal could execute; or bytes that are not valid
            UTF-8 and cannot be stored in JSON; or a parameter of the calls is written as a flag.
    """
    if any(map(_KEY.search, words)):
        raise UsageError(
            "The command line seems to contain an API key, which other users can see. Put it in OPENAI_API_KEY or "
            "endpoints.toml. If it is a prompt that looks like a key, put the prompt into a file."
        )
    if any(map(_CONTROL.search, words)):
        raise UsageError(
            "The command line contains a control character. Rename the file, or put the prompt into a file."
        )
    if any(map(_NOT_UTF8.search, words)):
        raise UsageError(
            "The command line contains bytes that are not valid UTF-8. Rename the file, or put the prompt into a file."
        )
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and (instead := _PARAMETERS.get(flag[2:].replace("_", "-"))):
            raise UsageError(f"{flag} is not an option. Write for example {instead}.")


def command_with(words: Sequence[str], *more: str) -> str:
    """Return the command with words appended."""
    return shlex.join(["manycall", *words, *more])


def resume_command(words: Sequence[str]) -> str:
    """Return the command that resumes: the same one, without --overwrite, which would start over."""
    return shlex.join(["manycall", *(word for word in words if word != "--overwrite")])
