"""The rows of a job, with what the last session of the same output knew of them."""

from collections.abc import Callable
from pathlib import Path

from manycall.data.input_record import EarlierInput, read_record
from manycall.data.row_input import RowsLike
from manycall.data.row_source import FieldSampler, RowSource
from manycall.data.variables import VariableGrid
from manycall.errors import StorageError
from manycall.records import Fields
from manycall.run.job import decides_in_place
from manycall.run.options import RunOptions
from manycall.store.manifest import Manifest
from manycall.store.paths import run_folder_path
from manycall.store.resume_cache import ResumeCache


def open_rows(
    rows: RowsLike,
    options: RunOptions,
    *,
    samples: int | None = None,
    grid: VariableGrid | None = None,
    sampler: FieldSampler | None = None,
    check: Callable[[Fields], object] | None = None,
) -> RowSource:
    """Return the rows of a job.

    Args:
        rows, samples, grid, sampler, check: see `RowSource`.

    Raises:
        UsageError: the rows cannot be used.
    """
    return RowSource(
        rows, samples=samples, id_field=options.id_field, limit=options.limit, grid=grid, sampler=sampler,
        check=check,
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


def files_folder(rows: RowsLike) -> Path:
    """Return the folder where the relative paths in rows begin: that of their file, or the current one.

    The rows of an output have the paths of its input, so the folder is that of the input, if it is still there.
    """
    if not isinstance(rows, str | Path):
        return Path()
    path, seen = Path(rows), set[Path]()
    while path.name and path not in seen:
        seen.add(path)
        source = _source_of(path)
        if source is not None and source.is_file():
            path = source
    return path.parent


def _source_of(output: Path) -> Path | None:
    """Return the input of an output; None if there is none, or its manifest cannot be read."""
    try:
        manifest = Manifest.load(run_folder_path(output) / "manifest.json")
    except StorageError:
        return None
    if manifest is None or not manifest.source.get("is_file"):
        return None
    return Path(str(manifest.source.get("input", "")))
