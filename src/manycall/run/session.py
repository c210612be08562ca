"""One session of a job: source → RunFolder → JobClient → Scheduler → RunResult."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall._version import __version__
from manycall.client.body_adapter import dropped_names
from manycall.client.call_client import CallClient
from manycall.client.call_counters import CallCounters
from manycall.client.job_client import JobClient
from manycall.client.pool_names import PoolNames
from manycall.client.shared_budget import SharedBudget
from manycall.data.input_record import InputRecord, read_record
from manycall.errors import EndpointMissing, ManycallError, RunStopped, SettingsMismatch, StorageError
from manycall.providers.parameter_lesson import change_sentences
from manycall.providers.price_book import PricedEndpoint
from manycall.run.call_forecast import KnownPrices
from manycall.run.dry_run import dry_run
from manycall.run.ending_workers import when_workers_ended
from manycall.run.job import (
    Job,
    check_from,
    check_out_path,
    check_pools,
    check_retry,
    job_params,
    job_settings,
)
from manycall.run.options import RunOptions
from manycall.run.parameter_log import ParameterLog
from manycall.run.rehearsal import dry_run_from_journal, explain_refusal
from manycall.run.row_client import JournalLog
from manycall.run.row_engine import LocalEngine, RowEngine
from manycall.run.row_recorder import ResultListener
from manycall.run.run_result import RunResult
from manycall.run.scheduler import Scheduler
from manycall.run.session_handle import SessionHandle
from manycall.run.signals import Interrupts
from manycall.run.spending import Spending
from manycall.run.spending_limits import SpendingLimits, parse_spending_limits
from manycall.run.status_display import StatusDisplay
from manycall.run.status_line import StatusLine
from manycall.run.ticker import obeying, run_ticker
from manycall.sim import process
from manycall.store.cache_writer import CacheWriter, SessionProgress
from manycall.store.manifest import NOT_FINISHED, Manifest
from manycall.store.retried_rows import max_tokens_of
from manycall.store.run_folder import RunFolder

MakeEngine = Callable[["JobSession"], RowEngine]
"""Returns what processes the rows of a session."""


async def run_job(
    job: Job[Any], options: RunOptions, interrupts: Interrupts, make_engine: MakeEngine | None = None
) -> RunResult:
    """Open a client and run a job on it. The first Ctrl-C stops it, the second one aborts it.

    Args:
        make_engine: returns what processes the rows; None: this process does.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, a limit was reached, or the run was interrupted.
        StorageError: the files cannot be read or written.
    """
    if options.dry_run:
        return await _rehearse(job, options)
    check_out_path(job, options)
    session_limits(options)
    client = own_client(job, options)
    session = await open_session(job, with_model(options, client), client)
    with session.recorded():
        async with client:
            await session.run(SessionHandle(), interrupts=interrupts, make_engine=make_engine)
    return session.result()


async def run_shared(
    job: Job[Any],
    options: RunOptions,
    client: CallClient,
    handle: SessionHandle,
    *,
    listener: ResultListener | None = None,
    wants_rows: Callable[[], bool] | None = None,
) -> RunResult:
    """Run a job on a client that is open already and may serve other jobs too. Signals are left to the caller.

    Args:
        handle: stops the session.
        listener: called with each result after it was written.
        wants_rows: whether another row may start; False while the results are not read fast enough.
    """
    if options.dry_run:
        return await _rehearse(job, options, client)
    handle.raise_if_stopped()
    session = await open_session(job, options, client)
    with session.recorded():
        await session.run(handle, listener=listener, wants_rows=wants_rows)
    return session.result()


async def open_session(
    job: Job[Any],
    options: RunOptions,
    client: CallClient,
    *,
    display: StatusDisplay | None = None,
    budget: SharedBudget | None = None,
) -> "JobSession":
    """Open the files of a session. See `JobSession` for the arguments.

    Raises:
        SettingsMismatch: the output was created with other settings. The message says how many new calls they need.
        SegmentInUse: workers of a killed run still have calls in flight after a minute.
    """
    try:
        return await when_workers_ended(lambda: JobSession(job, options, client, display, budget))
    except SettingsMismatch as refusal:
        if job.block_size is not None:  # it has no option `from_`
            raise
        explained = await explain_refusal(refusal, job, options, client.pools)
    raise explained


class JobSession:
    """One session of a job: its output files, its calls, and its result.

    Args:
        client: makes the calls; it must be open when `run` is called.
        display: where the status line is drawn; None: on standard error, if the options say so.
        budget: the budget of several jobs together; None: that of the options.

    Attributes:
        counters: counters of the session.
        spending: what all sessions have used.
        budget: what the session may spend; None if there is no limit.

    Raises:
        UsageError: an option that cannot be used.
        StorageError: the output cannot be opened.
    """

    def __init__(
        self,
        job: Job[Any],
        options: RunOptions,
        client: CallClient,
        display: StatusDisplay | None = None,
        budget: SharedBudget | None = None,
    ) -> None:
        self.job, self.options, self.client = job, options, client
        self._display = display or StatusDisplay(sys.stderr if options.progress else None)
        self._limits = session_limits(options)
        check_retry(job, options)
        check_from(options)
        check_pools(job, client.pools)
        settings = job_settings(job, options, client.pools)
        self.folder = RunFolder(
            check_out_path(job, options), Manifest(__version__, settings, job.source.manifest_entry),
            overwrite=options.overwrite, expected=job.source.total, truncated_suffix=job.truncated_suffix,
            retries_truncated=options.retry == "truncated", layout=job.layout, rows_may_split=job.rows_may_split,
            keeps_rows_apart=job.keeps_rows_apart,
            earlier=None if options.from_ is None else Path(options.from_),
        )  # fmt: skip
        self._retry = {"retry": max_tokens_of(settings)} if options.retry else {}
        self._from = {} if options.from_ is None else {"from": str(options.from_)}
        self._done_before = self.folder.done_before - self.folder.rejected
        self.counters = CallCounters(
            had_success=self.folder.done_before > 0 or bool(self.folder.failures.failed_before)
        )
        book = self._limits.price_book(options.model, client.priced_endpoints)
        self.spending = Spending(self._limits, book, None if budget is None else budget.budget)
        own_budget = self.spending.budget
        self.budget = budget or (None if own_budget is None else SharedBudget(own_budget))
        self._seconds = 0.0
        self._engine: RowEngine | None = None
        self._record: dict[str, Any] = {}
        self._cache_writer: CacheWriter | None = None
        self._has_begun = False

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record in the manifest how the session ends, and close the files."""
        folder, record = self.folder, self._record
        record |= {
            "started_at": clock.wall_time(), "outcome": NOT_FINISHED, "seconds": 0.0, "manycall_version": __version__,
            "endpoints": self.client.endpoint_names, "prices": [], "parameter_changes": [],
            **self._retry, **self._from,
        }  # fmt: skip
        try:
            folder.start_session(record)
            self.spending.count_earlier(folder.journal, folder.cached)
            self._cache_writer = folder.cache_with(self._progress)
            yield
            record["seconds"] = self._seconds
        except BaseException as error:
            record["outcome"] = str(error) or repr(error)
            final = self._final_error(error, record)
            if final is error:
                raise
            raise final.with_traceback(error.__traceback__) from error.__cause__
        record["outcome"] = "finished"
        self._close(record)

    def _final_error(self, error: BaseException, record: dict[str, Any]) -> BaseException:
        """Close the files after an error. Return the error to report: with the rows done and what failed in closing."""
        final = error
        if isinstance(final, RunStopped):
            final = final.replace(rows_done=self._done_before + self.counters.done)
        try:
            self._close(record)
        except StorageError as second:
            if not isinstance(final, ManycallError):
                raise
            if str(second) != str(error):
                final = final.replace(f"{str(error).removesuffix('.')}. {second}")
        return final

    def _close(self, record: dict[str, Any]) -> None:
        record["prices"] = self.spending.used_prices()
        record.update(ended_at=clock.wall_time(), **self.counters.figures)
        self.folder.close()

    async def run(
        self,
        handle: SessionHandle,
        *,
        listener: ResultListener | None = None,
        wants_rows: Callable[[], bool] | None = None,
        interrupts: Interrupts | None = None,
        make_engine: MakeEngine | None = None,
    ) -> None:
        """Process all rows. Ctrl-C and SIGTERM end the run if `interrupts` receives them."""
        job, began = self.job, clock.now()
        self._engine = engine = self._local_engine(listener, wants_rows) if make_engine is None else make_engine(self)
        handle.attach(engine)
        parameters = ParameterLog(lambda: engine.parameter_changes, self._save_parameter_changes)
        handled = nullcontext() if interrupts is None else obeying(interrupts, engine)
        try:
            with handled, self._limits.time_limit(engine.stop):
                line, announcements = self._status_line(engine), parameters.new_sentences
                async with run_ticker(engine, line, self.folder, announcements, self._cache_writer):
                    rows = job.source.pending_rows(self.folder.ids, self._earlier_record())
                    self._has_begun = True
                    await engine.run(rows)
        finally:
            engine.leave()
        job.source.must_be_unchanged()
        self._seconds = clock.now() - began
        self.folder.mark_ended()

    def _local_engine(
        self, listener: ResultListener | None = None, wants_rows: Callable[[], bool] | None = None
    ) -> RowEngine:
        """Return what processes the rows in this process."""
        job = self.job
        calls = JobClient(
            self.client.pool, self.options.model, job_params(job, self.options), counters=self.counters,
            budget=self.budget, charge=self.spending.charge if self.spending.charges_calls else None,
            log=self._log(), finish_cancelled_calls=job.may_cancel, wants_rows=wants_rows,
            named=self.client.named_pools,
        )  # fmt: skip
        scheduler = Scheduler(
            calls, self.folder, job.process_row, job.output_fields, total=self.rows_left,
            may_be_many=job.rows_may_split, block_size=job.block_size, listener=listener,
        )  # fmt: skip
        return LocalEngine(scheduler, calls, self.client)

    @property
    def rows_left(self) -> int | None:
        """Number of rows that are not done; None if the number of rows is unknown."""
        total = self.job.source.total
        return None if total is None else total - self.folder.done_before

    def _earlier_record(self) -> InputRecord | None:
        """Return what the last session has left about its input."""
        return None if self.folder.cached is None else read_record(self.folder.cached.source)

    def _progress(self) -> SessionProgress:
        """Return what the next session should know."""
        counters, unfinished = self.counters, self.folder.unfinished
        is_counted = counters.responses == self.folder.journal.appended
        record = self._earlier_record()
        if self._has_begun:
            record = self.job.source.record(unfinished.rows(), unfinished.first_index)
        usage = self.spending.usage(counters) if is_counted else None
        return SessionProgress(usage, None if record is None else record.as_fields)

    def _log(self) -> JournalLog:
        names_endpoints = self.spending.charges_calls or len(self.client.priced_endpoints) > 1
        return JournalLog(self.folder.journal, self.options.model, names_endpoints=names_endpoints)

    def _save_parameter_changes(self, changes: list[dict[str, Any]]) -> None:
        self._record["parameter_changes"] = changes
        self.folder.save_manifest()

    def _status_line(self, engine: RowEngine) -> StatusLine:
        return StatusLine(
            self.job.name,
            self.counters,
            total=self.job.source.total,
            before=self.folder.done_before,
            rejected=self.folder.rejected,
            truncated=self.folder.truncated,
            load=engine.status,
            spending=self.spending.totals,
            note=self.job.status_note,
            display=self._display,
        )

    def result(self) -> RunResult:
        """Return the result of the finished session."""
        job, folder, engine, c = self.job, self.folder, self._engine, self.counters
        assert engine is not None
        sims = [sim for each in self.client.all_pools for sim in each.sims]
        return RunResult(
            job=job.name, out=folder.out, total_rows=job.source.total, done=self._done_before + c.done,
            failed=c.failed, rejected=folder.rejected,
            output_rows=folder.output_rows if job.rows_may_split else None, counts=job.counts,
            failure_counts=c.failure_counts, truncated=folder.truncated + c.truncated, retried=folder.retried,
            calls=c.calls,
            replayed=c.replayed, retries=c.retries, http_429=c.http_429, probes=c.probes,
            possibly_billed=c.possibly_billed,
            invalid_responses=c.invalid_responses, seconds=self._seconds,
            client_bound_seconds=engine.bound_seconds,
            client_bound_detail=engine.bound_detail, top_errors=folder.failures.error_counts.most_common(3),
            parameter_changes=change_sentences(engine.parameter_changes),
            sim=sims[0].stats if sims else None,
            **self.spending.cost_figures(c),
        )  # fmt: skip


def own_client(job: Job[Any], options: RunOptions) -> CallClient:
    """Return a client for a job, which is not open yet.

    Raises:
        UsageError: an argument that cannot be used, or no endpoint.
    """
    return CallClient(
        options.model, base_url=_urls(job, options), api_key=options.api_key, plain_http=options.plain_http,
        concurrency=options.concurrency, timeout=options.timeout, idle_timeout=options.idle_timeout,
        params=job_params(job, options),
        drop=options.drop, thinking=options.thinking, endpoint=options.endpoint, pools=job.endpoints,
    )  # fmt: skip


def client_arguments(job: Job[Any], options: RunOptions) -> tuple[str, tuple[str, ...]]:
    """Return by what the clients of several jobs with otherwise equal options differ: the model and the endpoints."""
    return options.model, tuple(_urls(job, options))


def _urls(job: Job[Any], options: RunOptions) -> list[str]:
    """Return the endpoints. A simulated one gets the answer key, to answer correctly, or wrongly on purpose."""
    given = options.base_url
    urls = [given] if isinstance(given, str) else list(given or ())
    if not job.answer_key:
        return urls
    return [process.with_option(url, "answer_key", job.answer_key) if process.is_sim(url) else url for url in urls]


async def _rehearse(job: Job[Any], options: RunOptions, client: CallClient | None = None) -> RunResult:
    out, params = check_out_path(job, options), job_params(job, options)
    limits = session_limits(options)
    try:
        client = client or own_client(job, options)
    except EndpointMissing:  # a dry run needs no endpoint and no key, but then it knows fewer prices
        if not options.model:
            raise
        pools = PoolNames(models=dict.fromkeys(job.endpoints or (), options.model))
        known = KnownPrices(pools, limits.price_book(options.model, [PricedEndpoint("")]))
    else:
        check_pools(job, client.pools)
        options = with_model(options, client)
        known = KnownPrices(client.pools, limits.price_book(options.model, client.priced_endpoints))
    if options.from_ is not None:
        return await dry_run_from_journal(job, options, Path(options.from_), known)
    return await dry_run(
        job.name, job.process_row, job.source, out, options.model, params, known, options.concurrency,
        dropped_names(options.drop),
    )  # fmt: skip


def with_model(options: RunOptions, client: CallClient) -> RunOptions:
    """Return the options with the client's model, which may come from endpoints.toml."""
    return msgspec.structs.replace(options, model=client.model)


def session_limits(options: RunOptions) -> SpendingLimits:
    return parse_spending_limits(
        options.max_total_tokens, options.max_cost, options.price, options.prices, options.max_time
    )
