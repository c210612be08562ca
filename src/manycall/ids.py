"""Row ids, and a compact set of known ids.

The id of a row is its field `id` (or `custom_id`, or the field given by the user); otherwise a hash of its content, so
that inserting or reordering rows never invalidates finished work.
"""

import enum
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from manycall.option_flags import option

ID_FIELDS = ("id", "custom_id")
_canonical = msgspec.json.Encoder(order="deterministic")


def explicit_id(fields: Mapping[str, Any], id_field: str | None) -> str | None:
    """Return the row's own id as text; None if the row has no id field.

    Raises:
        ValueError: the value of the id field is not a valid id, or the row lacks the field `id_field`.
    """
    value = fields.get(id_field or "id")
    if isinstance(value, str) and value:  # the usual case
        return value
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
    """Finished by an earlier run and not yet seen in the input of this run."""
    SEEN = 2
    """Seen in the input of this run."""


class IdTable:
    """A compact table of ids and their states. It takes about 15 bytes per id.

    The table stores 88-bit hashes, each followed by a state byte (DONE or SEEN), in thousands of byte strings
    (buckets). The hash selects the bucket. With ten million ids, the probability of any collision is below 1e-12. A
    Python set of strings takes 130 bytes per id, which for a million rows is more than the rest of the process.
    """

    __slots__ = ("_buckets", "_count", "_mask")

    def __init__(self, expected: int = 0) -> None:
        """Create a table. `expected`: the number of ids, if known; it avoids searches in long buckets."""
        buckets = MIN_BUCKETS
        while buckets * IDS_PER_BUCKET < expected:
            buckets *= 2
        self._buckets = [bytearray() for _ in range(buckets)]
        self._mask = buckets - 1
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<IdTable {self._count} ids>"

    def state(self, name: str) -> IdState:
        """Return the state of an id."""
        if not self._count:
            return IdState.UNKNOWN
        _, bucket, at = self._find(name)
        return IdState.UNKNOWN if at < 0 else IdState.SEEN if bucket[at + HASH_BYTES] else IdState.DONE

    def add_done(self, name: str) -> bool:
        """Record that an earlier run finished this id. Return False if the id was known."""
        digest, bucket, at = self._find(name)
        if at >= 0:
            return False
        bucket += digest + b"\0"
        self._count += 1
        return True

    def mark_seen(self, name: str) -> IdState:
        """Record that the input contains this id. Return its previous state."""
        digest, bucket, at = self._find(name)
        if at < 0:
            bucket += digest + b"\1"
            self._count += 1
            return IdState.UNKNOWN
        if bucket[at + HASH_BYTES]:
            return IdState.SEEN
        bucket[at + HASH_BYTES] = 1
        return IdState.DONE

    def _find(self, name: str) -> tuple[bytes, bytearray, int]:
        """Return the hash of an id, its bucket, and its position there (-1 if it is missing)."""
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
        bucket = self._buckets[hash(digest) & self._mask]
        at = bucket.find(digest)
        while at > 0 and at % (HASH_BYTES + 1):  # a match across two entries
            at = bucket.find(digest, at + 1)
        return digest, bucket, at


HASH_BYTES = 11
"""Length of a hash. One more byte per entry holds the state."""
MIN_BUCKETS, IDS_PER_BUCKET = 4096, 32
"""A search in a bucket of 32 ids takes negligible time. With a million ids in 4096 buckets it takes 0.2 µs."""
