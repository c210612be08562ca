"""Normalised text, words and n-grams for comparing texts. Pure functions."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from unicodedata import category

import msgspec

_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


@cache  # not compiled by a command that needs no words, because that takes 3 ms
def _word_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_HAN}]|[^\\s{_HAN}]+")


@cache
def _character_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_HAN}]")


class _Punctuation(dict[str, bool]):
    """Cache of whether a character is punctuation: neither a letter, nor a number, nor a combining mark.

    Combining marks are kept because Hindi's vowels are such marks.
    """

    def __missing__(self, character: str) -> bool:
        self[character] = is_punctuation = not (character.isalnum() or category(character).startswith("M"))
        return is_punctuation


class _SpaceTable(dict[int, str]):
    """Table for `str.translate` that replaces punctuation by spaces. A regular expression takes six times as long."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = replacement = " " if _IS_PUNCTUATION[character] else character
        return replacement


_IS_PUNCTUATION, _SPACED = _Punctuation(), _SpaceTable()
_SPACED_ASCII = "".join(_SPACED[code] for code in range(128)).lower().encode() + bytes(range(128, 256))
"""The same for `bytes.translate`, which takes a tenth of the time; in lower case."""
_ASCII_SIGNS = "".join(filter(_IS_PUNCTUATION.__getitem__, map(chr, range(128)))).encode()
_LOWER_ASCII = bytes(range(128)).lower() + bytes(range(128, 256))
MAX_REPLACED_SIGNS = 100
"""Up to this number of different punctuation characters in a text, each is removed by `str.replace`. For the usual ten
that is faster than `translate`."""
SHORT_TEXT = 64
"""A text with fewer letters and digits than this keeps its words apart, so that 3.5 and 35 stay different."""


def normalize(text: str) -> str:
    """Return the text in lower case, without white space and punctuation.

    In a short text, single spaces stand for them. A text that is only punctuation is returned unchanged, so that "!!!"
    and "???" stay different. The function runs on every answer, and splitting a long one into words would take most of
    its time.
    """
    if text.isascii():
        plain = text.encode().translate(_LOWER_ASCII, _ASCII_SIGNS).decode()
        if len(plain) < SHORT_TEXT:
            plain = " ".join(text.encode().translate(_SPACED_ASCII).decode().split())
    else:
        plain = _without_signs(text.casefold())
        if len(plain) < SHORT_TEXT:
            plain = " ".join(text.casefold().translate(_SPACED).split())
    return plain or text


def _without_signs(text: str) -> str:
    signs = [*filter(_IS_PUNCTUATION.__getitem__, set(text))]
    if len(signs) > MAX_REPLACED_SIGNS:
        return "".join(text.translate(_SPACED).split())
    for sign in signs:
        text = text.replace(sign, "")
    return text


def words(text: str) -> list[str]:
    """Return the words of a text in lower case. Chinese and Japanese characters are one word each."""
    plain = text.casefold().translate(_SPACED)
    return plain.split() if plain.isascii() else _word_pattern().findall(plain)


def ngrams(sequence: list[str], n: int) -> Iterator[str]:
    """Yield the n-grams of a sequence of words; none if it has fewer than n words."""
    return (" ".join(sequence[at : at + n]) for at in range(len(sequence) - n + 1))


def stretches(sequence: list[str], words: int, characters: int) -> Iterator[str]:
    """Yield from each position the shortest run of `words` words or `characters` Chinese or Japanese characters.

    A mixed run counts in proportion: with 13 words and 30 characters, 6 words and 17 characters are enough.
    """
    is_character = _character_pattern().match
    weights = [words if is_character(each) else characters for each in sequence]
    end = weight = 0
    for start in range(len(sequence)):
        while weight < words * characters:
            if end == len(sequence):
                return
            weight += weights[end]
            end += 1
        yield " ".join(sequence[start:end])
        weight -= weights[start]


def strings_in(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value, at any depth."""
    return (each for each in _leaves(value) if isinstance(each, str))


def leaf_texts(value: Any) -> Iterator[str]:
    """Yield everything in a JSON value that is neither a list nor an object, as text.

    The minus of a number becomes the word "minus", so that it is not removed as punctuation.
    """
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
