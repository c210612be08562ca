"""Complete runs in virtual time: the real source, scheduler, client, journal and output with simulated servers."""

import asyncio
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.call_counters import CallCounters
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_limits import MAX_OPENING_CONFIGURED
from manycall.client.job_client import JobClient
from manycall.control.quota import Quota
from manycall.data.row_source import RowSource
from manycall.errors import AttemptTimeout
from manycall.limits import RateLimits
from manycall.records import Row
from manycall.run.client_status import client_status
from manycall.run.row_client import JournalLog, RowClient
from manycall.run.row_engine import LocalEngine
from manycall.run.scheduler import Scheduler
from manycall.run.status_display import StatusDisplay
from manycall.run.status_line import StatusLine
from manycall.run.ticker import run_ticker
from manycall.sim import virtual_time
from manycall.sim.continuous_batching import BatchedCall
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import DEFAULT_TIMEOUT_SECONDS, HttpRequest, HttpResponse, Transport


class Answered(msgspec.Struct):
    """One answered call.

    Attributes:
        sent: Time when it was sent, in seconds.
        seconds: Duration.
        tokens: Completion tokens.
        server: Name of the server that answered.
    """

    sent: float
    seconds: float
    tokens: int
    server: str


def no_header(name: str) -> None:
    """A response without headers."""


class WatchedServer(SimServer):
    """A simulated server that records how long its queue has been.

    Attributes:
        longest_queue: Largest number of calls that waited for a slot.
    """

    longest_queue = 0

    def start_work(self, work: BatchedCall) -> asyncio.Future[None]:
        """Add a call to the batch."""
        waiter = super().start_work(work)
        self.longest_queue = max(self.longest_queue, self.batch.waiting)
        return waiter


class Witness:
    """A transport that passes requests to the simulated servers and records the outcomes.

    Attributes:
        answered: The answered calls, in the order in which they ended.
        sends: (second, server) of every attempt.
        refused: Number of attempts that got status 429.
        timeouts: Number of attempts without a complete response within the timeout.
        done: Number of rows that succeeded.
    """

    def __init__(self, pool: Transport, *, gauges: bool) -> None:
        self._gauges = gauges
        self.pool = pool
        self.answered: list[Answered] = []
        self.sends: list[tuple[float, str]] = []
        self.refused = self.timeouts = self.done = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            if request.url.endswith("/metrics") and not self._gauges:
                return HttpResponse(404, b"", no_header)
            return await self.pool.send(request)
        sent, server = clock.now(), request.url.split("/", 3)[2]
        self.sends.append((sent, server))
        try:
            reply = await self.pool.send(request)
        except AttemptTimeout:
            self.timeouts += 1
            raise
        if reply.status == 200:
            tokens = int(reply.body[reply.body.index(b'"completion_tokens":') + 20 :].split(b",", 1)[0])
            self.answered.append(Answered(sent, clock.now() - sent, tokens, server))
        self.refused += reply.status == 429
        return reply

    async def close(self) -> None:
        await self.pool.close()


async def ask(row: Row, llm: RowClient) -> dict[str, Any]:
    """Make one call for a row."""
    return {"text": (await llm.chat(row.fields["prompt"])).text}


KEY = "sk-simulated-0123456789abcdefghijklmnopqrstuvwxyz"
MEMORY = "/dev/shm"  # not on disk, so that only the logic is measured
Script = Callable[[InProcessTransport], Coroutine[Any, Any, None]]


def prompts(rows: int, size: int) -> Iterator[dict[str, Any]]:
    """Yield rows whose prompts have about `size` tokens."""
    padding = "word " * (size * 4 // 5)
    for n in range(rows):
        yield {"id": f"r{n}", "prompt": f"{n} {padding}"}


def questions(documents: int, each: int, size: int, interleaved: int) -> Iterator[dict[str, Any]]:
    """Yield `each` questions about each of `documents` documents of about `size` tokens.

    The questions about every `interleaved` consecutive documents alternate.
    """
    padding = "word " * (size * 4 // 5)
    for first in range(0, documents, interleaved):
        for question in range(each):
            for document in range(first, min(documents, first + interleaved)):
                prompt = f"document {document}: {padding} question {question}"
                yield {"id": f"d{document}q{question}", "prompt": prompt}


def simulate(
    make_pool: Callable[[], InProcessTransport],
    rows: Any,
    *,
    concurrency: int | None = None,
    limits: RateLimits | None = None,
    gauges: bool = False,
    params: dict[str, Any] | None = None,
    script: Script | None = None,
    prepare: Callable[[Sequence[Endpoint]], None] = lambda endpoints: None,
    affinity: bool = True,
    total: int | None = None,
    keep: Path | None = None,
    hosted: bool = False,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> Witness:
    """Run the rows against the simulated servers.

    Args:
        hosted: The servers have https URLs and a key, as hosted APIs have.
        timeout: Seconds for one attempt.
        prepare: Function that may replace the controllers of the endpoints.
        keep: Folder in which the output and its run folder are kept.
    """

    async def main() -> Witness:
        pool = make_pool()
        witness = Witness(pool, gauges=gauges)
        client = CallClient(
            "sim",
            base_url=[f"{'https' if hosted else 'http'}://{name}" for name in pool.servers],
            api_key=KEY if hosted else "",
            timeout=timeout,
            transport=witness,
            concurrency=concurrency,
            params=params,
            rng=random.Random(1),
            prefix_affinity=affinity,
        )

        def limit(endpoints: Sequence[Endpoint]) -> None:
            for endpoint in endpoints:
                if limits is not None:
                    endpoint.quota = Quota(limits)
                    endpoint.open_window_to_quota(clock.now(), MAX_OPENING_CONFIGURED)
            prepare(endpoints)

        playing = asyncio.create_task(script(pool)) if script is not None else None
        try:
            witness.done = await drive(client, rows, folder, total=total, prepare=limit)
        finally:
            if playing is not None:
                playing.cancel()
        return witness

    with scratch(keep) as folder:
        return virtual_time.run_virtual(main())


@contextmanager
def scratch(keep: Path | None = None) -> Iterator[Path]:
    """Provide an empty folder, also used as cache folder, and delete it afterwards unless `keep` names one."""
    folder = keep or Path(tempfile.mkdtemp(dir=MEMORY if Path(MEMORY).is_dir() else None))
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder)


async def drive(
    client: CallClient,
    rows: Any,
    folder: Path,
    *,
    total: int | None = None,
    prepare: Callable[[Sequence[Endpoint]], None] = lambda endpoints: None,
) -> int:
    """Make one call for each row in a complete run: journal, output, timeline. Return how many rows succeeded."""
    run, counters = RunFolder(folder / "out.jsonl", Manifest("0", {})), CallCounters()
    progress = StatusLine(
        "sim", counters, total=None, before=0, load=lambda now: client_status(client, now), note=str,
        display=StatusDisplay(None),
    )  # fmt: skip
    try:
        async with client:
            prepare(client.pool.endpoints)
            calls = JobClient(client.pool, client.model, client.params, counters=counters, log=JournalLog(run.journal))
            scheduler = Scheduler(calls, run, ask, total=total)
            engine = LocalEngine(scheduler, calls, client)
            async with run_ticker(engine, progress, run):
                await engine.run(RowSource(rows).pending_rows(run.ids))
        return len(run.ids)
    finally:
        run.close()
