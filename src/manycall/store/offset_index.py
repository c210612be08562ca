"""Compact map from row id to byte offset."""

from hashlib import blake2b

HASH_BYTES, OFFSET_BYTES = 8, 6
"""Bytes per entry. Offsets can reach 281 TB; among ten million ids, the probability of a hash collision is 3e-6."""


BUCKETS = 1 << 16


class OffsetIndex:
    """A hash table from row id to the offset of its line, with 14 bytes per id in 65,536 buckets."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(BUCKETS)]

    def __repr__(self) -> str:
        return f"<OffsetIndex, {sum(map(len, self._buckets)) // (HASH_BYTES + OFFSET_BYTES)} ids>"

    def add(self, name: str, offset: int) -> None:
        """Record the offset of a row."""
        key, bucket = self._find(name)
        bucket += key + offset.to_bytes(OFFSET_BYTES)

    def get(self, name: str) -> int | None:
        """Return the offset of a row; None if it is not in the index."""
        return self._get(name, remove=False)

    def get_all(self, name: str) -> list[int]:
        """Return the offsets of a row, in the order in which they were added."""
        key, bucket = self._find(name)
        size = HASH_BYTES + OFFSET_BYTES
        ats = range(0, len(bucket), size)
        return [int.from_bytes(bucket[at + HASH_BYTES : at + size]) for at in ats if bucket.startswith(key, at)]

    def pop(self, name: str) -> int | None:
        """Return the offset of a row and remove it from the index; None if it is not in the index."""
        return self._get(name, remove=True)

    def _get(self, name: str, *, remove: bool) -> int | None:
        key, bucket = self._find(name)
        for at in range(0, len(bucket), HASH_BYTES + OFFSET_BYTES):
            if bucket.startswith(key, at):
                end = at + HASH_BYTES + OFFSET_BYTES
                offset = int.from_bytes(bucket[at + HASH_BYTES : end])
                if remove:
                    del bucket[at:end]
                return offset
        return None

    def remaining(self) -> list[int]:
        """Return the offsets that were not removed by `pop`, in ascending order."""
        entry_bytes = HASH_BYTES + OFFSET_BYTES
        return sorted(
            int.from_bytes(bucket[at + HASH_BYTES : at + entry_bytes])
            for bucket in self._buckets
            for at in range(0, len(bucket), entry_bytes)
        )

    def _find(self, name: str) -> tuple[bytes, bytearray]:
        key = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
        return key, self._buckets[int.from_bytes(key[:2])]
