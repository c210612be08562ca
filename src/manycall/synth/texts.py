"""What a text is when it is compared with others: its normal form, its words, its n-grams. Pure."""

import re
from collections.abc import Iterator
from typing import Any
from unicodedata import category

import msgspec

_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_HAN}]|[^\\s{_HAN}]+")
_is_character = re.compile(f"[{_HAN}]").match


class _Signs(dict[str, bool]):
    """Whether a character is one: no letter, no number and no mark upon one (Hindi's vowels are such marks)."""

    def __missing__(self, letter: str) -> bool:
        self[letter] = sign = not (letter.isalnum() or category(letter).startswith("M"))
        return sign


class _Spaced(dict[int, str]):
    """For `str.translate`: signs become spaces. A regular expression takes six times as long."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        self[code] = plain = " " if _SIGNS[letter] else letter
        return plain


_SIGNS, _SPACED = _Signs(), _Spaced()
MOST_SIGNS = 100
"""Different signs of one text that are replaced one at a time, which is faster than `translate` for the usual ten."""


def normal(text: str) -> str:
    """The text without case, white space and punctuation; two that differ in nothing else are one.

    A text of nothing but signs is its own normal form, so that "!!!" and "???" stay two. It is made of every answer:
    7 µs for 1,000 characters of ASCII, up to 70 of others, for which `translate` is slow.
    """
    plain = text.casefold()
    if plain.isascii():
        plain = plain.translate(_SPACED)
    else:
        signs = [*filter(_SIGNS.__getitem__, set(plain))]
        if len(signs) > MOST_SIGNS:
            plain = plain.translate(_SPACED)
        else:
            for sign in signs:
                plain = plain.replace(sign, " ")
    return " ".join(plain.split()) or text


def words(text: str) -> list[str]:
    """Its words, in lower case. Chinese and Japanese, written without spaces, are cut into characters."""
    plain = text.casefold().translate(_SPACED)
    return plain.split() if plain.isascii() else _WORD.findall(plain)


def grams(sequence: list[str], n: int) -> Iterator[str]:
    """Each n of them that follow one another; nothing if there are fewer."""
    return (" ".join(sequence[at : at + n]) for at in range(len(sequence) - n + 1))


def stretches(sequence: list[str], words: int, characters: int) -> Iterator[str]:
    """Return from each position the shortest run of `words` words, or of `characters` Chinese or Japanese characters.

    A run of both counts in proportion: with 13 words and 30 characters, 6 words and 17 characters are enough.
    """
    weights = [words if _is_character(each) else characters for each in sequence]
    end = weight = 0
    for start in range(len(sequence)):
        while weight < words * characters:
            if end == len(sequence):
                return
            weight += weights[end]
            end += 1
        yield " ".join(sequence[start:end])
        weight -= weights[start]


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, however deep."""
    return (each for each in _leaves(value) if isinstance(each, str))


def leaves(value: Any) -> Iterator[str]:
    """Everything in a JSON value that is neither list nor object, as text. A minus is a word, lest it be taken for
    punctuation."""
    for each in _leaves(value):
        yield each if isinstance(each, str) else msgspec.json.encode(each).decode().replace("-", "minus ")


def _leaves(value: Any) -> Iterator[Any]:
    match value:
        case dict():
            for each in value.values():
                yield from _leaves(each)
        case list():
            for each in value:
                yield from _leaves(each)
        case _:
            yield value
