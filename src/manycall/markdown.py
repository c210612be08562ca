"""Escape text of models, rows and servers for Markdown, so that none of it is rendered as markup or a link.

All special characters of Markdown and HTML are escaped. Some renderers link bare addresses in spite of escapes, so
words that look like an address are formatted as code.
"""

import re

from manycall.terminal import sanitize, sanitize_line

_SIGNS = re.compile(r"([\\`*_\[\]<>|&~$#!{}])")
_LINKED = re.compile(r"[^\s|(]*(?:://|@|(?i:www)\.|[^\W_]\.[^\W\d_]{2})[^\s|]*(?<![),.;:])")
"""A URL, an e-mail address, a mention or a domain name, which some renderers turn into links."""


def inline(text: str) -> str:
    """Return the escaped text in one line, for a heading, a paragraph or a table cell."""
    parts, at, line = [], 0, sanitize_line(text)
    for match in _LINKED.finditer(line):
        parts += [_escaped(line[at : match.start()]), code(match[0])]
        at = match.end()
    return "".join([*parts, _escaped(line[at:])]) or " "


def code(text: str) -> str:
    """Return the text as inline code. It must not contain a pipe."""
    ticks = _backticks(text, 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fenced(text: str) -> str:
    """Return the text as a code block, with a fence that the text cannot close."""
    fence = _backticks(text, 3)
    return f"{fence}text\n{sanitize(text)}\n{fence}"


def _escaped(text: str) -> str:
    return _SIGNS.sub(r"\\\1", text)


def _backticks(text: str, minimum: int) -> str:
    """Return a run of backticks longer than any in the text."""
    return "`" * max(minimum, 1 + max(map(len, re.findall("`+", text)), default=0))
