"""Input rows that were split into several output rows: `7/0`, `7/1`, `7/2`, each with `"parts":3`.

The parts of a row are written with one write, but a power cut may keep some of them and lose others. So each part
contains their number: row 7 is done when all of its parts are in the output. The parts of an incomplete row are moved
to `<output>.torn`, and the row is done again from the journal.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from manycall.ids import HasId
from manycall.records import DECODE_ERRORS
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import REAL_DISK, Disk
from manycall.store.jsonl import corrupt_file, decode_lines, read_lines

PARTS = "parts"
_LIKE_A_PART = re.compile(r"/\d+$")


class _Part(HasId):
    parts: int | None = None


_decode = msgspec.json.Decoder(_Part).decode


def part_id(row_id: str, number: int) -> str:
    """Return the id of one part of a row."""
    return f"{row_id}/{number}"


def looks_like_part(row_id: str) -> bool:
    """Return whether a row id ends like that of a part. Such a row is written as a part even if it was not split."""
    return _LIKE_A_PART.search(row_id) is not None


def complete_rows(path: Path, disk: Disk = REAL_DISK) -> Iterator[tuple[int, str, int]]:
    """Yield (offset, id, number of parts) for each input row that is complete in an output. Then move the parts of the
    incomplete rows to `<output>.torn`, which replaces the output file.

    Raises:
        CorruptFile: a line cannot be decoded, or a part occurs twice.
    """
    parts_seen: dict[str, set[str]] = {}
    for offset, _, part in decode_lines(path, _decode, path, disk):
        name = str(part.id)
        if part.parts is None or not looks_like_part(name):
            yield offset, name, 1
            continue
        row = name.rpartition("/")[0]
        parts = parts_seen.setdefault(row, set())
        if name in parts:
            raise corrupt_file(path, offset, f"duplicate id {name!r}", path)
        parts.add(name)
        if len(parts) == part.parts:
            yield offset, row, part.parts
            del parts_seen[row]
    if parts_seen:
        _quarantine_parts(path, set().union(*parts_seen.values()), disk)


def input_row_ids(path: Path) -> Iterator[str]:
    """Yield the id of the input row of each line in a file; the id of a split row is yielded once per part."""
    for _, line in read_lines(path):
        with suppress(*DECODE_ERRORS):  # the run reports damaged lines
            part = _decode(line)
            name = str(part.id)
            yield name.rpartition("/")[0] if part.parts is not None and looks_like_part(name) else name


def _quarantine_parts(path: Path, names: set[str], disk: Disk) -> None:
    """Move the lines with these ids to `<name>.torn`."""
    aside = AppendLog(path.with_name(path.name + ".torn"), disk)
    for _, line in read_lines(path, disk):
        if str(_decode(line).id) in names:
            aside.append(line)
    aside.close()
    replace_file(path, (line for _, line in read_lines(path, disk) if str(_decode(line).id) not in names), disk)
