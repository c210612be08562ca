"""One session of a job: source → RunFolder → JobClient → Scheduler → RunResult."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from manycall import clock
from manycall._version import __version__
from manycall.client.call_client import CallClient
from manycall.client.call_counters import CallCounters
from manycall.client.job_client import JobClient
from manycall.client.shared_budget import SharedBudget
from manycall.data.input_record import InputRecord, read_record
from manycall.errors import ManycallError, RunStopped, StorageError
from manycall.providers.parameter_lesson import change_sentences
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
from manycall.run.retry_reasons import RetryReasons
from manycall.run.row_client import JournalLog
from manycall.run.row_engine import LocalEngine, RowEngine
from manycall.run.row_recorder import ResultListener
from manycall.run.run_result import RunResult
from manycall.run.scheduler import Scheduler
from manycall.run.session_handle import SessionHandle
from manycall.run.signals import Interrupts
from manycall.run.spending import Spending
from manycall.run.spending_limits import spending_limits
from manycall.run.status_display import StatusDisplay
from manycall.run.status_line import StatusLine
from manycall.run.ticker import obeying, run_ticker
from manycall.store.cache_writer import CacheWriter, SessionProgress
from manycall.store.manifest import NOT_FINISHED, Manifest
from manycall.store.retried_rows import max_tokens_of
from manycall.store.run_folder import RunFolder

MakeEngine = Callable[["JobSession"], RowEngine]
"""Returns what processes the rows of a session."""


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
        self._limits = spending_limits(options)
        check_retry(job, options)
        check_from(options)
        check_pools(job, client.pools)
        settings = job_settings(job, options, client.pools)
        book = self._limits.price_book(options.model, client.priced_endpoints)
        self.spending = Spending(self._limits, book, None if budget is None else budget.budget)
        own_budget = self.spending.budget
        self.budget = budget or (None if own_budget is None else SharedBudget(own_budget))
        self._record: dict[str, Any] = {
            "started_at": clock.wall_time(), "outcome": NOT_FINISHED, "seconds": 0.0, "manycall_version": __version__,
            "endpoints": client.endpoint_names, "prices": [], "parameter_changes": [],
        }  # fmt: skip
        if options.retry:
            self._record["retry"] = max_tokens_of(settings)
        if options.from_ is not None:
            self._record["from"] = str(options.from_)
        self.folder = RunFolder(
            check_out_path(job, options), Manifest(__version__, settings, job.source.manifest_entry),
            session=self._record, overwrite=options.overwrite, expected=job.source.total,
            truncation_marks=job.truncation_marks, retries_truncated=options.retry == "truncated", layout=job.layout,
            rows_may_split=job.rows_may_split, keeps_rows_apart=job.keeps_rows_apart,
            earlier=None if options.from_ is None else Path(options.from_),
        )  # fmt: skip
        self._done_before = self.folder.done_before - self.folder.rejected
        had_success = self.folder.done_before > 0
        self.counters = CallCounters(
            had_success=had_success, had_rows=had_success or bool(self.folder.failures.failed_before)
        )
        self._seconds = 0.0
        self._engine: RowEngine | None = None
        self._cache_writer: CacheWriter | None = None
        self._has_begun = False

    def discard(self) -> None:
        """Close the files of a session that has not begun. The manifest does not name it."""
        self.folder.manifest.sessions.remove(self._record)
        self.folder.close()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record in the manifest how the session ends, and close the files."""
        folder, record = self.folder, self._record
        try:
            self.spending.count_earlier(folder.journal, folder.cached)
            self._cache_writer = folder.cache_with(self._progress)
            yield
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
        record.update(ended_at=clock.wall_time(), seconds=self._seconds, **self.counters.figures)
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
        reasons = RetryReasons(self.counters.first_retried)

        def announcements() -> list[str]:
            return [*parameters.new_sentences(), *reasons.new_sentences()]

        handled = nullcontext() if interrupts is None else obeying(interrupts, engine)
        try:
            with handled, self._limits.time_limit(engine.stop):
                line = self._status_line(engine)
                async with run_ticker(engine, line, self.folder, announcements, self._cache_writer):
                    rows = job.source.pending_rows(self.folder.ids, self._earlier_record())
                    self._has_begun = True
                    await engine.run(rows)
        finally:
            engine.leave()
            self._seconds = clock.now() - began
        job.source.must_be_unchanged()
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
            failure_counts=c.failure_counts, truncated=folder.truncated + c.truncated,
            done_before=self._done_before, retried=folder.retried,
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
