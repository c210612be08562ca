"""Row ids, and a compact set of known ids.

The id of a row is its field `id` (or `custom_id`, or the field given by the user); otherwise a hash of its content, so
that inserting or reordering rows never invalidates finished work.
"""

import enum
import struct
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import Any, Self, cast

import msgspec

from manycall.option_flags import option

ID_FIELDS = ("id", "custom_id")
_canonical = msgspec.json.Encoder(order="deterministic")


def explicit_id(fields: Mapping[str, Any], id_field: str | None) -> str | None:
    """Return the row's own id as text; None if the row has no id field.

    Raises:
        ValueError: the value of the id field is not a valid id, or the row lacks the field `id_field`.
    """
    for name in (id_field,) if id_field else ID_FIELDS:
        if name not in fields:
            if id_field:
                raise ValueError(f"has no field {name!r} ({option('id_field')})")
            continue
        value = fields[name]
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise ValueError(f"has {name!r}: {value!r:.100}; an id must be a string or an integer.")
        return str(value)
    return None


def content_id(fields: Mapping[str, Any]) -> str:
    """Return a hash of the row's content as its id. Equal rows get equal ids, regardless of the field order."""
    return blake2b(_canonical.encode(fields), digest_size=8).hexdigest()


class HasId(msgspec.Struct):
    """A line with a row id, in an output or in another file of the run."""

    id: str | int


_decode = msgspec.json.Decoder(HasId).decode


def decode_row_id(line: bytes) -> str:
    """Return the row id of a line. Raises one of `records.DECODE_ERRORS` if the line has none."""
    return str(_decode(line).id)


class IdState(enum.IntEnum):
    """The state of an id in an `IdTable`."""

    UNKNOWN = 0
    DONE = 1
    """Its row is done, and the input of this run was not seen to contain it."""
    SEEN = 2
    """Seen in the input of this run."""


HASH_BYTES = 11
"""Length of a hash. One more byte per entry holds the state."""
_HASH = blake2b(digest_size=HASH_BYTES)
ENTRY_BYTES = HASH_BYTES + 1
MIN_BUCKETS, IDS_PER_BUCKET = 4096, 32
"""A search in a bucket of 32 ids takes negligible time. With a million ids in 4096 buckets it takes 0.2 µs."""
_SEEN, _DONE = 1, 2
"""Bits of a state byte."""
_STATES = (IdState.UNKNOWN, IdState.SEEN, IdState.DONE, IdState.SEEN)
_WITHOUT_SEEN = bytes(byte & ~_SEEN for byte in range(256))
_EMPTY = cast("bytearray", b"")
"""Every bucket without an id; immutable. The first id of a bucket replaces it, because making thousands takes 1 ms."""


class IdTable:
    """A compact table of ids and their states. It takes about 15 bytes per id.

    The table stores 88-bit hashes, each followed by a state byte, in thousands of byte strings (buckets). The hash
    selects the bucket. With ten million ids, the probability of any collision is below 1e-12. A Python set of strings
    takes 130 bytes per id, which for a million rows is more than the rest of the process.
    """

    __slots__ = ("_buckets", "_count", "_mask")

    def __init__(self, expected: int = 0, buckets: list[bytearray] | None = None) -> None:
        """Create a table.

        Args:
            expected: the number of ids, if known; it avoids searches in long buckets.
            buckets: the content of another table; None: the table is empty.
        """
        count = MIN_BUCKETS
        while count * IDS_PER_BUCKET < expected:
            count *= 2
        self._buckets = [_EMPTY] * count if buckets is None else buckets
        self._mask = len(self._buckets) - 1
        self._count = 0 if buckets is None else sum(map(len, buckets)) // ENTRY_BYTES

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<IdTable {self._count} ids>"

    def state(self, name: str) -> IdState:
        """Return the state of an id. SEEN has priority over DONE."""
        if not self._count:
            return IdState.UNKNOWN
        _, bucket, at = self._find(name)
        return IdState.UNKNOWN if at < 0 else _STATES[bucket[at + HASH_BYTES] & 3]

    def is_done(self, name: str) -> bool:
        """Return whether the row with this id is done, whether or not the input of this run contains it."""
        if not self._count:
            return False
        _, bucket, at = self._find(name)
        return at >= 0 and bool(bucket[at + HASH_BYTES] & _DONE)

    def add_done(self, name: str) -> bool:
        """Record that the row with this id is done. Return False if it was done before."""
        return not self._add(name, _DONE) & _DONE

    def mark_seen(self, name: str) -> IdState:
        """Record that the input contains this id. Return its previous state."""
        return _STATES[self._add(name, _SEEN) & 3]

    def count_done(self) -> int:
        """Return the number of ids whose rows are done. Takes 20 ms for a million ids."""
        if not self._count:  # as in most runs; looking at the empty buckets takes 1 ms
            return 0
        states = b"".join(bucket[HASH_BYTES::ENTRY_BYTES] for bucket in self._buckets)
        return len(states) - states.translate(_WITHOUT_SEEN).count(0)

    def forget_seen(self) -> None:
        """Forget which ids were seen. Those that are not done are unknown again."""
        for bucket in filter(None, self._buckets):
            bucket[HASH_BYTES::ENTRY_BYTES] = bucket[HASH_BYTES::ENTRY_BYTES].translate(_WITHOUT_SEEN)

    def dump(self) -> bytes:
        """Return the table as bytes, which have the same meaning on every machine."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield what `dump` returns in pieces, so that a table that no longer changes need not be copied as a whole."""
        yield struct.pack(f"<I{len(self._buckets)}I", len(self._buckets), *map(len, self._buckets))
        for start in range(0, len(self._buckets), MIN_BUCKETS):
            yield b"".join(self._buckets[start : start + MIN_BUCKETS])

    @classmethod
    def load(cls, data: bytes | memoryview) -> Self:
        """Return the table that `dump` has returned as bytes.

        Raises:
            ValueError: these are not the bytes of a table.
        """
        try:
            (buckets,) = struct.unpack_from("<I", data)
            if buckets < MIN_BUCKETS or buckets & (buckets - 1):
                raise ValueError(f"{buckets} buckets")
            sizes = struct.unpack_from(f"<{buckets}I", data, 4)
        except struct.error as error:
            raise ValueError(str(error)) from None
        ends = list(accumulate(sizes, initial=4 * (buckets + 1)))
        if ends[-1] != len(data) or any(size % ENTRY_BYTES for size in sizes):
            raise ValueError("the sizes do not match")
        return cls(buckets=[bytearray(data[start:end]) if start < end else _EMPTY for start, end in pairwise(ends)])

    def _add(self, name: str, bit: int) -> int:
        """Set a bit of the state of an id. Return the state byte as it was before."""
        digest, bucket, at = self._find(name)
        if at < 0:
            if not bucket:
                bucket = self._buckets[int.from_bytes(digest) & self._mask] = bytearray()
            bucket += digest
            bucket.append(bit)
            self._count += 1
            return 0
        before = bucket[at + HASH_BYTES]
        bucket[at + HASH_BYTES] = before | bit
        return before

    def _find(self, name: str) -> tuple[bytes, bytearray, int]:
        """Return the hash of an id, its bucket, and its position there (-1 if it is missing)."""
        hashed = _HASH.copy()  # faster than a new one
        hashed.update(name.encode("utf-8", "surrogatepass"))
        digest = hashed.digest()
        bucket = self._buckets[int.from_bytes(digest) & self._mask]
        at = bucket.rfind(digest)  # faster than `find` in a full bucket
        while at > 0 and at % ENTRY_BYTES:  # a match across two entries
            at = bucket.rfind(digest, 0, at + HASH_BYTES - 1)
        return digest, bucket, at
