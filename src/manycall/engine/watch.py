"""Status ticker, group commit and Ctrl-C handling of a run."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from manycall import clock
from manycall.engine.blocking import in_own_thread
from manycall.engine.client import Client
from manycall.engine.interrupts import Interrupts
from manycall.engine.progress import Load, Progress
from manycall.engine.scheduler import Scheduler
from manycall.errors import Interrupted, StoreError
from manycall.store.run import Run


def load(client: Client, now: float) -> Load:
    """What is in flight, and what binds; of those that are well, as long as there are any."""
    pool = client.pool
    alive = [each for each in pool.endpoints if not each.rests(now)] or pool.endpoints
    reasons = [reason for each in alive if (reason := each.binds(now))]
    width = min(pool.permits.limit, sum(each.window.size for each in alive if each.window is not None))
    if pool.pinned is not None:
        width = min(pool.pinned, pool.permits.limit)
    if pool.effort.bound:
        binds = f"client-bound: {pool.effort}"
    elif pool.pinned is not None:
        bound = f"-j {pool.pinned}" if pool.pinned <= pool.permits.limit else "ulimit -n"
        binds = ", ".join([bound, *dict.fromkeys(reasons)])
    elif len(reasons) < len(alive):
        binds = f"window {width}"
    else:
        binds = ", ".join([f"window {width}"] * ("server-bound" in reasons) + [*dict.fromkeys(reasons)])
    return Load(pool.permits.in_flight, width, binds)


def _changes(client: Client, run: Run) -> None:
    """A line of the timeline for each thing that was learned."""
    late = clock.wall() - clock.now()
    for endpoint in client.pool.endpoints:
        while endpoint.changes:
            change = endpoint.changes.popleft()
            run.timeline({"at": late + change.at, "endpoint": endpoint.url, "change": change.what})


@asynccontextmanager
async def ticking(scheduler: Scheduler, progress: Progress, run: Run, client: Client) -> AsyncIterator[None]:
    """Once a second: the status line, lines of the timeline, and everything so far past power cuts."""

    def note(figures: dict[str, Any]) -> None:
        _changes(client, run)
        run.timeline({"at": clock.wall(), **figures, "durable": run.durable})

    async def tick() -> None:
        try:
            while True:
                note(progress.tick(clock.now()))
                await clock.sleep(1.0)
        except Exception as error:  # a full disk, or a bug
            scheduler.end(error)

    ticker = asyncio.create_task(tick())
    try:
        async with _committing(scheduler, run):
            yield
    finally:
        ticker.cancel()
        await asyncio.wait([ticker])
        progress.clear()
        with suppress(StoreError):  # whoever closes the run will say it
            note(progress.figures(clock.now()))


@asynccontextmanager
async def _committing(scheduler: Scheduler, run: Run) -> AsyncIterator[None]:
    """Group commit: a thread syncs what was written, once a second, or sooner if it is much."""
    full, over = asyncio.Event(), asyncio.Event()
    run.full = full.set

    async def commit() -> None:
        try:
            while not over.is_set():
                await clock.sleep_unless(full, 1.0)
                full.clear()
                mark = run.mark()
                await in_own_thread(run.sync)
                run.synced(mark)
        except Exception as error:  # without it, nothing would be safe from a power cut any more
            scheduler.end(error)

    committer = asyncio.create_task(commit())
    try:
        yield
    finally:
        over.set()
        full.set()
        await asyncio.wait([committer])  # not cancelled: a sync that fails says so once, and to nobody but it


@contextmanager
def obeying(interrupts: Interrupts, scheduler: Scheduler) -> Iterator[None]:
    """Ctrl-C or SIGTERM once: no new calls, those in flight finish. Twice: stop now."""

    def handle(count: int) -> None:
        if count == 1:
            scheduler.end(Interrupted("interrupted"))
            with suppress(OSError, ValueError):
                print("\nstopping: calls in flight may finish (Ctrl-C again to stop at once)", file=sys.stderr)
        else:
            scheduler.abandon(Interrupted("interrupted"))

    with interrupts.handled_by(handle, scheduler.forget_rows):
        yield
