"""A whole run in virtual time: the real source, scheduler, client, journal and output against simulated servers."""

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
from manycall.control.quota import Limits, Quota
from manycall.data.sources import Source
from manycall.engine.client import Client
from manycall.engine.endpoint import Endpoint
from manycall.engine.progress import Progress
from manycall.engine.row import RowCalls
from manycall.engine.scheduler import Scheduler
from manycall.engine.watch import load, ticking
from manycall.records import Row
from manycall.sim import virtual
from manycall.sim.transport import Pool
from manycall.store.manifest import Manifest
from manycall.store.run import Run
from manycall.wire.transport import HttpReply, HttpRequest, Transport


class Answered(msgspec.Struct):
    """One call that was answered: when it was sent, how long it took, tokens of output, by whom."""

    sent: float
    seconds: float
    tokens: int
    server: str


def no_header(name: str) -> None:
    """A reply without headers."""


class Witness:
    """A transport that carries requests to the pool and writes down what came of them.

    Attributes:
        answered: the calls with an answer, in the order of their ends.
        sends: (second, server) of every attempt. refused: how many got 429.
    """

    def __init__(self, pool: Transport, *, gauges: bool) -> None:
        self._gauges = gauges
        self.pool = pool
        self.answered: list[Answered] = []
        self.sends: list[tuple[float, str]] = []
        self.refused = 0

    async def send(self, request: HttpRequest) -> HttpReply:
        if request.method == "GET":
            if not self._gauges:
                return HttpReply(404, b"", no_header)
            return await self.pool.send(request)
        sent, server = clock.now(), request.url[7 : request.url.index("/", 7)]
        self.sends.append((sent, server))
        reply = await self.pool.send(request)
        if reply.status == 200:
            tokens = int(reply.body[reply.body.index(b'"completion_tokens":') + 20 :].split(b",", 1)[0])
            self.answered.append(Answered(sent, clock.now() - sent, tokens, server))
        self.refused += reply.status == 429
        return reply

    async def close(self) -> None:
        await self.pool.close()


async def ask(row: Row, llm: RowCalls) -> dict[str, Any]:
    """One call a row."""
    return {"text": (await llm.chat(row.fields["prompt"])).text}


MEMORY = "/dev/shm"  # (no disk: only the logic is measured)
Script = Callable[[Pool], Coroutine[Any, Any, None]]


def prompts(rows: int, size: int) -> Iterator[dict[str, Any]]:
    """Rows whose prompts take about `size` tokens."""
    padding = "word " * (size * 4 // 5)
    for n in range(rows):
        yield {"id": f"r{n}", "prompt": f"{n} {padding}"}


def questions(documents: int, each: int, size: int, apart: int) -> Iterator[dict[str, Any]]:
    """So many questions about each of so many documents of about `size` tokens, `apart` documents mixed together."""
    padding = "word " * (size * 4 // 5)
    for first in range(0, documents, apart):
        for question in range(each):
            for document in range(first, min(documents, first + apart)):
                prompt = f"document {document}: {padding} question {question}"
                yield {"id": f"d{document}q{question}", "prompt": prompt}


def simulate(
    make_pool: Callable[[], Pool],
    rows: Any,
    *,
    concurrency: int | None = None,
    limits: Limits | None = None,
    gauges: bool = False,
    params: dict[str, Any] | None = None,
    script: Script | None = None,
    prepare: Callable[[Sequence[Endpoint]], None] = lambda endpoints: None,
    affinity: bool = True,
    total: int | None = None,
    keep: Path | None = None,
) -> Witness:
    """Run the rows against the pool; `prepare` may put other controllers in the endpoints' place.

    Args:
        keep: a folder in which the output and all beside it stay.
    """

    async def main() -> Witness:
        pool = make_pool()
        witness = Witness(pool, gauges=gauges)
        client = Client(
            "sim",
            url=[f"http://{name}" for name in pool.servers],
            transport=witness,
            concurrency=concurrency,
            params=params,
            rng=random.Random(1),
        )
        for endpoint in client.pool.endpoints:
            if limits is not None:
                endpoint.quota = Quota(limits)
        prepare(client.pool.endpoints)
        playing = asyncio.create_task(script(pool)) if script is not None else None
        try:
            await drive(client, rows, folder, total=total, affinity=affinity)
        finally:
            if playing is not None:
                playing.cancel()
        return witness

    with scratch(keep) as folder:
        return virtual.run(main())


@contextmanager
def scratch(keep: Path | None = None) -> Iterator[Path]:
    """A folder for a run that knows nothing of others; it goes away unless it is to be kept."""
    folder = keep or Path(tempfile.mkdtemp(dir=MEMORY if Path(MEMORY).is_dir() else None))
    os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder)


async def drive(client: Client, rows: Any, folder: Path, *, total: int | None = None, affinity: bool = True) -> None:
    """One call for each row, with all that a run has: journal, output, timeline."""
    run = Run(folder / "out.jsonl", Manifest("0", {}))
    scheduler = Scheduler(client, run, ask, total=total)
    progress = Progress(
        "sim", client.counters, total=None, before=0, load=lambda now: load(client, now), note=str, stream=None
    )
    try:
        async with client, ticking(scheduler, progress, run, client):
            if not affinity:
                client.permits.affinity = None
            await scheduler.run(Source(rows).rows(run.known))
    finally:
        run.close()
