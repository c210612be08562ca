"""Redacts a key from what a server sends, because replies go to the disk and onto the screen.

A server may send the key as it is, escaped (JSON, URL, HTML; also one within the other), as base64, or cut into several
strings: content parts, the deltas of a stream. Every form is searched for in the bytes of the reply, before the journal
or any other code gets them, so no later decoding or joining can bring the key back.

Almost no reply holds the key, so `scrub` first looks for signs of it: the longest run of letters and digits of each
form, an escaped letter or digit, strings that the reader would join. These are a dozen searches for a few bytes, about
1 µs for a reply of 1 KB. A reply without a sign is returned as it is. Only a reply with one is unescaped and searched.

Error bodies are also searched for pieces of the key, because servers mask a part of it or break the line.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice

from manycall.records import Secret

MASK = b"***"
MIN_PIECE = 8
"""Characters. A piece of the key of this length or longer is redacted from an error body."""
MIN_CERTAIN = 20
"""Characters. A key of this length is always redacted. A shorter one without a digit (EMPTY, not-needed) is a
placeholder, and may be an ordinary word of an answer."""
MAX_FIELDS = 100_000
"""Strings of one reply that are searched for a key cut into several of them. It bounds the memory that takes."""
HEAD_BYTES = 1024
"""Bytes within which a reply usually names its content, or says that it is an embedding."""
MAX_ESCAPE_DEPTH = 4
"""JSON within JSON within ..., each level of which is unescaped."""

Scrub = Callable[..., bytes]
"""(text, pieces=False) -> the text without the key; the same object if the key is not in it."""


def scrubber(key: Secret | None) -> Scrub:
    """Return the function that redacts this key. It keeps the key in a closure, as `Secret` does: nothing prints it."""
    if key is None or not _is_secret(key.reveal()):
        return _unchanged
    runs = tuple({_longest_run(form) for form in _forms(key.reveal())})

    @cache
    def patterns() -> list[re.Pattern[bytes]]:
        return [_pattern(form) for form in _forms(key.reveal())]

    def scrub(text: bytes, pieces: bool = False) -> bytes:
        for run in runs:
            if run in text:
                return redact(text, pieces)
        return redact(text, pieces) if pieces or _may_disguise(text) else text

    def redact(text: bytes, pieces: bool) -> bytes:
        clean = unescaped = _unescape(text)
        for pattern in patterns():
            clean = pattern.sub(MASK, clean)
        clean = _redact_across_strings(clean, patterns())
        if pieces:
            clean = _WORD.sub(mask_piece, clean)
        return text if clean == unescaped else clean

    def mask_piece(word: re.Match[bytes]) -> bytes:
        return MASK if word[0].decode() in key.reveal() else word[0]

    return scrub


_WORD = re.compile(rb"[\w-]{%d,}" % MIN_PIECE, re.ASCII)


def _unchanged(text: bytes, pieces: bool = False) -> bytes:
    return text


def _is_secret(key: str) -> bool:
    return len(key) >= MIN_CERTAIN or (len(key) >= MIN_PIECE and any(map(str.isdigit, key)))


def _forms(key: str) -> list[str]:
    """The key, and what is in the base64 of any text that holds it: this depends on the bytes before it, modulo 3."""
    raw = key.encode()
    inner = [b64encode(b"\0" * before + raw)[-(-before * 4 // 3) : (before + len(raw)) * 4 // 3] for before in range(3)]
    encoded = {way for each in inner for way in (each, each.translate(bytes.maketrans(b"+/", b"-_")))}
    return [key, *(each.decode() for each in sorted(encoded))]


def _longest_run(form: str) -> bytes:
    """The longest run of letters and digits. Unlike other characters these are seldom escaped."""
    runs: list[str] = re.findall(r"[A-Za-z0-9]*", form)
    return max(runs, key=len).encode()


def _pattern(form: str) -> re.Pattern[bytes]:
    """Match the form in unescaped text, where only the backslashes of JSON may be left before its signs."""
    signs = (c if c.isalnum() else r"\\{1,15}" if c == "\\" else rf"\\{{0,15}}{re.escape(c)}" for c in form)
    return re.compile("".join(signs).encode())


# Escapes


_ALNUM = rb"(?:3[0-9]|4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9Aa])"
_JSON_SIGN = re.compile(rb"\\u00(?:" + _ALNUM + rb"|25|26(?:amp;)*#|5[Cc]\\*u00)")
_URL_SIGN = re.compile(rb"%(?:25)*" + _ALNUM)
_HTML_SIGN = re.compile(rb"&(?:amp;)*#")


def _may_disguise(text: bytes) -> bool:
    """Whether a letter or digit is escaped, as no server does without reason, or strings may be joined to one."""
    return bool(
        not text.startswith(b"{")  # a stream of events, a page
        or (b"\\" in text and b"\\u00" in text and _JSON_SIGN.search(text))
        or (b"%" in text and _URL_SIGN.search(text))
        or (b"&" in text and _HTML_SIGN.search(text))
        or _has_parts(text)
    )


def _has_parts(text: bytes) -> bool:
    """Whether the content of a chat completion is a list of parts."""
    at = text.find(b'"content"', 0, HEAD_BYTES)
    if at < 0 and b'"embedding"' not in text[:HEAD_BYTES]:
        at = text.find(b'"content"', HEAD_BYTES)
    return at >= 0 and not text[at + 9 : at + 17].lstrip(b" \t\r\n:").startswith(b'"')


_ESCAPE = re.compile(
    rb"(?i)\\{1,15}u00([2-7][0-9a-f])|%([2-7][0-9a-f])|&(#(?:x0{0,9}[0-9a-f]{2}|0{0,9}[0-9]{2,3})|[a-z]{2,9});?"
)


def _unescape(text: bytes) -> bytes:
    """Replace the escapes of printable ASCII, at any depth. A JSON text stays a JSON text."""
    for _ in range(MAX_ESCAPE_DEPTH):
        unescaped = _ESCAPE.sub(_character, text)
        if unescaped == text:
            break
        text = unescaped
    return text


def _character(escape: re.Match[bytes]) -> bytes:
    from html import unescape  # its table of names is seldom needed

    digits = escape[1] or escape[2]
    character = chr(int(digits, 16)) if digits else unescape(f"&{escape[3].decode()};")
    if len(character) != 1 or not "!" <= character <= "~":
        return escape[0]
    return b"\\" + character.encode() if character in '"\\' else character.encode()


# Keys that are cut into several strings


_FIELD = re.compile(rb'"((?:[^"\\]|\\.)*+)"\s*+:\s*+"((?:[^"\\]|\\.)*+)"', re.DOTALL)

Span = tuple[int, int]


def _redact_across_strings(text: bytes, patterns: Iterable[re.Pattern[bytes]]) -> bytes:
    """Redact matches in the joined values of all fields of one name: the `text` of parts, the `content` of deltas."""
    values: dict[bytes, list[Span]] = {}
    for field in islice(_FIELD.finditer(text), MAX_FIELDS):
        values.setdefault(field[1], []).append(field.span(2))
    cuts: list[tuple[Span, bytes]] = []
    for spans in values.values():
        if len(spans) > 1:
            joined = b"".join(text[start:end] for start, end in spans)
            for pattern in patterns:
                cuts += [cut for found in pattern.finditer(joined) for cut in _cuts(found.span(), spans)]
    clean, done = [], 0
    for (start, end), mask in sorted(cuts):
        clean += [text[done:start], mask]
        done = max(done, end)
    return b"".join(clean) + text[done:]


def _cuts(match: Span, spans: list[Span]) -> Iterator[tuple[Span, bytes]]:
    """Where a match in the joined values is in the text, with the replacement: the mask for the first part of it."""
    offset, mask = 0, MASK
    for start, end in spans:
        first, last = max(match[0], offset), min(match[1], offset + end - start)
        if first < last:
            yield (start + first - offset, start + last - offset), mask
            mask = b""
        offset += end - start
