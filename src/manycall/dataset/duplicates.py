"""Exact duplicates (after normalisation) and near duplicates (MinHash) of texts."""

from collections import defaultdict
from typing import Any

from manycall.dataset.normalize import ngrams, normalize, words
from manycall.errors import UsageError
from manycall.option_flags import option


class Duplicates:
    """Counter of texts that equal an earlier one, ignoring case, white space and punctuation.

    Each text is represented by Python's hash of its normalised form, which has 64 bits: among a million texts, the
    probability that two different ones have the same hash is 3e-8. Memory: about 10 bytes per text, in byte strings
    that the hash selects. A set of integers would take 60 bytes per text.

    Attributes:
        count: Number of duplicates.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, bytearray] = defaultdict(bytearray)
        self._added = 0
        self.count = 0

    def __repr__(self) -> str:
        return f"<Duplicates: {self.count} of {self._added}>"

    def add(self, text: str) -> bool:
        """Add a text and return whether it is a duplicate."""
        self._added += 1
        number = hash(normalize(text))
        bucket, digest = self._buckets[number % HASH_BUCKETS], number.to_bytes(HASH_BYTES, "little", signed=True)
        at = bucket.rfind(digest)  # three times as fast as `find` in a bucket of 2 KB
        while at > 0 and at % HASH_BYTES:  # a match across two hashes
            at = bucket.rfind(digest, 0, at + HASH_BYTES - 1)
        if at < 0:
            bucket += digest
            return False
        self.count += 1
        return True


HASH_BYTES, HASH_BUCKETS = 8, 4096


SHINGLE_WORDS = 5
"""Length of the compared n-grams (shingles), in words."""
HASHES = 128
"""Hashes per MinHash signature. The similarity is estimated to ±0.04: its standard deviation at 0.8 is
√(0.8·0.2/128) = 0.035."""
BANDS, EXTRA_BANDS = 32, 64
"""LSH bands per signature, for thresholds from 0.65 and below. With 32 bands, two texts of similarity 0.65 share no
band in 1 of 500 cases: (1 - 0.65⁴)³²."""


class NearDuplicates:
    """Index of texts that finds an earlier text similar to a new one.

    Memory: about 5 kB per text.

    Args:
        threshold: Minimum Jaccard similarity of the two sets of word 5-grams, more than 0 and at most 1.

    Raises:
        UsageError: The threshold is out of range, or rensa is not installed.
    """

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise UsageError(f"{option('near_duplicates')} must be more than 0 and at most 1, got {threshold}.")
        try:
            import rensa
        except ImportError:
            raise UsageError(f"{option('near_duplicates')} needs the extra: pip install 'manycall[near]'") from None
        self._threshold = threshold
        self._hash = rensa.RMinHash
        bands = BANDS if threshold >= 0.65 else EXTRA_BANDS
        self._index = rensa.RMinHashLSH(threshold=threshold, num_perm=HASHES, num_bands=bands)
        self._names: list[str] = []
        self._signatures: list[Any] = []

    def __repr__(self) -> str:
        return f"<NearDuplicates {len(self._names)} texts, threshold {self._threshold}>"

    def find(self, name: str, text: str) -> str | None:
        """Return the name of a similar earlier text. If there is none, add this text to the index and return None."""
        sequence = words(text)
        pieces = list(ngrams(sequence, SHINGLE_WORDS)) or [" ".join(sequence)]
        signature = self._hash(num_perm=HASHES, seed=1)
        signature.update(pieces)
        candidates: list[int] = self._index.query(signature)
        for index in candidates:
            if signature.jaccard(self._signatures[index]) >= self._threshold:
                return self._names[index]
        self._index.insert(len(self._names), signature)
        self._names.append(name)
        self._signatures.append(signature)
        return None
