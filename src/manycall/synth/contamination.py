"""Does a text hold a piece of a benchmark? Found by n-grams of words, as GPT-3's authors did.

"Language Models are Few-Shot Learners" (Brown et al. 2020), appendix C: a text is tainted if it has 13 words in a row
with a benchmark's item, in lower case and without punctuation; of shorter items, of at least 8 words, all of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from manycall.data.files import read
from manycall.errors import UsageError
from manycall.synth.texts import grams, texts, words

WORDS = 13
FEWEST_WORDS = 8
"""Of a shorter item, too much stands everywhere by chance."""


class Benchmarks:
    """The items of benchmark files, to be looked for.

    Args:
        paths: files of rows (.jsonl, .json, .csv, .tsv, .parquet); every text in a row is looked for.
        n: how many words in a row are too many.

    Attributes:
        items: how many items each file has; short: how many of them have no text long enough to be looked for.
        found: of each file, the items that were found.

    Raises:
        UsageError: a file that cannot be read, or holds nothing, or n below 1.
    """

    def __init__(self, paths: Sequence[Path], n: int = WORDS) -> None:
        if n < 1:
            raise UsageError(f"--words must be at least 1, not {n}")
        self._n, self._fewest = n, min(n, FEWEST_WORDS)
        self._of: dict[str, tuple[str, str]] = {}
        self._sizes: set[int] = set()
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
        size = min(self._n, len(item))
        if size >= self._fewest:
            self._sizes.add(size)
            yield from grams(item, size)

    def look(self, value: Any) -> str | None:
        """Which item stands in these texts, and with which words; None if there is none."""
        first = None
        for text in texts(value):
            sequence = words(text)
            for size in sorted(self._sizes, reverse=True):
                for piece in grams(sequence, size):
                    if piece in self._of:
                        name, where = self._of[piece]
                        self.found[name].add(where)
                        first = first or f"{name}, {where}: {piece}"
        return first
