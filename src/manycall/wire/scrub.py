"""Takes a key out of what a server says, because that goes to the disk and onto the screen.

A server that echoes the request's headers, or an error that quotes the key, writes it as it is, or escaped for JSON,
a URL or HTML, or as base64. Letters and digits stay as they are in all of these but the last; so a search for the
key's longest run of them finds out, in a microsecond, that there is nothing to do.

Errors are gone through once more, for pieces: a key that is half masked, or broken over two lines.
"""

import re
from base64 import b64encode
from collections.abc import Callable

from manycall.records import Secret

MASK = b"***"
PIECE = 8
"""So many characters of a key, or more, are not left standing in an error."""
CERTAIN = 20
"""A key so long is a key. A shorter one without a digit (EMPTY, not-needed) is a word that stands for none, and
may well stand in an answer too."""

Scrub = Callable[..., bytes]
"""(text, pieces=False) -> text without the key; the same object if there was nothing to take out."""


def scrubber(key: Secret | None) -> Scrub:
    """What takes this key out of a text. Like the key it holds the text in a function, where nobody prints it."""
    if key is None or not _is_secret(key.reveal()):
        return _nothing_to_hide
    run, escaped = _run(key.reveal()), _escaped(key.reveal())
    encoded = _base64(key.reveal().encode())

    def scrub(text: bytes, pieces: bool = False) -> bytes:
        if run in text:
            text = escaped.sub(MASK, text)
        for form in encoded:
            if form in text:
                text = text.replace(form, MASK)
        return _WORD.sub(unless_piece, text) if pieces else text

    def unless_piece(word: re.Match[bytes]) -> bytes:
        return MASK if word[0].decode() in key.reveal() else word[0]

    return scrub


_WORD = re.compile(rb"[\w-]{%d,}" % PIECE, re.ASCII)


def _nothing_to_hide(text: bytes, pieces: bool = False) -> bytes:
    return text


def _is_secret(key: str) -> bool:
    return len(key) >= CERTAIN or (len(key) >= PIECE and any(map(str.isdigit, key)))


def _run(key: str) -> bytes:
    """The longest run of letters and digits."""
    runs: list[str] = re.findall(r"[A-Za-z0-9]*", key)
    return max(runs, key=len).encode()


_NAMES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def _escaped(key: str) -> re.Pattern[bytes]:
    """The key, each character of which may be written as JSON, a URL or HTML writes it."""

    def forms(c: str) -> str:
        if c.isalnum():
            return c
        ways = [re.escape(c), rf"\\+{re.escape(c)}", rf"\\+u00{ord(c):02x}", f"%{ord(c):02x}"]
        ways += [f"&#x0*{ord(c):x};", f"&#0*{ord(c)};", _NAMES.get(c, re.escape(c))]
        return f"(?i:{'|'.join(ways)})"

    return re.compile("".join(map(forms, key)).encode())


def _base64(key: bytes) -> set[bytes]:
    """What stands in the base64 of any text that holds the key: it depends on how many bytes come before, modulo 3."""
    inner = [b64encode(b"\0" * before + key)[-(-before * 4 // 3) : (before + len(key)) * 4 // 3] for before in range(3)]
    return {way for each in inner for way in (each, each.translate(bytes.maketrans(b"+/", b"-_")))}
