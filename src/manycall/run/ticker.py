"""Once-a-second ticker of a run: status line, timeline, group commit; and the effect of signals."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from manycall import clock
from manycall.client.threads import in_own_thread
from manycall.errors import Interrupted, StorageError
from manycall.run.row_engine import RowEngine
from manycall.run.signals import Interrupts
from manycall.run.status_line import StatusLine
from manycall.store.cache_writer import CacheWriter
from manycall.store.row_store import RowStore


@asynccontextmanager
async def run_ticker(
    engine: RowEngine,
    progress: StatusLine,
    run: RowStore,
    announcements: Callable[[], list[str]] = list,
    cache: CacheWriter | None = None,
) -> AsyncIterator[None]:
    """Once a second, draw the status line, write the timeline and sync all files to disk.

    Args:
        announcements: returns new sentences to show above the status line.
        cache: writes resume.cache now and then; None: it is not written.
    """

    def note(figures: dict[str, Any]) -> None:
        now, wall_time = clock.now(), clock.wall_time()
        for line in engine.timeline_lines(now):
            run.timeline(line)
        for sentence in announcements():
            progress.announce(sentence)
        oldest = engine.oldest_calls(now)
        run.timeline({"time": wall_time, **figures, "oldest": oldest, "rows_synced": run.rows_synced})

    async def tick() -> None:
        try:
            while True:
                note(progress.update(clock.now()))
                await clock.sleep(1.0)
        except Exception as error:  # for example a full disk, or a bug
            engine.stop(error)

    ticker = asyncio.create_task(tick())
    try:
        async with group_commit(engine.stop, run, cache):
            yield
    finally:
        ticker.cancel()
        await asyncio.wait([ticker])
        progress.clear()
        with suppress(StorageError):  # closing the run folder reports the error
            note(progress.rates(clock.now()))


@asynccontextmanager
async def group_commit(
    stop: Callable[[BaseException], None], run: RowStore, cache: CacheWriter | None = None
) -> AsyncIterator[None]:
    """Group commit: sync the written data in a thread once a second, or sooner if there is much of it.

    Args:
        stop: called with an error that prevents it.
        cache: see `run_ticker`.
    """
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
            stop(error)

    committer = asyncio.create_task(commit())
    try:
        yield
    finally:
        over.set()
        full.set()
        await asyncio.wait([committer])  # not cancelled: a failing sync reports its error only once, to this task


class StoppableRows(Protocol):
    """What a signal stops: the rows of one job (`RowEngine`) or of several."""

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
