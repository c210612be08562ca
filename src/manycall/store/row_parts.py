"""Input rows that were split into several output rows: `7/0`, `7/1`, `7/2`, each with `"parts":3`.

Several answers to one call are `7#0`, `7#1`, `7#2`, as the samples of a row are.

The parts of a row are written with one write, but a power cut may keep some of them and lose others. So each part
contains their number: row 7 is done when all of its parts are in the output. The parts of an incomplete row are moved
to `<output>.torn`, and the row is done again from the journal.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from manycall.ids import HasId
from manycall.records import Row, RowOutput
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import Disk
from manycall.store.jsonl import corrupt_file, decode_lines, read_lines
from manycall.store.row_layout import DoneRow, row_line

PARTS = "parts"
PART_MARK, SAMPLE_MARK = "/", "#"
"""What is between the id of an input row and the number of its part, or of one of several answers to one call."""
_LIKE_A_PART = re.compile(rf"{PART_MARK}\d+$")
_PART_NUMBER = re.compile(rf"[{PART_MARK}{SAMPLE_MARK}]\d+$")


class _PartLine(HasId):
    parts: int | None = None


_decode = msgspec.json.Decoder(_PartLine).decode


class PartsLayout:
    """Lines of an output in which an input row may have several, called parts.

    Args:
        mark: what is between the id of a row and the number of a part.
    """

    keeps_lines = True

    def __init__(self, mark: str = PART_MARK) -> None:
        self._mark = mark

    def __repr__(self) -> str:
        return f"<PartsLayout {self._mark}>"

    def done_rows(self, rows: Path, out: Path, disk: Disk, start: int = 0) -> Iterator[DoneRow]:
        """Yield each input row that is complete. Then move the parts of the incomplete rows to `<file>.torn`.

        Raises:
            CorruptFile: a line cannot be decoded, or a part occurs twice.
        """
        parts_seen: dict[str, dict[str, bytes]] = {}
        for offset, line, part in decode_lines(rows, _decode, out, disk, start):
            name = str(part.id)
            if part.parts is None or not _PART_NUMBER.search(name):
                yield DoneRow(offset, line, name)
                continue
            row = without_part(name)
            parts = parts_seen.setdefault(row, {})
            if name in parts:
                raise corrupt_file(rows, offset, f"duplicate id {name!r}", out)
            parts[name] = line
            if len(parts) == part.parts:
                yield DoneRow(offset, b"".join(parts.values()), row, part.parts)
                del parts_seen[row]
        if parts_seen:
            _quarantine_parts(rows, set().union(*parts_seen.values()), disk)

    def identify(self, line: bytes) -> tuple[str, int]:
        """Return the id of the input row of a line, and the number of its parts."""
        part = _decode(line)
        name = str(part.id)
        if part.parts is None or not _PART_NUMBER.search(name):
            return name, 1
        return without_part(name), part.parts

    def is_failed(self, line: bytes, /) -> bool:
        """Return False: failed rows are only in failures.jsonl."""
        return False

    def encode(self, row: Row, result: RowOutput) -> list[bytes]:
        """Return a line for each part; one line without a part number for a row that was not split."""
        if isinstance(result, dict) and not looks_like_part(row.id):
            return [row_line(row, row.id, result)]
        results = result if isinstance(result, list) else [result]
        return [
            row_line(row, f"{row.id}{self._mark}{n}", {**each, PARTS: len(results)}) for n, each in enumerate(results)
        ]

    def append_failed(self, out: Path, failures: Path, disk: Disk) -> None:
        """Do nothing: failed rows are only in failures.jsonl."""


def looks_like_part(row_id: str) -> bool:
    """Return whether a row id ends like that of a part. Such a row is written as a part even if it was not split."""
    return _LIKE_A_PART.search(row_id) is not None


def without_part(row_id: str) -> str:
    """Return the id of the input row, for the id of a part; any other id is returned as it is."""
    return _PART_NUMBER.sub("", row_id)


def _quarantine_parts(path: Path, names: set[str], disk: Disk) -> None:
    """Move the lines with these ids to `<name>.torn`."""
    aside = AppendLog(path.with_name(path.name + ".torn"), disk)
    for _, line in read_lines(path, disk):
        if str(_decode(line).id) in names:
            aside.append(line)
    aside.close()
    replace_file(path, (line for _, line in read_lines(path, disk) if str(_decode(line).id) not in names), disk)
