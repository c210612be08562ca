"""Find text of a benchmark in a dataset by n-grams of words, as in the GPT-3 paper.

"Language Models are Few-Shot Learners" (Brown et al. 2020), appendix C: a text is contaminated if it shares 13
consecutive words with a benchmark item, in lower case and without punctuation. A shorter item of at least 8 words must
match as a whole. Chinese and Japanese are written without spaces; there 30 characters replace 13 words
(docs/check-data.md).
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from manycall.data.row_files import read_rows
from manycall.dataset.normalize import ngrams, stretches, strings_in, words
from manycall.errors import UsageError
from manycall.option_flags import option

DEFAULT_NGRAM_SIZE = 13
MIN_WORDS = 8
"""Minimum length of an item. A shorter one is not searched for, because any text may contain it by chance."""
CHARACTERS = 30
"""Number of Chinese or Japanese characters that replace 13 words. This is more than the average of 22 characters for
13 words, because official names and titles have up to 21 consecutive characters."""


class ContaminationIndex:
    """Index of the n-grams of benchmark files.

    Args:
        paths: Files of rows (.jsonl, .json, .csv, .tsv, .parquet). Every text in a row is indexed.
        n: n-gram length that counts as contamination, in words. For Chinese and Japanese, 30/13 times as many
            characters.

    Attributes:
        items: Number of items per file.
        short: Number of items per file without any text that is long enough to search for.
        found: The items of each file that were found.

    Raises:
        UsageError: A file cannot be read or is empty, or n is below 1.
    """

    def __init__(self, paths: Sequence[Path], n: int = DEFAULT_NGRAM_SIZE) -> None:
        if n < 1:
            raise UsageError(f"{option('ngram_size')} must be at least 1, got {n}.")
        self._ngram_length, self._min_length = _length(n), _length(min(n, MIN_WORDS))
        self._items_by_ngram: dict[str, tuple[str, str]] = {}
        self._whole_item_lengths: set[int] = set()  # in words
        self.items: dict[str, int] = {}
        self.short: dict[str, int] = {}
        self.found: dict[str, set[str]] = {}
        for path in paths:
            self._add_file(path)

    def __repr__(self) -> str:
        return f"<ContaminationIndex {', '.join(self.items)}, {len(self._items_by_ngram)} pieces>"

    def _add_file(self, path: Path) -> None:
        name = str(path)
        self.items[name], self.short[name], self.found[name] = 0, 0, set()
        for where, fields in read_rows(path):
            pieces = [piece for text in strings_in(fields) for piece in self._pieces(words(text))]
            self.items[name] += 1
            self.short[name] += not pieces
            for piece in pieces:
                self._items_by_ngram.setdefault(piece, (name, where))
        if not self.items[name]:
            raise UsageError(
                f"{option('benchmarks', str(name))}: the file contains no items, so no contamination could be found."
            )

    def _pieces(self, item: list[str]) -> Iterator[str]:
        is_short = True
        for piece in stretches(item, *self._ngram_length):
            is_short = False
            yield piece
        if is_short and any(stretches(item, *self._min_length)):
            self._whole_item_lengths.add(len(item))
            yield " ".join(item)

    def find(self, value: Any) -> str | None:
        """Return the first benchmark item found in the texts of a value, with the matching words; None if none is."""
        first_match = None
        for text in strings_in(value):
            sequence = words(text)
            sizes = sorted(self._whole_item_lengths, reverse=True)
            for piece in chain(stretches(sequence, *self._ngram_length), *(ngrams(sequence, size) for size in sizes)):
                if piece in self._items_by_ngram:
                    name, where = self._items_by_ngram[piece]
                    self.found[name].add(where)
                    first_match = first_match or f"{name}, {where}: {piece}"
        return first_match


def _length(words: int) -> tuple[int, int]:
    """Return the n-gram length as (words, Chinese or Japanese characters)."""
    return words, math.ceil(words * CHARACTERS / DEFAULT_NGRAM_SIZE)
