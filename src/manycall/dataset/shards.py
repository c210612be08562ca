"""The files of one dataset: their names, and their replacement all at once."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.store.atomic_write import naming_target, storage_errors, temporary_path


def shard_paths(path: Path, rows: int, shard_rows: int | None) -> list[Path]:
    """Return the file names in the hub's pattern, such as data-00000-of-00010.parquet.

    Raises:
        UsageError: `shard_rows` is below 1, or there would be more than 99,999 files.
    """
    if shard_rows is None:
        return [path]
    if shard_rows < 1:
        raise UsageError(f"{option('shard_rows')} must be at least 1, got {shard_rows}.")
    count = max(1, -(-rows // shard_rows))
    if count > 99_999:
        raise UsageError(
            f"{option('shard_rows', shard_rows)} would write {count:,} files, more than 99,999. Use more rows per file."
        )
    return [path.with_name(f"{path.stem}-{n:05}-of-{count:05}{path.suffix}") for n in range(count)]


def check_no_stale_shards(out: Path, paths: list[Path]) -> None:
    """Refuse to write next to files of an earlier export, which a loader would read together with the new files.

    Raises:
        UsageError: There is such a file. It is not removed, because it may still be needed.
    """
    shard = re.compile(re.escape(out.stem) + r"-\d{5}-of-\d{5}" + re.escape(out.suffix))
    for other in sorted({*out.parent.iterdir()} - {*paths}):
        if other == out or shard.fullmatch(other.name):
            raise UsageError(f"{other} would be loaded together with the new files. Move it, or use another name.")


@contextmanager
def replace_all(paths: list[Path]) -> Iterator[list[Path]]:
    """Yield temporary paths to write to, and rename them to `paths` when all are written.

    An incomplete dataset would look like a complete one. After an error, the temporary files are removed and the
    existing files are kept.

    Raises:
        StorageError: a file cannot be replaced.
    """
    temporary_paths = [temporary_path(path) for path in paths]
    try:
        yield temporary_paths
        for temporary, path in zip(temporary_paths, paths, strict=True):
            with storage_errors(path), naming_target(path):
                temporary.replace(path)
    except BaseException:
        for temporary in temporary_paths:
            temporary.unlink(missing_ok=True)
            temporary_path(temporary).unlink(missing_ok=True)  # the one of replace_file
        raise
