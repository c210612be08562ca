"""Row ids, and the compact set of those that are known.

A row is named by its own `id` (or `custom_id`, or the field the user names); otherwise by a hash of its
content, so that inserting or reordering rows never invalidates finished work.
"""

import enum
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

ID_FIELDS = ("id", "custom_id")
_canonical = msgspec.json.Encoder(order="deterministic")


def given_id(fields: Mapping[str, Any], id_field: str | None) -> str | None:
    """The id the row brings along, as text; None if it brings none.

    Raises:
        ValueError: the field is there (or was asked for) but holds no usable id.
    """
    value = fields.get(id_field or "id")
    if isinstance(value, str) and value:  # as nearly all are
        return value
    for name in (id_field,) if id_field else ID_FIELDS:
        if name not in fields:
            if id_field:
                raise ValueError(f"has no field {name!r}, which --id-field names")
            continue
        value = fields[name]
        if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
            raise ValueError(f"has {name!r}: {value!r:.100}; an id must be a text or a whole number")
        return str(value)
    return None


def content_id(fields: Mapping[str, Any]) -> str:
    """A name made from the row's content: equal rows have equal names, whatever the field order."""
    return blake2b(_canonical.encode(fields), digest_size=8).hexdigest()


class Named(msgspec.Struct):
    """What has a name: a line of an output, or of a file beside it."""

    id: str | int


_decode = msgspec.json.Decoder(Named).decode


def row_name(line: bytes) -> str:
    """The id of the row in a line; any of UNREADABLE if it has none."""
    return str(_decode(line).id)


class Known(enum.IntEnum):
    """What an `IdTable` knows of an id."""

    NOT = 0
    DONE = 1
    """Finished by an earlier run, not met yet in this one."""
    MET = 2
    """Met in the source by this run."""


class IdTable:
    """Which ids are done, and which have been met. About 15 bytes an id.

    Hashes of 88 bits, each with a byte that tells DONE from MET, stand in thousands of lines; the hash itself says in
    which. With ten million ids the chance that any two collide is below 1e-12. A Python set of strings
    takes 130 bytes an id, which for a million rows is more than all the rest of the process.
    """

    __slots__ = ("_count", "_lines", "_mask")

    def __init__(self, expected: int = 0) -> None:
        """`expected`: how many ids will come, if that is known; saves searching in long lines."""
        lines = FEWEST_LINES
        while lines * LONG_LINE < expected:
            lines *= 2
        self._lines = [bytearray() for _ in range(lines)]
        self._mask = lines - 1
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<IdTable {self._count} ids>"

    def look(self, name: str) -> Known:
        """What is known of this id."""
        if not self._count:
            return Known.NOT
        _, line, at = self._find(name)
        return Known.NOT if at < 0 else Known.MET if line[at + HASH] else Known.DONE

    def add_done(self, name: str) -> bool:
        """Note that an earlier run finished this id; False if that was known."""
        cell, line, at = self._find(name)
        if at >= 0:
            return False
        line += cell + b"\0"
        self._count += 1
        return True

    def meet(self, name: str) -> Known:
        """Note that the source holds this id; return what was known of it before."""
        cell, line, at = self._find(name)
        if at < 0:
            line += cell + b"\1"
            self._count += 1
            return Known.NOT
        if line[at + HASH]:
            return Known.MET
        line[at + HASH] = 1
        return Known.DONE

    def _find(self, name: str) -> tuple[bytes, bytearray, int]:
        """Its hash, the line where that belongs, and its place there; -1 if it is not there."""
        cell = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH).digest()
        line = self._lines[hash(cell) & self._mask]
        at = line.find(cell)
        while at > 0 and at % (HASH + 1):  # across two others
            at = line.find(cell, at + 1)
        return cell, line, at


HASH = 11
"""Bytes of a hash; one more tells MET from DONE."""
FEWEST_LINES, LONG_LINE = 4096, 32
"""In a line of so many ids one is found in no time; of a million in the fewest lines, in a fifth of a microsecond."""
