"""Text within Markdown: no text of a model, a row or a server is live.

Every sign of Markdown and HTML is escaped. Escapes do not stop all renderers from linking bare addresses, so words that
look like one become code.
"""

import re

from manycall.plain import plain, plain_line

_SIGNS = re.compile(r"([\\`*_\[\]<>|&~$#!{}])")
_LINKED = re.compile(r"[^\s|(]*(?:://|@|(?i:www)\.|[^\W_]\.[^\W\d_]{2})[^\s|]*(?<![),.;:])")
"""A URL, an e-mail address, a mention or a name with a domain: links in one renderer or another."""


def inline(text: str) -> str:
    """The text in one line, for a heading, a paragraph or the cell of a table."""
    parts, at, line = [], 0, plain_line(text)
    for found in _LINKED.finditer(line):
        parts += [_escaped(line[at : found.start()]), code(found[0])]
        at = found.end()
    return "".join([*parts, _escaped(line[at:])]) or " "


def code(text: str) -> str:
    """The text, which has no pipe, as code within a line."""
    ticks = _longer_than_in(text, 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fenced(text: str) -> str:
    """The text as a block of code that it cannot close."""
    fence = _longer_than_in(text, 3)
    return f"{fence}text\n{plain(text)}\n{fence}"


def _escaped(text: str) -> str:
    return _SIGNS.sub(r"\\\1", text)


def _longer_than_in(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
