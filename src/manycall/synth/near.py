"""Near duplicates: texts whose sets of five words in a row overlap, found by MinHash and locality-sensitive hashing.

Broder 1997, "On the resemblance and containment of documents"; the bands as in Leskovec, Rajaraman and Ullman, "Mining
of Massive Datasets", 3.4. The hashing is that of rensa, an extra: written in Rust, it signs 160,000 texts of 200 words
a second, where datasketch signs 3,000; and it is 1 MB, where datasketch needs numpy and scipy.
"""

from typing import Any

from manycall.errors import UsageError
from manycall.synth.texts import grams, words

SHINGLE = 5
"""Words in a row that are compared."""
HASHES = 128
"""In a signature: similarity is known to ±0.04 (its standard deviation at 0.8 is √(0.8·0.2/128) = 0.035)."""
BANDS, MORE_BANDS = 32, 64
"""That a signature is cut into; with 32, two texts of similarity 0.65 share none in 1 of 500 cases: (1 - 0.65⁴)³²."""


class Near:
    """Texts that came before, for whether one is much like the next.

    Takes some 5 kB a text in memory.

    Args:
        threshold: share of five-word pieces that two texts must have in common (Jaccard), more than 0, at most 1.

    Raises:
        UsageError: no such share, or rensa is not installed.
    """

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise UsageError(f"--near must be more than 0 and at most 1, not {threshold}")
        try:
            import rensa
        except ImportError:
            raise UsageError("--near needs the extra: pip install 'manycall[near]'") from None
        self._threshold = threshold
        self._hash = rensa.RMinHash
        bands = BANDS if threshold >= 0.65 else MORE_BANDS
        self._index = rensa.RMinHashLSH(threshold=threshold, num_perm=HASHES, num_bands=bands)
        self._names: list[str] = []
        self._signatures: list[Any] = []

    def __repr__(self) -> str:
        return f"<Near {len(self._names)} texts, from {self._threshold} on>"

    def like(self, name: str, text: str) -> str | None:
        """The name of an earlier text that is much like this; if there is none, this is kept for those to come."""
        sequence = words(text)
        pieces = list(grams(sequence, SHINGLE)) or [" ".join(sequence)]
        signature = self._hash(num_perm=HASHES, seed=1)
        signature.update(pieces)
        candidates: list[int] = self._index.query(signature)
        for place in candidates:
            if signature.jaccard(self._signatures[place]) >= self._threshold:
                return self._names[place]
        self._index.insert(len(self._names), signature)
        self._names.append(name)
        self._signatures.append(signature)
        return None
