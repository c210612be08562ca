"""Outputs where a row may have become many: `7/0`, `7/1`, `7/2`, each with `"parts":3`.

They are written with one write, but a power cut may keep some of them and lose others. So each says how many there
are: row 7 is done when all stand in the output. What is left of one that is not whole is moved aside, and the row is
done again from the journal.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from manycall.ids import Named
from manycall.records import UNREADABLE
from manycall.store.disk import DISK, Disk
from manycall.store.lines import LineFile, write_whole
from manycall.store.reading import corrupt, parsed, read_lines

PARTS = "parts"
_LIKE_A_PART = re.compile(r"/\d+$")


class _Part(Named):
    parts: int | None = None


_decode = msgspec.json.Decoder(_Part).decode


def part_id(row_id: str, number: int) -> str:
    """The name of one of the rows that a row became."""
    return f"{row_id}/{number}"


def must_be_parts(row_id: str) -> bool:
    """Whether this row's own name looks like that of a part, so that it is written as one even if it became one row."""
    return _LIKE_A_PART.search(row_id) is not None


def whole(path: Path, disk: Disk = DISK) -> Iterator[tuple[int, str, int]]:
    """(offset, id, how many it became) of each row of the source that is whole in an output; of the others the lines
    are taken out, and the file is another one then.

    Raises:
        StoreCorrupt: a line that cannot be read, or a part that stands there twice.
    """
    found: dict[str, set[str]] = {}
    for offset, _, part in parsed(path, _decode, path, disk):
        name = str(part.id)
        if part.parts is None or not must_be_parts(name):
            yield offset, name, 1
            continue
        row = name.rpartition("/")[0]
        parts = found.setdefault(row, set())
        if name in parts:
            raise corrupt(path, offset, f"the id {name!r} stands there twice", path)
        parts.add(name)
        if len(parts) == part.parts:
            yield offset, row, part.parts
            del found[row]
    if found:
        _take_out(path, set().union(*found.values()), disk)


def names(path: Path) -> Iterator[str]:
    """The rows of the source that have a line in a file; one that has become many comes as often."""
    for _, line in read_lines(path):
        with suppress(*UNREADABLE):  # damage is for the run to tell
            part = _decode(line)
            name = str(part.id)
            yield name.rpartition("/")[0] if part.parts is not None and must_be_parts(name) else name


def _take_out(path: Path, names: set[str], disk: Disk) -> None:
    """Move these lines to `<name>.torn`."""
    aside = LineFile(path.with_name(path.name + ".torn"), disk)
    for _, line in read_lines(path, disk):
        if str(_decode(line).id) in names:
            aside.append(line)
    aside.close()
    write_whole(path, (line for _, line in read_lines(path, disk) if str(_decode(line).id) not in names), disk)
