"""Jobs, and one session of a job: source → RunFolder → CallClient → Scheduler → RunResult.

The packages above (`evals`, `judging`, `synth`, `batch`) build jobs. `python_api/dispatch.py` runs them.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from manycall import clock
from manycall._version import __version__
from manycall.client.call_client import CallClient
from manycall.data.row_source import RowSource
from manycall.errors import Interrupted, ManycallError, RunStopped, StorageError, UsageError
from manycall.option_flags import option
from manycall.records import Usage
from manycall.run.dry_run import dry_run
from manycall.run.options import RunOptions
from manycall.run.run_result import RunResult
from manycall.run.scheduler import ResultListener, RowFunction, Scheduler
from manycall.run.signals import Interrupts
from manycall.run.spending_limits import Spending, SpendingLimits, parse_spending_limits
from manycall.run.status_line import StatusLine
from manycall.run.ticker import client_status, obeying, run_ticker
from manycall.sim import process
from manycall.store.batch_layout import OutputLayout
from manycall.store.manifest import NOT_FINISHED, Manifest
from manycall.store.run_folder import RunFolder

R = TypeVar("R")


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
        layout: the lines of the output, if they are not the row's fields with the output fields added.
        rows_may_split: a row may become several output rows (`process_row` returns a list).
        counts: counted by the job itself, for the result.
        answer_key: the simulated endpoint's answer key.
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
    layout: OutputLayout | None = None
    rows_may_split: bool = False
    counts: dict[str, int] = {}
    answer_key: str = ""

    @property
    def truncated_suffix(self) -> bytes | None:
        """How the line of a truncated row ends."""
        return msgspec.json.encode(self.finish_reason_field) + b':"length"}\n' if self.finish_reason_field else None


async def run_job(job: Job[Any], options: RunOptions, interrupts: Interrupts) -> RunResult:
    """Run a job with a client of its own. The first Ctrl-C stops it, the second one aborts it.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, a limit was reached, or the run was interrupted.
        StorageError: the files cannot be read or written.
    """
    if options.dry_run:
        return await _rehearse(job, options)
    check_out_path(job, options)
    _limits(options)
    client = _own_client(job, options)
    session = JobSession(job, options, client)
    with session.recorded():
        async with client:
            await session.run(interrupts=interrupts)
    return session.result()


async def run_shared(
    job: Job[Any], options: RunOptions, client: CallClient, listener: ResultListener | None, session: "SessionHandle"
) -> RunResult:
    """Run a job on a client that is open already and may serve other jobs too. Signals are left to the caller."""
    if options.dry_run:
        return await _rehearse(job, options)
    session.raise_if_stopped()
    running = JobSession(job, options, client)
    session.attach(running)
    with running.recorded():
        await running.run(listener)
    return running.result()


class SessionHandle:
    """Stops a session, also before it has begun."""

    def __init__(self) -> None:
        self._session: JobSession | None = None
        self._reason: Interrupted | None = None

    def attach(self, session: "JobSession") -> None:
        """Connect the handle with the session that it stops."""
        self._session = session

    def raise_if_stopped(self) -> None:
        """Raise the reason, if the session was stopped before it began."""
        if self._reason is not None:
            raise self._reason

    def stop(self, reason: Interrupted) -> None:
        """Start no new call; calls in flight finish."""
        self._reason = reason
        if self._session is not None:
            self._session.stop(reason)

    def cancel(self, reason: Interrupted) -> None:
        """Abort calls in flight too."""
        self._reason = reason
        if self._session is not None:
            self._session.cancel(reason)


class JobSession:
    """One session of a job: its output files, its scheduler, and its result.

    Raises:
        UsageError: an option that cannot be used.
        StorageError: the output cannot be opened.
    """

    def __init__(self, job: Job[Any], options: RunOptions, client: CallClient) -> None:
        self.job, self.options, self.client = job, options, client
        self._limits = _limits(options)
        client.finish_cancelled_calls = job.may_cancel
        settings = {**job.settings, "model": options.model, "params": job_params(job, options)}
        self.folder = RunFolder(
            check_out_path(job, options), Manifest(__version__, settings, job.source.manifest_entry),
            overwrite=options.overwrite, expected=job.source.total, truncated_suffix=job.truncated_suffix,
            layout=job.layout, rows_may_split=job.rows_may_split,
        )  # fmt: skip
        self._done_before = len(self.folder.ids) - self.folder.rejected
        client.counters.had_success |= len(self.folder.ids) > 0 or bool(self.folder.failures.failed_before)
        self._bound_before = client.pool.cpu_load.bound_seconds
        self._scheduler = Scheduler(
            client, self.folder, job.process_row, job.output_fields,
            total=None if job.source.total is None else job.source.total - len(self.folder.ids),
            may_be_many=job.rows_may_split,
        )  # fmt: skip
        self._spending = Spending(self._limits.price, None, Usage())
        self._seconds = 0.0

    def stop(self, reason: Interrupted) -> None:
        """Start no new call; calls in flight finish."""
        self._scheduler.stop(reason)

    def cancel(self, reason: Interrupted) -> None:
        """Abort calls in flight too. Completed calls are in the journal."""
        self._scheduler.cancel(reason)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record in the manifest how the session ends, and close the files."""
        client, folder = self.client, self.folder
        record: dict[str, Any] = {
            "started": clock.wall_time(), "ending": NOT_FINISHED, "seconds": 0.0, "version": __version__,
            "endpoints": client.pool.endpoint_names, "price": self._limits.price,
        }  # fmt: skip
        try:
            folder.start_session(record)
            self._spending = self._limits.spending(folder.journal)
            client.permits.budget = self._spending.budget
            yield
            record["seconds"] = self._seconds
        except BaseException as error:
            record["ending"] = str(error) or repr(error)
            if isinstance(error, RunStopped):
                error.rows_done = self._done_before + client.counters.done
            try:
                self._close(record)
            except StorageError as second:  # report the first error, then this one
                if not isinstance(error, ManycallError):
                    raise
                if str(second) != str(error):
                    error.args = (f"{str(error).removesuffix('.')}. {second}",)
            raise
        record["ending"] = "finished"
        self._close(record)

    def _close(self, record: dict[str, Any]) -> None:
        record.update(ended=clock.wall_time(), **msgspec.structs.asdict(self.client.counters))
        self.folder.close()

    async def run(self, listener: ResultListener | None = None, interrupts: Interrupts | None = None) -> None:
        """Process all rows. Ctrl-C and SIGTERM end the run if `interrupts` receives them."""
        scheduler, began = self._scheduler, clock.now()
        scheduler.listener = listener
        progress = StatusLine(
            self.job.name,
            self.client.counters,
            total=self.job.source.total,
            before=len(self.folder.ids),
            rejected=self.folder.rejected,
            truncated=self.folder.truncated,
            load=lambda now: client_status(self.client, now),
            note=self.job.status_note,
            stream=sys.stderr if self.options.progress else None,
        )
        handled = nullcontext() if interrupts is None else obeying(interrupts, scheduler)
        with handled, self._limits.time_limit(scheduler):
            async with run_ticker(scheduler, progress, self.folder, self.client):
                await scheduler.run(self.job.source.pending_rows(self.folder.ids))
        self.job.source.must_be_unchanged()
        self._seconds = clock.now() - began
        self.folder.ended = True

    def result(self) -> RunResult:
        """Return the result of the finished session."""
        job, folder, client, c = self.job, self.folder, self.client, self.client.counters
        return RunResult(
            name=job.name, out=folder.out, total_rows=job.source.total, done=self._done_before + c.done,
            failed=c.failed, rejected=folder.rejected,
            output_rows=folder.output_rows if job.rows_may_split else None, counts=job.counts,
            failure_counts=c.failure_counts, truncated=folder.truncated + c.truncated, calls=c.calls,
            replayed=c.replayed, retries=c.retries, http_429=c.http_429, possibly_billed=c.possibly_billed,
            invalid_responses=c.invalid_responses, seconds=self._seconds,
            client_bound_seconds=client.pool.cpu_load.bound_seconds - self._bound_before,
            client_bound_detail=client.pool.cpu_load.worst, top_errors=folder.failures.error_counts.most_common(3),
            sim=client.pool.sims[0].stats if client.pool.sims else None,
            **self._spending.cost_figures(c),
        )  # fmt: skip


def _own_client(job: Job[Any], options: RunOptions) -> CallClient:
    given = options.base_url
    urls = [given] if isinstance(given, str) else list(given or ())
    if (
        job.answer_key
    ):  # the simulated endpoint gets the answers, so that it can answer correctly, or wrongly, on purpose
        urls = [process.with_option(url, "answer_key", job.answer_key) if process.is_sim(url) else url for url in urls]
    return CallClient(
        options.model, base_url=urls, api_key=options.api_key, plain_http=options.plain_http,
        concurrency=options.concurrency, timeout=options.timeout, params=job_params(job, options),
    )  # fmt: skip


async def _rehearse(job: Job[Any], options: RunOptions) -> RunResult:
    out, params = check_out_path(job, options), job_params(job, options)
    price = _limits(options).price
    return await dry_run(job.name, job.process_row, job.source, out, options.model, params, price, options.concurrency)


def _limits(options: RunOptions) -> SpendingLimits:
    return parse_spending_limits(options.max_total_tokens, options.max_cost, options.price, options.max_time)


def check_out_path(job: Job[Any], options: RunOptions) -> Path:
    """Return the output's path.

    Raises:
        UsageError: it is not a file, it is the input, or a row already has an output field.
    """
    out, source = Path(options.out), job.source
    if not out.name or str(out) == "-" or (out.exists() and not out.is_file()):
        raise UsageError(f"{option('out', str(out))} is not the name of a file")
    if source.path is not None and source.path.resolve() == out.resolve():
        raise UsageError(f"{out} cannot be the rows and the output at once")
    if clash := set(job.output_fields) & (source.first_row or {}).keys():
        raise UsageError(
            f"{source.name} already has a field {min(clash)!r}, which is an output field. Rename it, or choose another "
            f"output field with {option('output_field')} (output_field in a step)."
        )
    return out


def job_params(job: Job[Any], options: RunOptions) -> dict[str, Any]:
    """Return the parameters of the job's calls: the job's own, overridden by the user's.

    Raises:
        UsageError: `n`, of which only the first choice would be kept.
    """
    params = {**job.params, **(options.params or {})}
    for name in ("temperature", "max_tokens"):
        if (value := getattr(options, name)) is not None:
            params[name] = value
    if params.get("n", 1) != 1:
        raise UsageError(
            "The parameter n is not supported, because only the first choice is kept. "
            f"Use {option('samples')} for several samples."
        )
    return params
