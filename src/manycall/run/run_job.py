"""Run a job: with a separate client, on an open client, or as a rehearsal without calls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from manycall.client.call_client import CallClient
from manycall.client.pool_names import PoolNames
from manycall.client.shared_budget import SharedBudget
from manycall.errors import EndpointMissing, SettingsMismatch
from manycall.providers.price_book import PricedEndpoint
from manycall.run.call_forecast import KnownPrices
from manycall.run.dry_run import dry_run
from manycall.run.ending_workers import when_workers_ended
from manycall.run.job import Job, check_out_path, check_pools, check_retry, job_params
from manycall.run.options import RunOptions
from manycall.run.rehearsal import dry_run_from_journal, explain_refusal, refuse_other_settings
from manycall.run.row_recorder import ResultListener
from manycall.run.run_result import RunResult
from manycall.run.session import JobSession, MakeEngine
from manycall.run.session_handle import SessionHandle
from manycall.run.signals import Interrupts
from manycall.run.spending_limits import spending_limits
from manycall.run.status_display import StatusDisplay
from manycall.sim import process


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
    spending_limits(options)
    client = own_client(job, options)
    handle = SessionHandle()
    session = await open_session(job, with_model(options, client), client, handle)
    with session.recorded():
        async with client:
            await session.run(handle, interrupts=interrupts, make_engine=make_engine)
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
    session = await open_session(job, options, client, handle)
    with session.recorded():
        await session.run(handle, listener=listener, wants_rows=wants_rows)
    return session.result()


async def open_session(
    job: Job[Any],
    options: RunOptions,
    client: CallClient,
    handle: SessionHandle,
    *,
    display: StatusDisplay | None = None,
    budget: SharedBudget | None = None,
) -> JobSession:
    """Open the files of a session. See `JobSession` for the arguments.

    Args:
        handle: stops the session.

    Raises:
        Interrupted: the session was stopped before its files were opened.
        SettingsMismatch: the output was created with other settings. The message says how many new calls they need.
        SegmentInUse: workers of a killed run still have calls in flight after a minute.
    """
    try:
        return await when_workers_ended(
            lambda: JobSession(job, options, client, display, budget), handle.raise_if_stopped
        )
    except SettingsMismatch as refusal:
        explained = await explain_refusal(refusal, job, options, client.pools)
    raise explained


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
    check_out_path(job, options)
    check_retry(job, options)
    limits = spending_limits(options)
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
        if options.from_ is None and not options.overwrite:
            await refuse_other_settings(job, options, client.pools)
    if options.from_ is not None:
        return await dry_run_from_journal(job, options, Path(options.from_), known)
    return await dry_run(job, options, known)


def with_model(options: RunOptions, client: CallClient) -> RunOptions:
    """Return the options with the client's model, which may come from endpoints.toml."""
    return msgspec.structs.replace(options, model=client.model)
