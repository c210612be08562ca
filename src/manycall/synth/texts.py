"""What a text is when it is compared with others: its normal form, its words, its n-grams. Pure."""

import re
from collections.abc import Iterator
from typing import Any

_APART = re.compile(r"[\W_]+")
_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_HAN}]|[^\\W_{_HAN}]+")


def normal(text: str) -> str:
    """The text without case, white space and punctuation; two that differ in nothing else are one.

    A text of nothing but signs is its own normal form, so that "!!!" and "???" stay two.
    """
    return _APART.sub(" ", text.casefold()).strip() or text


def words(text: str) -> list[str]:
    """Its words, in lower case. Chinese and Japanese, written without spaces, are cut into characters."""
    return _WORD.findall(text.casefold())


def grams(sequence: list[str], n: int) -> Iterator[str]:
    """Each n of them that follow one another; nothing if there are fewer."""
    return (" ".join(sequence[at : at + n]) for at in range(len(sequence) - n + 1))


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, however deep."""
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from texts(each)
        case list():
            for each in value:
                yield from texts(each)
