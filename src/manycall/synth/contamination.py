"""Find pieces of a benchmark in a text, by n-grams of words, as the authors of GPT-3 did.

"Language Models are Few-Shot Learners" (Brown et al. 2020), appendix C: a text is contaminated if it shares 13 words in
a row with a benchmark's item, in lower case and without punctuation. A shorter item of at least 8 words is looked for
as a whole. Chinese and Japanese are written without spaces; there 30 characters stand for 13 words (docs/quality.md).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from manycall.data.files import read
from manycall.errors import UsageError
from manycall.synth.texts import grams, stretches, texts, words

WORDS = 13
FEWEST_WORDS = 8
"""A shorter item is not looked for: any text may contain it by chance."""
CHARACTERS = 30
"""Chinese or Japanese characters that stand for WORDS words: more than the 22 that 13 words have on average, because
official names and titles have up to 21 in a row."""


class Benchmarks:
    """The items of benchmark files, to be looked for.

    Args:
        paths: files of rows (.jsonl, .json, .csv, .tsv, .parquet); every text in a row is looked for.
        n: n-gram length that counts as contamination, in words; CHARACTERS / WORDS times as many characters.

    Attributes:
        items: how many items each file has; short: how many of them have no text long enough to be looked for.
        found: of each file, the items that were found.

    Raises:
        UsageError: a file that cannot be read, or holds nothing, or n below 1.
    """

    def __init__(self, paths: Sequence[Path], n: int = WORDS) -> None:
        if n < 1:
            raise UsageError(f"--words must be at least 1, not {n}")
        self._long, self._short = _length(n), _length(min(n, FEWEST_WORDS))
        self._of: dict[str, tuple[str, str]] = {}
        self._sizes: set[int] = set()  # of the items that are looked for as a whole
        self.items: dict[str, int] = {}
        self.short: dict[str, int] = {}
        self.found: dict[str, set[str]] = {}
        for path in paths:
            self._take(path)

    def __repr__(self) -> str:
        return f"<Benchmarks {', '.join(self.items)}, {len(self._of)} pieces>"

    def _take(self, path: Path) -> None:
        name = str(path)
        self.items[name], self.short[name], self.found[name] = 0, 0, set()
        for where, fields in read(path):
            pieces = [piece for text in texts(fields) for piece in self._pieces(words(text))]
            self.items[name] += 1
            self.short[name] += not pieces
            for piece in pieces:
                self._of.setdefault(piece, (name, where))
        if not self.items[name]:
            raise UsageError(f"--against {name}: it holds no item, and finding none would tell nothing")

    def _pieces(self, item: list[str]) -> Iterator[str]:
        whole = True
        for piece in stretches(item, *self._long):
            whole = False
            yield piece
        if whole and any(stretches(item, *self._short)):
            self._sizes.add(len(item))
            yield " ".join(item)

    def look(self, value: Any) -> str | None:
        """Which item stands in these texts, and with which words; None if there is none."""
        first = None
        for text in texts(value):
            sequence = words(text)
            sizes = sorted(self._sizes, reverse=True)
            for piece in chain(stretches(sequence, *self._long), *(grams(sequence, size) for size in sizes)):
                if piece in self._of:
                    name, where = self._of[piece]
                    self.found[name].add(where)
                    first = first or f"{name}, {where}: {piece}"
        return first


def _length(words: int) -> tuple[int, int]:
    """(words, characters) of a piece."""
    return words, math.ceil(words * CHARACTERS / WORDS)
