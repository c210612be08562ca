"""Jobs: what is done with rows. run/session.py runs them.

The packages above (`evals`, `judging`, `synth`, `batch`) build jobs. `python_api/dispatch.py` runs them.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from manycall.client.body_adapter import dropped_names
from manycall.client.pool_names import ONE_POOL, PoolNames
from manycall.data.row_files import READERS
from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.parameter_lesson import with_defaults
from manycall.records import Fields
from manycall.run.options import RunOptions
from manycall.run.row_blocks import BlockSize
from manycall.run.run_result import RunResult
from manycall.run.scheduler import RowFunction
from manycall.store.earlier_journal import earlier_settings
from manycall.store.row_layout import PlainLayout, RowLayout
from manycall.store.row_parts import PartsLayout

R = TypeVar("R")
_encode = msgspec.json.Encoder().encode
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


class Job(msgspec.Struct, Generic[R], frozen=True, kw_only=True):
    """What is done with rows, and what the finished run is turned into.

    Attributes:
        name: shown in the status line and in the result.
        settings: everything that changes an answer, besides the model and the parameters.
        source: the rows.
        process_row: what is done with a row.
        finish: makes the job's own result of the run; may read the output.
        params: the job's own parameters of every call; the user's parameters override them.
        status_note: an addition to the status line.
        output_fields: the fields that are added to a row. A row that already has one of them fails.
        may_cancel: `process_row` may cancel its calls (wait_for, a TaskGroup that fails). Calls that were sent are
        kept.
        finish_reason_field: the last output field, which holds the finish reason; "" if there is none.
        other_finish_reasons: names of finish reasons elsewhere in the output.
        layout: the lines of the output, if they are not the row's fields with the output fields added.
        rows_may_split: a row may become several output rows (`process_row` returns a list).
        block_size: how rows are grouped, if `process_row` gets blocks of rows.
        keeps_rows_apart: the rows are in rows.jsonl in the run folder, and `finish` makes the output from them.
        takes_choices: a call may have several answers (the parameter `n`), which the job writes all.
        counts: counted by the job itself, for the result.
        answer_key: the simulated endpoint's answer key.
        endpoints: the names of endpoints that its calls use; None if they may use any.
    """

    name: str
    settings: dict[str, Any]
    source: RowSource
    process_row: RowFunction
    finish: Callable[[RunResult], R]
    params: dict[str, Any] = {}
    status_note: Callable[[], str] = str
    output_fields: tuple[str, ...] = ()
    may_cancel: bool = False
    finish_reason_field: str = ""
    other_finish_reasons: tuple[str, ...] = ()
    layout: RowLayout | None = None
    rows_may_split: bool = False
    block_size: BlockSize | None = None
    keeps_rows_apart: bool = False
    takes_choices: bool = False
    counts: dict[str, int] = {}
    answer_key: str = ""
    endpoints: tuple[str, ...] | None = ()

    @property
    def truncation_marks(self) -> tuple[bytes, ...]:
        """Bytes of which the lines of a truncated row have one. In a text, their quotes would be escaped."""
        if self.finish_reason_field:
            return (_encode(self.finish_reason_field) + b':"length"}\n',)
        return tuple(_encode(name) + b':"length"' for name in self.other_finish_reasons)

    @property
    def line_layout(self) -> RowLayout:
        """The lines of the output."""
        return self.layout or (PartsLayout() if self.rows_may_split else PlainLayout())


def check_out_path(job: Job[Any], options: RunOptions) -> Path:
    """Return the output's path.

    Raises:
        UsageError: it is not a file or ends with a slash, has the suffix of another format, is the input, or a row
            already has an output field.
    """
    out, source = Path(options.out), job.source
    names_folder = os.fspath(options.out).endswith(_SEPARATORS)
    if names_folder or not out.name or str(out) == "-" or (out.exists() and not out.is_file()):
        raise UsageError(f"{option('out', os.fspath(options.out))} is not the name of a file")
    # A program that reads the output would take it for such a file.
    if not job.keeps_rows_apart and out.suffix.lower() in READERS:
        raise UsageError(
            f"{option('out', str(out))}: the output is JSON lines. Name it {out.stem}.jsonl; `manycall export` "
            f"writes it as {out.suffix} when it is finished."
        )
    if source.path is not None and source.path.resolve() == out.resolve():
        raise UsageError(f"{out} cannot be the rows and the output at once")
    if clash := set(job.output_fields) & (source.first_row or {}).keys():
        raise UsageError(
            f"{source.name} already has a field {min(clash)!r}, which is an output field. Rename it, or choose another "
            f"output field with {option('output_field')} (output_field in a step)."
        )
    return out


def read_earlier_settings(options: RunOptions) -> list[Fields]:
    """Return the settings with which the calls in the job's journal were made, the latest first; [] without one."""
    return earlier_settings(Path(options.out), None if options.from_ is None else Path(options.from_))


def check_from(options: RunOptions) -> None:
    """Check that `from_` can be combined with the other options.

    Raises:
        UsageError: it cannot.
    """
    if options.from_ is None:
        return
    if options.retry is not None:
        raise UsageError(f"{option('from_')} and {option('retry')} cannot be combined. Use them in turn.")
    if options.overwrite and decides_in_place(options):
        raise UsageError(f"{option('overwrite', True)} would move {options.out} away. Omit it: see {option('from_')}.")


def decides_in_place(options: RunOptions) -> bool:
    """Return whether all rows of the output are decided again and replace the old ones."""
    return options.from_ is not None and Path(options.from_).resolve() == Path(options.out).resolve()


def check_retry(job: Job[Any], options: RunOptions) -> None:
    """Check that truncated rows of the job can be asked for again.

    Raises:
        UsageError: the output does not show which of its rows are truncated.
    """
    if options.retry and not job.finish_reason_field:
        raise UsageError(
            f"{option('retry', options.retry)} needs one answer per row with its finish reason, which the output of "
            f"this {job.name} does not have."
        )


def check_pools(job: Job[Any], pools: PoolNames) -> None:
    """Check that a client has the endpoints that the job names.

    Raises:
        UsageError: one of them is unknown.
    """
    for name in job.endpoints or ():
        pools.find(name, "")


def job_params(job: Job[Any], options: RunOptions) -> dict[str, Any]:
    """Return the parameters of the job's calls: the job's own, overridden by the user's.

    Raises:
        UsageError: `n`, if the job keeps only the first answer to a call.
    """
    params = with_defaults(options.params or {}, job.params)
    for name in ("temperature", "max_tokens"):
        if (value := getattr(options, name)) is not None:
            params[name] = value
    if not job.takes_choices:
        refuse_choices(params)
    return params


def refuse_choices(params: Mapping[str, Any]) -> None:
    """Refuse several answers to one call, where only the first would be kept.

    Raises:
        UsageError: `n` is not 1.
    """
    if params.get("n", 1) != 1:
        raise UsageError(
            f"The parameter n is not supported here, because only the first answer to a call is kept. Use "
            f"{option('samples')} for several samples."
        )


def job_settings(job: Job[Any], options: RunOptions, pools: PoolNames = ONE_POOL) -> dict[str, Any]:
    """Return everything that changes an answer. A run with other settings cannot resume the output.

    Args:
        pools: the pools that the job's calls may name.
    """
    settings = {**job.settings, "model": options.model, "params": job_params(job, options)}
    if job.endpoints:
        settings["endpoints"] = {name: pools.find(name, options.model)[1] for name in job.endpoints}
    if drop := dropped_names(options.drop):
        settings["drop"] = sorted({*drop})
    if options.thinking is not None:
        settings["thinking"] = str(options.thinking).strip().lower()
    return settings
