"""Compare Chinese and Japanese texts without their spacing and punctuation: 共 3 个 and 共3个 are the same words."""

import re

from manycall.dataset.normalize import normalize

_has_character = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]").search


def remove_spacing(text: str) -> str:
    """Return a Chinese or Japanese text in lower case, without white space and punctuation; any other text unchanged.

    In other scripts a space separates words. The few words of them in a Chinese text are joined as well, which makes
    different texts equal only if all their characters are equal.
    """
    if text.isascii() or _has_character(text) is None:
        return text
    return normalize(text).replace(" ", "")
