"""Put the rows of an output into the order of the input."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.records import Fields
from manycall.store.offset_index import OffsetIndex
from manycall.store.output_reader import OutputReader
from manycall.store.row_parts import without_part

_GRID = re.compile(r":[0-9a-f]{16}(?=(#\d+)?$)")
"""Suffix of the id of an input row in a grid: a hash of the variables."""


def offsets_in_input_order(output: OutputReader) -> Iterator[int]:
    """Yield the offsets of the rows in the order of the input. Rows that are no longer in the input come last.

    Several output rows of one input row, from a grid or from a list in the answer, keep their order in the output.

    Raises:
        UsageError: The rows did not come from a file, the file no longer exists, or it contains none of the ids.
    """
    may_have_parts = _may_have_parts(output.settings)
    for is_grid in (False, True):  # either all rows come from a grid or none; the manifest does not record it
        row_offsets, any_found = OffsetIndex(), False
        for row_id, offset in output.row_offsets():
            input_id = without_part(row_id) if may_have_parts else row_id
            row_offsets.add(_GRID.sub("", input_id) if is_grid else input_id, offset)
        for input_id in _input_ids(output):
            while (offset_found := row_offsets.pop(input_id)) is not None:
                any_found = True
                yield offset_found
        remaining = row_offsets.remaining()
        if any_found or not remaining:
            yield from remaining
            return
    raise UsageError(
        f"{output.path}: none of its ids is in the input, so the order of the input is not known. "
        "Rows of a grid have such ids if the input rows have no ids."
    )


def _may_have_parts(settings: Fields) -> bool:
    """Return whether one input row may have become several output rows."""
    is_list = settings.get("schema", {}).get("type") == "array"
    return is_list or "parse" in settings or settings.get("params", {}).get("n", 1) != 1


def _input_ids(output: OutputReader) -> Iterable[str]:
    source = output.require_manifest().source
    if source.get("is_file"):
        path, samples = Path(source["input"]), source.get("samples")
        return RowSource(path, samples=samples, id_field=source.get("id_field")).ids()
    if source.get("input") == "the prompt alone":
        return map(str, range(source["count"]))
    raise UsageError(f"{output.path}: its rows did not come from a file, so they have no input order.")
