"""The rows of a job, with what the last session of the same output knew of them."""

from pathlib import Path

from manycall.data.input_record import EarlierInput, read_record
from manycall.data.row_input import RowsLike
from manycall.data.row_source import FieldSampler, RowSource
from manycall.data.variables import VariableGrid
from manycall.run.job import decides_in_place
from manycall.run.options import RunOptions
from manycall.store.paths import run_folder_path
from manycall.store.resume_cache import ResumeCache


def open_rows(
    rows: RowsLike,
    options: RunOptions,
    *,
    samples: int | None = None,
    grid: VariableGrid | None = None,
    sampler: FieldSampler | None = None,
) -> RowSource:
    """Return the rows of a job.

    Args:
        rows, samples, grid, sampler: see `RowSource`.

    Raises:
        UsageError: the rows cannot be used.
    """
    return RowSource(
        rows, samples=samples, id_field=options.id_field, limit=options.limit, grid=grid, sampler=sampler,
        earlier=_earlier_input(options),
    )  # fmt: skip


def _earlier_input(options: RunOptions) -> EarlierInput | None:
    """Return what the last session of the output has left about its input; None if there is nothing usable."""
    out = Path(options.out)
    if options.overwrite or not out.name or decides_in_place(options):  # the rows may have other variables
        return None
    cache = ResumeCache.load(run_folder_path(out))
    record = None if cache is None else read_record(cache.record.source)
    return None if cache is None or record is None else EarlierInput(record, cache.ids)
