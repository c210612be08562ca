"""The rows of an output in the order of the input, though they finished in another."""

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from manycall.data.sources import Source
from manycall.errors import UsageError
from manycall.store.output import Output

HASH, OFFSET = 8, 6
"""Bytes. Offsets reach to 281 TB; of ten million ids, any two collide with a chance of 3e-6."""
LINES = 1 << 16


class Places:
    """Where each id stands in a file: 14 bytes an id, which stand in many lines; its hash says in which."""

    def __init__(self) -> None:
        self._lines = [bytearray() for _ in range(LINES)]

    def __repr__(self) -> str:
        return f"<Places of {sum(map(len, self._lines)) // (HASH + OFFSET)} ids>"

    def put(self, name: str, offset: int) -> None:
        """Note that it stands there."""
        cell, line = self._find(name)
        line += cell + offset.to_bytes(OFFSET)

    def look(self, name: str) -> int | None:
        """Where it stands; None if it is not there."""
        return self._get(name, forget=False)

    def take(self, name: str) -> int | None:
        """The same, and forget it."""
        return self._get(name, forget=True)

    def _get(self, name: str, *, forget: bool) -> int | None:
        cell, line = self._find(name)
        for at in range(0, len(line), HASH + OFFSET):
            if line.startswith(cell, at):
                end = at + HASH + OFFSET
                offset = int.from_bytes(line[at + HASH : end])
                if forget:
                    del line[at:end]
                return offset
        return None

    def left(self) -> list[int]:
        """The offsets of those that nobody took, in the order of the file."""
        cells = HASH + OFFSET
        return sorted(
            int.from_bytes(line[at + HASH : at + cells]) for line in self._lines for at in range(0, len(line), cells)
        )

    def _find(self, name: str) -> tuple[bytes, bytearray]:
        cell = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=HASH).digest()
        return cell, self._lines[int.from_bytes(cell[:2])]


_PART = re.compile(r"/\d+$")
_CROSSED = re.compile(r":[0-9a-f]{16}(?=(#\d+)?$)")
"""What a name has besides that of its row in the input."""


def in_order(output: Output) -> Iterator[int]:
    """The offsets of the rows in the order of the input; those that are in it no more come last. Rows that one row of
    the input was crossed into, or has become, follow one another as they stand in the output.

    Raises:
        UsageError: the rows did not come from a file, it is not there any more, or it has none of them by its id.
    """
    is_parted = "parse" in output.identity or output.identity.get("schema", {}).get("type") == "array"
    for is_crossed in (False, True):  # all rows are, or none; the manifest does not say
        places, found = Places(), False
        for name, offset in output.places():
            row = _PART.sub("", name) if is_parted else name
            places.put(_CROSSED.sub("", row) if is_crossed else row, offset)
        for name in _ids(output):
            while (at := places.take(name)) is not None:
                found = True
                yield at
        left = places.left()
        if found or not left:
            yield from left
            return
    raise UsageError(
        f"{output.path}: none of its ids stands in the input, so nobody knows their order "
        "(crossed rows have such ids if the rows of the input have no ids of their own)"
    )


def _ids(output: Output) -> Iterable[str]:
    source = output.made_by().source
    if source.get("is_file"):
        path, samples = Path(source["rows"]), source.get("samples")
        return Source(path, samples=samples, id_field=source.get("id_field")).ids()
    if source.get("rows") == "the prompt alone":
        return map(str, range(source["count"]))
    raise UsageError(f"{output.path}: its rows did not come from a file, so nobody knows their order")
