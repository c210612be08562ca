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


class Known(enum.IntEnum):
    """What an `IdTable` knows of an id."""

    NOT = 0
    DONE = 1
    """Finished by an earlier run, not met yet in this one."""
    MET = 2
    """Met in the source by this run."""


class IdTable:
    """Which ids are done, and which have been met. About 27 bytes an id.

    An open-addressing table of 12-byte cells: 95 bits of hash and one bit that tells DONE from MET. With
    ten million ids the chance that any two collide is below 1e-14. A Python set of strings takes 130 bytes
    an id, which for a million rows is more than all the rest of the process.
    """

    __slots__ = ("_cells", "_count", "_mask")

    def __init__(self, expected: int = 0) -> None:
        """`expected`: how many ids will come, if that is known; saves growing (a second's pause at a million)."""
        places = 1024
        while places * 2 < expected * 3:
            places *= 2
        self._mask = places - 1
        self._cells = bytearray(12 * places)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<IdTable {self._count} ids>"

    def look(self, name: str) -> Known:
        """What is known of this id."""
        at = self._find(_hash(name))
        mark = self._cells[at + 11]
        return Known.NOT if mark == 0 else Known.MET if mark & 1 else Known.DONE

    def add_done(self, name: str) -> bool:
        """Note that an earlier run finished this id; False if that was known."""
        cell = _hash(name)
        at = self._find(cell)
        if self._cells[at + 11]:
            return False
        self._put(at, cell)
        return True

    def meet(self, name: str) -> Known:
        """Note that the source holds this id; return what was known of it before."""
        cell = _hash(name)
        at = self._find(cell)
        mark = self._cells[at + 11]
        if mark & 1:
            return Known.MET
        self._put(at, cell[:11] + bytes((cell[11] | 1,)), new=mark == 0)
        return Known.DONE if mark else Known.NOT

    def _find(self, cell: bytes) -> int:
        """Where the cell is, or the free place where it belongs."""
        cells, mask = self._cells, self._mask
        at = int.from_bytes(cell[:6], "little") & mask
        while cells[at * 12 + 11]:
            here = at * 12
            if cells[here : here + 11] == cell[:11] and cells[here + 11] & 0xFE == cell[11]:
                return here
            at = (at + 1) & mask
        return at * 12

    def _put(self, at: int, cell: bytes, new: bool = True) -> None:
        self._cells[at : at + 12] = cell
        if new:
            self._count += 1
            if self._count * 3 > self._mask * 2:
                self._grow()

    def _grow(self) -> None:
        old = self._cells
        self._mask = self._mask * 2 + 1
        self._cells = bytearray(12 * (self._mask + 1))
        for start in range(0, len(old), 12):
            if old[start + 11]:
                cell = bytes(old[start : start + 12])
                at = self._find(cell[:11] + bytes((cell[11] & 0xFE,)))
                self._cells[at : at + 12] = cell


def _hash(name: str) -> bytes:
    """12 bytes whose last one is even (room for the mark) and never zero (zero means: free)."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).digest()
    return digest[:11] + bytes(((digest[11] & 0xFE) or 0x80,))
