"""What each step of a row costs, alone: `python benchmarks/steps.py`, on a machine that does nothing else.

µs of CPU, the least of five rounds: prompt and answer of 1 KB, no network, the output on a disk. The steps lie on the
way of a row in this order (ARCHITECTURE.md); what is not among them is the HTTP library, the loop, and the coroutines
between the steps.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manycall.control.quota import Cost
from manycall.data.sources import Source
from manycall.data.templates import Template
from manycall.engine.blocking import blocking
from manycall.engine.client import Client
from manycall.engine.outcome import checked
from manycall.engine.row import RowCalls
from manycall.ids import IdTable
from manycall.records import Request, Row, Success
from manycall.store.journal import request_key
from manycall.store.manifest import Manifest
from manycall.store.run import Run
from manycall.wire import openai
from manycall.wire.transport import HttpReply, HttpRequest
from speed.lean import ANSWER
from speed.measure import PROMPT, rows

COUNT, ROUNDS = 20_000, 5
BODY = ANSWER.encode()


class Instant:
    """A transport that answers at once."""

    async def send(self, request: HttpRequest) -> HttpReply:
        """The answer."""
        return HttpReply(200, BODY, lambda name: None)

    async def close(self) -> None:
        """Nothing."""


def least(work: Callable[[], Any], count: int) -> float:
    """µs for one of `count`."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return 1e6 * min(found) / count


def each(step: Callable[[], Any]) -> float:
    """µs for one step."""

    def many() -> None:
        for _ in range(COUNT):
            step()

    return least(many, COUNT)


def at_once(work: Any) -> Any:
    """The result of a coroutine that waits for nothing, or gives way now and then."""
    while True:
        try:
            work.send(None)
        except StopIteration as end:
            return end.value


async def measure(folder: Path) -> list[tuple[str, float]]:
    """(step, µs) for each."""
    file = rows(folder, COUNT)
    source, template = Source(file), Template("{{ prompt }}")
    run = Run(folder / "out.jsonl", Manifest("0", {}))
    client = Client("mock", url="http://127.0.0.1:9", concurrency=64, params={"temperature": 0.0}, transport=Instant())
    permits = client.permits
    await client.pool.open(Instant())
    permits.canary_seconds = 0.0
    row = Row("r0000001", {"id": "r0000001", "prompt": PROMPT})
    messages = template.messages(row)
    request = Request("chat", "mock", messages, client.params)
    body, result = openai.encode(request), {"text": "x" * 1000, "text_finish_reason": "stop"}
    key = request_key("chat", body)

    async def read() -> None:
        async for _ in source.rows(IdTable()):
            pass

    def journal() -> None:
        run.journal.append(row.id, key, 1, BODY, at=1.0, seconds=1.0)
        run.journal.synced(run.journal.file.count)

    def whole() -> None:
        at_once(RowCalls(client, row.id, 1, run.journal, print).chat(messages))
        run.journal.synced(run.journal.file.count)

    def admit() -> None:
        endpoint = permits.at_once(Cost())
        assert endpoint is not None
        permits.release(endpoint)

    steps = [
        ("check it: read, decode, is its id new (before the first call)", least(lambda: Source(file), COUNT)),
        ("read and decode it again, when its turn has come", least(lambda: at_once(read()), COUNT)),
        ("render its prompt", each(lambda: template.messages(row))),
        ("encode the request", each(lambda: openai.encode(request))),
        ("the request's key in the journal", each(lambda: request_key("chat", body))),
        ("a permit, and back", each(admit)),
        (
            "attempt: permit, endpoint, decode, count, learn",
            each(lambda: at_once(client.attempt(request, body, 1, None))),
        ),
        ("of this, decode the reply", each(lambda: openai.decode("chat", BODY))),
        ("the journal's line", each(journal)),
        ("is the result sound", each(lambda: checked(row, result))),
        ("the output's line", each(lambda: run.success(Success(row, result)))),
        ("all that a call takes, from the row's function and back", each(whole)),
    ]
    await client.pool.close()
    run.close()
    return steps


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        steps = blocking(measure(Path(folder)))
    print("| step | µs |\n| --- | --- |")
    for name, cost in steps:
        print(f"| {name} | {cost:.1f} |")


if __name__ == "__main__":
    main()
