"""Redact an API key from responses, because responses are written to disk and to the screen.

A server may send the key verbatim, escaped (JSON, URL, HTML, or one nested in another), as base64, or split into
several strings: content parts, or the deltas of a stream. The bytes of the response are searched for each of these
forms before the journal or any other code receives them, so that no later decoding or joining can restore the key.

Almost no response contains the key. Therefore the redactor first searches for indications of it: the longest run of
letters and digits of each form, an escaped letter or digit, or strings that a reader would join. These are a dozen
short searches, about 0.5 µs for a response of 1 KB. A response without any indication is returned unchanged. Only the
others are unescaped and searched completely.

The searches use `find`: for `x in text`, CPython first tries to convert x to an integer, which raises and discards a
TypeError each time. For a run of letters that is not in the text, `rfind` takes half the time of `find` in a text of 1
KB, and a third in one of 16 KB.

Error bodies are also searched for fragments of the key, because servers mask a part of it or insert line breaks.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import islice

from manycall.records import Secret

MASK = b"***"
MIN_FRAGMENT_CHARACTERS = 8
"""Fragments of the key with at least this many characters are redacted from error bodies."""
MIN_KEY_CHARACTERS = 20
"""A key with at least this many characters is always redacted. A shorter one without a digit (EMPTY, not-needed) is a
placeholder, which may be an ordinary word in an answer."""
MAX_FIELDS = 100_000
"""Most strings of one response that are searched for a key split over several of them. It limits the memory needed."""
HEAD_BYTES = 1024
"""Number of bytes within which the `content` or `embedding` field of a response usually starts."""
INDICATION_CHARACTERS = 16
"""Length of the part of the key that is searched for. The time to prepare a search is proportional to it."""
MAX_ESCAPE_DEPTH = 4
"""Number of nested escape levels (such as JSON within JSON) that are unescaped."""

Redactor = Callable[..., bytes]
"""(text, fragments=False) -> the text without the key; the same object if the text does not contain the key."""


def make_redactor(key: Secret | None) -> Redactor:
    """Return a function that redacts this key. The function keeps the key in a closure, so that it is not printed."""
    if key is None or not _is_secret(key.reveal()):
        return _no_redaction
    indications = tuple({_longest_run(form)[:INDICATION_CHARACTERS] for form in _forms(key.reveal())})

    @cache
    def patterns() -> list[re.Pattern[bytes]]:
        return [_pattern(form) for form in _forms(key.reveal())]

    def redact_if_indicated(text: bytes, fragments: bool = False) -> bytes:
        for indication in indications:
            if text.rfind(indication) >= 0:
                return redact(text, fragments)
        return redact(text, fragments) if fragments or _may_disguise(text) else text

    def redact(text: bytes, fragments: bool) -> bytes:
        clean = unescaped = _unescape(text)
        for pattern in patterns():
            clean = pattern.sub(MASK, clean)
        clean = _redact_across_strings(clean, patterns())
        if fragments:
            clean = _WORD.sub(mask_fragment, clean)
        return text if clean == unescaped else clean

    def mask_fragment(word: re.Match[bytes]) -> bytes:
        return MASK if word[0].decode() in key.reveal() else word[0]

    return redact_if_indicated


def redact_all(keys: Iterable[Secret | None]) -> Redactor:
    """Return a function that redacts several keys."""
    redactors = [each for each in map(make_redactor, keys) if each is not _no_redaction] or [_no_redaction]
    if len(redactors) == 1:  # the usual case
        return redactors[0]

    def redact(text: bytes, fragments: bool = False) -> bytes:
        for each in redactors:
            text = each(text, fragments)
        return text

    return redact


_WORD = re.compile(rb"[\w-]{%d,}" % MIN_FRAGMENT_CHARACTERS, re.ASCII)


def _no_redaction(text: bytes, fragments: bool = False) -> bytes:
    return text


def _is_secret(key: str) -> bool:
    return len(key) >= MIN_KEY_CHARACTERS or (len(key) >= MIN_FRAGMENT_CHARACTERS and any(map(str.isdigit, key)))


def _forms(key: str) -> list[str]:
    """Return the key and its base64 forms within a longer text, which depend on the number of bytes before it mod 3."""
    raw = key.encode()
    inner = [b64encode(b"\0" * before + raw)[-(-before * 4 // 3) : (before + len(raw)) * 4 // 3] for before in range(3)]
    encoded = {form for each in inner for form in (each, each.translate(bytes.maketrans(b"+/", b"-_")))}
    return [key, *(each.decode() for each in sorted(encoded))]


def _longest_run(form: str) -> bytes:
    """Return the longest run of letters and digits, which are rarely escaped, unlike other characters."""
    runs: list[str] = re.findall(r"[A-Za-z0-9]*", form)
    return max(runs, key=len).encode()


def _pattern(form: str) -> re.Pattern[bytes]:
    """Return a pattern for the form in unescaped text, where JSON backslashes may remain before other characters."""
    parts = (c if c.isalnum() else r"\\{1,15}" if c == "\\" else rf"\\{{0,15}}{re.escape(c)}" for c in form)
    return re.compile("".join(parts).encode())


# Escapes


_ALNUM = rb"(?:3[0-9]|4[1-9A-Fa-f]|5[0-9Aa]|6[1-9A-Fa-f]|7[0-9Aa])"
_JSON_SIGN = re.compile(rb"\\u00(?:" + _ALNUM + rb"|25|26(?:amp;)*#|5[Cc]\\*u00)")
_URL_SIGN = re.compile(rb"%(?:25)*" + _ALNUM)
_HTML_SIGN = re.compile(rb"&(?:amp;)*#")


def _may_disguise(text: bytes) -> bool:
    """Return whether a letter or digit is escaped, which servers normally do not do, or strings may be joined."""
    return bool(
        not text.startswith(b"{")  # an event stream or an HTML page
        or (text.find(b"\\") >= 0 and text.find(b"\\u00") >= 0 and _JSON_SIGN.search(text))
        or (text.find(b"%") >= 0 and _URL_SIGN.search(text))
        or (text.find(b"&") >= 0 and _HTML_SIGN.search(text))
        or _has_parts(text)
    )


def _has_parts(text: bytes) -> bool:
    """Return whether the content of a chat completion is a list of parts."""
    at = text.find(b'"content"', 0, HEAD_BYTES)
    if at < 0 and text.find(b'"embedding"', 0, HEAD_BYTES) < 0:
        at = text.find(b'"content"', HEAD_BYTES)
    if at < 0 or text.startswith((b':"', b': "'), at + 9):  # the usual cases
        return False
    return not text[at + 9 : at + 17].lstrip(b" \t\r\n:").startswith(b'"')


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
    from html import unescape  # imported here, because its table of names is rarely needed

    digits = escape[1] or escape[2]
    character = chr(int(digits, 16)) if digits else unescape(f"&{escape[3].decode()};")
    if len(character) != 1 or not "!" <= character <= "~":
        return escape[0]
    return b"\\" + character.encode() if character in '"\\' else character.encode()


# Keys that are split into several strings


_FIELD = re.compile(rb'"((?:[^"\\]|\\.)*+)"\s*+:\s*+"((?:[^"\\]|\\.)*+)"', re.DOTALL)

Span = tuple[int, int]


def _redact_across_strings(text: bytes, patterns: Iterable[re.Pattern[bytes]]) -> bytes:
    """Redact matches in the joined values of all fields with the same name: `text` of parts, `content` of deltas."""
    values: dict[bytes, list[Span]] = {}
    for field in islice(_FIELD.finditer(text), MAX_FIELDS):
        values.setdefault(field[1], []).append(field.span(2))
    cuts: list[tuple[Span, bytes]] = []
    for spans in values.values():
        if len(spans) > 1:
            joined = b"".join(text[start:end] for start, end in spans)
            for pattern in patterns:
                cuts += [cut for hit in pattern.finditer(joined) for cut in _cuts(hit.span(), spans)]
    clean, done = [], 0
    for (start, end), mask in sorted(cuts):
        clean += [text[done:start], mask]
        done = max(done, end)
    return b"".join(clean) + text[done:]


def _cuts(match: Span, spans: list[Span]) -> Iterator[tuple[Span, bytes]]:
    """Return the positions in the text of a match in the joined values, each with its replacement.

    The first part of the match is replaced by the mask, the others by nothing.
    """
    offset, mask = 0, MASK
    for start, end in spans:
        first, last = max(match[0], offset), min(match[1], offset + end - start)
        if first < last:
            yield (start + first - offset, start + last - offset), mask
            mask = b""
        offset += end - start
