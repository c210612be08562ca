"""Rows of Parquet and Arrow files, converted in batches of a bounded size: a row may have an image of a megabyte."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

BATCH_ROWS, BATCH_BYTES = 1024, 8 << 20
"""Rows that are converted together, and their approximate size."""
ARROW_FILE_MAGIC = b"ARROW1"
"""The first bytes of Arrow's file format, which Feather uses. The stream format, which `datasets` uses, has none."""


def parquet_rows(file: BinaryIO) -> Iterator[Any]:
    """Yield the rows of a Parquet file."""
    from pyarrow import parquet

    with parquet.ParquetFile(file) as table:
        groups = [table.metadata.row_group(n) for n in range(table.num_row_groups)]
        rows = min((_rows_together(group.total_byte_size, group.num_rows) for group in groups), default=1)
        yield from _rows_of(table.iter_batches(batch_size=rows))


def arrow_rows(file: BinaryIO) -> Iterator[Any]:
    """Yield the rows of an Arrow file in the file format or in the stream format."""
    from pyarrow import ipc

    is_file_format = file.read(len(ARROW_FILE_MAGIC)) == ARROW_FILE_MAGIC
    file.seek(0)
    if not is_file_format:
        with ipc.open_stream(file) as stream:
            yield from _rows_of(stream)
        return
    with ipc.open_file(file) as table:
        yield from _rows_of(map(table.get_batch, range(table.num_record_batches)))


def _rows_of(batches: Iterable[Any]) -> Iterator[Any]:
    for batch in batches:
        rows = _rows_together(batch.nbytes, len(batch))
        for at in range(0, len(batch), rows):
            yield from batch.slice(at, rows).to_pylist()


def _rows_together(size: int, rows: int) -> int:
    """Return the number of rows that are converted together. `size`: bytes of `rows` rows."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(size, 1)))
