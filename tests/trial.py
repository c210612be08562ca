"""A small run against one server, and what it came to."""

import asyncio
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

from fakes import SoloClient, calls_of
from manycall import errors
from manycall.data.row_source import RowSource
from manycall.records import Row
from manycall.run.row_client import RowClient
from manycall.run.scheduler import Scheduler
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from shell import rows

TIMEOUT, PATIENT = 0.3, 10.0
"""Seconds, where the server lets it pass, and where it does not."""


class AtOnce(random.Random):
    """No jitter, so that retries need not be waited for."""

    def uniform(self, a: float, b: float) -> float:
        return a


class End(NamedTuple):
    """What a run came to. stopped: why it ended early; "" if it did not."""

    done: list[str]
    failed: dict[str, str]
    stopped: str
    sent: int
    in_doubt: int
    seconds: float


def run(folder: Path, url: str, count: int = 3, timeout: float = PATIENT, **options: Any) -> End:
    """Some rows, one call each, one after another."""

    async def ask(row: Row, llm: RowClient) -> dict[str, Any]:
        return {"text": (await llm.chat(row.id)).text}

    async def main() -> End:
        began, stopped = time.monotonic(), ""
        output = RunFolder(folder / "out.jsonl", Manifest("0", {}))
        client = SoloClient("m", base_url=url, timeout=timeout, rng=AtOnce(), **{"concurrency": 1, **options})
        try:
            async with client:
                source = RowSource([{"id": f"r{n}"} for n in range(count)])
                await Scheduler(calls_of(client, output), output, ask).run(source.pending_rows(output.ids))
        except errors.RunStopped as reason:
            stopped = str(reason)
        finally:
            output.close()
        failures = rows(folder / "out.jsonl.run" / "failures.jsonl")
        done = sorted(row["id"] for row in rows(folder / "out.jsonl") if row["text"])
        c = client.counters
        seconds = time.monotonic() - began
        return End(done, {row["id"]: row["error"] for row in failures}, stopped, c.attempts, c.possibly_billed, seconds)

    return asyncio.run(main())
