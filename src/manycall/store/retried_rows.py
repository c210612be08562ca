"""Rows that are asked for again although they are in the output (`retry`).

While such a session runs, the output keeps the old rows and every row that finishes is written to retried.jsonl in the
run folder. At the end of the session, the output is replaced atomically by one with the new rows. If the session was
killed, the next one does this first. So at any time each id is in the output once, with its old or its new row.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from manycall.errors import UsageError
from manycall.ids import decode_row_id
from manycall.option_flags import option
from manycall.store.append_log import AppendLog
from manycall.store.atomic_write import replace_file
from manycall.store.disk import Disk
from manycall.store.jsonl import decode_lines
from manycall.store.manifest import Manifest
from manycall.store.paths import run_folder_path
from manycall.store.resume_cache import CACHE

RETRIED = "retried.jsonl"
MAX_TOKENS_PARAMS = ("max_completion_tokens", "max_tokens")
"""Parameters that may change when truncated rows are asked for again."""


def merge_retried(out: Path, manifest: Manifest, disk: Disk) -> int:
    """Replace the rows of an output by those in retried.jsonl, add the others, and remove that file. May be repeated.

    The manifest gets their number in its last session that asked for truncated rows again.

    Returns:
        The number of rows in retried.jsonl.

    Raises:
        CorruptFile: a line cannot be decoded.
    """
    folder = run_folder_path(out)
    path = folder / RETRIED
    if not disk.exists(path):
        return 0
    disk.remove(folder / CACHE)  # its counts will be wrong
    disk.sync_folder(folder)
    retried = AppendLog(path, disk)  # repairs a torn tail
    retried.close()
    offsets = {name: offset for offset, _, name in decode_lines(path, decode_row_id, out, disk)}
    if offsets:
        retried = AppendLog(path, disk)
        try:
            replace_file(out, _merged_lines(out, retried, dict(offsets), disk), disk)
        finally:
            retried.close()
    disk.remove(path)
    session = next((each for each in reversed(manifest.sessions) if "retry" in each), None)
    if offsets and session is not None:
        session["retried"] = len(offsets)
    return len(offsets)


def _merged_lines(out: Path, retried: AppendLog, offsets: dict[str, int], disk: Disk) -> Iterator[bytes]:
    for _, line, name in decode_lines(out, decode_row_id, out, disk):
        offset = offsets.pop(name, None)
        yield line if offset is None else retried.read_at(offset) + b"\n"
    for offset in offsets.values():
        yield retried.read_at(offset) + b"\n"


def without_max_tokens(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run without its limit on the length of an answer."""
    params = {name: value for name, value in settings.get("params", {}).items() if name not in MAX_TOKENS_PARAMS}
    return {**settings, "params": params}


def max_tokens_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that limit the length of an answer."""
    params = settings.get("params", {})
    return {name: params[name] for name in MAX_TOKENS_PARAMS if name in params}


def require_larger_max_tokens(out: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Check that truncated rows are asked for with a larger limit than in the first session.

    Raises:
        UsageError: the limit is not larger. An equal request would be answered from the journal.
    """
    before, after = (next(iter(max_tokens_of(settings).values()), None) for settings in (old, new))
    if after is None or (before is not None and after <= before):
        limit = "the limit of the endpoint" if before is None else f"{before:,} tokens"
        raise UsageError(
            f"The answers in {out} were truncated at {limit}. {option('retry', 'truncated')} needs a larger "
            f"{option('max_tokens')}."
        )
