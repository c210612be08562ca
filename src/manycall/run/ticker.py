"""Once-a-second ticker of a run: status line, timeline, group commit; and the effect of signals."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.endpoint_limits import AT_CAPACITY
from manycall.client.pool import ClientStatus, EndpointPool
from manycall.client.threads import in_own_thread
from manycall.errors import Interrupted, StorageError
from manycall.option_flags import spelled
from manycall.run.endpoint_health import EndpointHealth
from manycall.run.scheduler import Scheduler
from manycall.run.signals import Interrupts
from manycall.run.status_line import StatusLine
from manycall.run.status_text import THIS_MACHINE
from manycall.store.cache_writer import CacheWriter
from manycall.store.row_store import RowStore


def client_status(client: CallClient, now: float) -> ClientStatus:
    """Return the calls in flight, the window, and what limits the throughput, for the endpoints in use.

    Of several pools, it names those that are in use and what limits each of them.
    """
    names = [client.pools.default or "default", *client.pools.models]
    pools = zip(names, client.all_pools, strict=True)
    used = [(name, _pool_status(pool, now)) for name, pool in pools if pool.permits.was_used]
    if len(used) < 2:
        return used[0][1] if used else _pool_status(client.pool, now)
    return ClientStatus(
        sum(each.in_flight for _, each in used),
        sum(each.window for _, each in used),
        "; ".join(f"{name}: {each.limited_by}" for name, each in used),
    )


def _pool_status(pool: EndpointPool, now: float) -> ClientStatus:
    """Return the same of one pool. If all of its endpoints are ejected or disabled, it covers all of them."""
    active = [each for each in pool.endpoints if not each.is_ejected(now)] or pool.endpoints
    reasons = [reason for each in active if (reason := each.limiting_factor(now))]
    window = min(pool.permits.max_permits, sum(each.window.size for each in active if each.window is not None))
    if pool.fixed_concurrency is not None:
        window = min(pool.fixed_concurrency, pool.permits.max_permits)
    if pool.cpu_load.is_limiting:
        limited_by = f"{THIS_MACHINE}: {pool.cpu_load}"
    elif pool.fixed_concurrency is not None:
        cap = (
            spelled(f"-j {pool.fixed_concurrency}", f"concurrency={pool.fixed_concurrency}")
            if pool.fixed_concurrency <= pool.permits.max_permits
            else "ulimit -n"
        )
        limited_by = ", ".join([cap, *dict.fromkeys(reasons)])
    elif len(reasons) < len(active):
        limited_by = f"window {window}"
    else:
        limited_by = ", ".join([f"window {window}"] * (AT_CAPACITY in reasons) + [*dict.fromkeys(reasons)])
    return ClientStatus(pool.permits.in_flight, window, limited_by)


def _write_events(client: CallClient, run: RowStore) -> None:
    """Write a line of the timeline for each event of the endpoints."""
    offset = clock.wall_time() - clock.now()
    for endpoint in (each for pool in client.all_pools for each in pool.endpoints):
        while endpoint.events:
            event = endpoint.events.popleft()
            run.timeline({"time": offset + event.at, "endpoint": endpoint.url, "event": event.what})


@asynccontextmanager
async def run_ticker(
    scheduler: Scheduler,
    progress: StatusLine,
    run: RowStore,
    client: CallClient,
    announcements: Callable[[], list[str]] = list,
    cache: CacheWriter | None = None,
) -> AsyncIterator[None]:
    """Once a second, draw the status line, write the timeline and sync all files to disk.

    Args:
        announcements: returns new sentences to show above the status line.
        cache: writes resume.cache now and then; None: it is not written.
    """

    health = EndpointHealth([each for pool in client.all_pools for each in pool.endpoints])

    def note(figures: dict[str, Any]) -> None:
        _write_events(client, run)
        now, wall_time = clock.now(), clock.wall_time()
        for line in health.lines(now):
            run.timeline({"time": wall_time, **line})
        for sentence in announcements():
            progress.announce(sentence)
        oldest = scheduler.oldest_calls(now)
        run.timeline({"time": wall_time, **figures, "oldest": oldest, "rows_synced": run.rows_synced})

    async def tick() -> None:
        try:
            while True:
                note(progress.update(clock.now()))
                await clock.sleep(1.0)
        except Exception as error:  # for example a full disk, or a bug
            scheduler.stop(error)

    ticker = asyncio.create_task(tick())
    try:
        async with _group_commit(scheduler, run, cache):
            yield
    finally:
        ticker.cancel()
        await asyncio.wait([ticker])
        progress.clear()
        with suppress(StorageError):  # closing the run folder reports the error
            note(progress.rates(clock.now()))


@asynccontextmanager
async def _group_commit(scheduler: Scheduler, run: RowStore, cache: CacheWriter | None) -> AsyncIterator[None]:
    """Group commit: sync the written data in a thread once a second, or sooner if there is much of it."""
    full, over = run.sync_needed, asyncio.Event()

    async def commit() -> None:
        try:
            while not over.is_set():
                await clock.wait_for_event(full, 1.0)
                full.clear()
                mark = run.mark()
                snapshot = None if cache is None else cache.snapshot_if_due(clock.now())
                await in_own_thread(run.sync)
                run.synced(mark)
                if cache is not None and snapshot is not None:
                    await in_own_thread(partial(cache.write, snapshot))
        except Exception as error:  # without syncs, results would not survive a power cut
            scheduler.stop(error)

    committer = asyncio.create_task(commit())
    try:
        yield
    finally:
        over.set()
        full.set()
        await asyncio.wait([committer])  # not cancelled: a failing sync reports its error only once, to this task


class StoppableRows(Protocol):
    """What a signal stops: the rows of one job (`Scheduler`) or of several."""

    @property
    def calls_in_flight(self) -> int: ...
    def stop(self, reason: Interrupted) -> None: ...
    def cancel(self, reason: Interrupted) -> None: ...
    def forget_rows(self) -> None: ...


@contextmanager
def obeying(interrupts: Interrupts, rows: StoppableRows) -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM. The first stops new calls and waits for those in flight; the second stops at once."""

    def handle(count: int) -> None:
        if count == 1:
            rows.stop(Interrupted("interrupted"))
            with suppress(OSError, ValueError):
                in_flight = rows.calls_in_flight
                print(
                    f"\nStopping: waiting for {in_flight} calls in flight. Press Ctrl-C again to stop immediately.",
                    file=sys.stderr,
                )
        else:
            rows.cancel(Interrupted("interrupted"))

    with interrupts.handled_by(handle, rows.forget_rows):
        yield
