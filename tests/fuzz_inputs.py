"""Inputs that mean harm: real documents, cut, flipped, doubled and salted; as hypothesis strategies."""

import datetime
import re
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

PIECES = [
    *(bytes([n]) for n in (*range(14), 0x1C, 0x22, 0x5C, 0x7F, 0x85, 0xA0, 0xC3, 0xED, 0xFF)),
    *b'\r\n|\n\n|\xef\xbb\xbf|\xff\xfe{\0|\xe2\x80\xa8|\xed\xa0\x80|\xc0\x80|,|:|[|]|{|}|""|\'|"a":1,'.split(b"|"),
    *b"null true false NaN -Infinity 0 -0 -1 007 .5 1. 1e5 1e400 -1e400 1e-400 0.1 1e308 2.0".split(),
    *(str(number).encode() for number in (2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400)),
    *(rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u0000"', rb'"\x"', b'"\xff"', b'"\0"', "文".encode(), "😀".encode()),
    *rb'[] {} [{}] [[]] [null] [1] {"":1} {"id":1} {"a":{"b":[]}}'.split(),
    *(b"[" * depth for depth in (100, 900, 1100, 100_000)),
    *(b'{"a":' * depth for depth in (300, 5000)),
    *(b"[" * depth + b"]" * depth for depth in (100, 400, 900, 985, 1100)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (300, 490, 900)),
    b"9" * 4400,
    b"x" * 70_000,
    b'"' + b"y" * 70_000 + b'"',
]
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null|[][{},:]|[^\s",;=]+')


NEAR = 5000
"""Bytes in which a token to change is looked for: they take time to find."""


def _cut(text: bytes, at: int, piece: bytes) -> bytes:
    return text[:at]


def _behead(text: bytes, at: int, piece: bytes) -> bytes:
    return text[at:]


def _flip(text: bytes, at: int, piece: bytes) -> bytes:
    return text[:at] + bytes([text[at] ^ (1 << len(piece) % 8)]) + text[at + 1 :] if at < len(text) else text


def _insert(text: bytes, at: int, piece: bytes) -> bytes:
    return text[:at] + piece + text[at:]


def _overwrite(text: bytes, at: int, piece: bytes) -> bytes:
    return text[:at] + piece + text[at + len(piece) :]


def _delete(text: bytes, at: int, piece: bytes) -> bytes:
    return text[:at] + text[at + len(piece) :]


def _repeat(text: bytes, at: int, piece: bytes) -> bytes:
    return text + text[at:]


def _replace_token(text: bytes, at: int, piece: bytes) -> bytes:
    """Of a JSON text, or a header, another value in the place of one; so that the rest still makes sense."""
    tokens = list(_TOKEN.finditer(text, 0, NEAR))
    if not tokens:
        return piece
    token = tokens[at % len(tokens)]
    return text[: token.start()] + piece + text[token.end() :]


def _move_token(text: bytes, at: int, piece: bytes) -> bytes:
    tokens = _TOKEN.findall(text, 0, NEAR)
    return _replace_token(text, at, tokens[(at + len(piece)) % len(tokens)]) if tokens else text


def _swap_lines(text: bytes, at: int, piece: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    if lines:
        one, other = at % len(lines), (at + len(piece)) % len(lines)
        lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _double_line(text: bytes, at: int, piece: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([*lines[: at % len(lines)], lines[at % len(lines)], *lines[at % len(lines) :]]) if lines else text


def _crlf(text: bytes, at: int, piece: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


def _bom(text: bytes, at: int, piece: bytes) -> bytes:
    return b"\xef\xbb\xbf" + text


def _utf_16(text: bytes, at: int, piece: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode("utf-16")


_EDITS = (
    *(_cut, _flip, _insert, _overwrite, _delete, _repeat, _swap_lines, _double_line, _behead, _crlf, _bom, _utf_16),
    *(_replace_token, _move_token) * 4,
)
_EDIT = st.tuples(st.sampled_from(_EDITS), st.integers(0, 1 << 20), st.sampled_from(PIECES) | st.binary(max_size=9))
LONGEST = 300_000


def mutated(documents: list[bytes], most: int = 4) -> SearchStrategy[bytes]:
    """One of the documents, after up to so many edits; or, now and then, any bytes."""

    def edited(text: bytes, edits: list[Any]) -> bytes:
        for edit, where, piece in edits:
            text = edit(text, where % (len(text) + 1), piece)[:LONGEST]
        return text

    some = st.builds(edited, st.sampled_from(documents), st.lists(_EDIT, max_size=most))
    return st.one_of(some, some, some, st.binary(max_size=40))


def texts(documents: list[str], most: int = 3) -> SearchStrategy[str]:
    """The same, as text."""
    return mutated([text.encode() for text in documents], most).map(lambda text: text.decode("utf-8", "replace"))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from([2**63, -(2**64), 10**300, -0.0, 1e308, "\0", "\x85", "\u2028", "{{ x }}", "😀", "0" * 5000]),
)
NAMES = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(
    ["id", "custom_id", "q", "text", "self", "loop", "range", "__class__", "items", "a.b", "a b", ""]
)
JSON: SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


NOT_JSON = st.one_of(
    st.floats(),
    st.binary(max_size=4),
    st.datetimes(),
    st.decimals(),
    st.text(max_size=6),
    st.builds(set, st.lists(st.integers(), max_size=3)),
    st.tuples(st.integers()),
    st.dictionaries(st.none() | st.integers() | st.floats() | st.text(max_size=2), st.integers(), max_size=2),
    st.sampled_from([object, 1j, Decimal("NaN"), datetime.timedelta(1), "\ud800", 10**5000]),
    st.sampled_from([900, 5000]).map(_deep),
)
