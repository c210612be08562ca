"""Replace the escapes of lone surrogates in a JSON document, which JSON allows and msgspec refuses.

Servers in languages with UTF-16 texts send half of a surrogate pair if they cut a text inside a character: at
max_tokens, or between two chunks of a stream. The rest of the answer is readable and was paid for.
"""

import re

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""A surrogate pair, a lone surrogate or the beginning of any other escape."""


def without_lone_surrogates(document: bytes) -> bytes:
    """Return the document with U+FFFD, the replacement character, in place of each lone surrogate."""
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape["lone"] else escape[0], document)
