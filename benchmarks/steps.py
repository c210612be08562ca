"""CPU cost of each step of a row, measured separately: `python benchmarks/steps.py`, on an idle machine.

Prints µs of CPU, the minimum of five rounds, for a prompt and an answer of 1 KB, without network, with the output on
disk. The steps are in the order in which a row passes them (ARCHITECTURE.md). The HTTP library, the event loop and the
coroutines between the steps are not included.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manycall.client.call_client import CallClient
from manycall.client.encoded_call import encode_call
from manycall.client.job_client import JobClient
from manycall.data.prompt_template import PromptTemplate
from manycall.data.row_source import RowSource
from manycall.ids import IdTable
from manycall.limits import CallCost
from manycall.providers import openai
from manycall.records import Request, Row, Success
from manycall.run.async_bridge import run_blocking
from manycall.run.outcome import validate_result
from manycall.run.row_client import JournalLog, RowClient
from manycall.store.journal_line import request_hash
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpRequest, HttpResponse
from speed.lean import UNIQUE, answer
from speed.measure import PROMPT, rows

COUNT, ROUNDS = 20_000, 5
BODY = answer(UNIQUE).encode()


class Instant:
    """A transport that answers immediately."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the answer."""
        return HttpResponse(200, BODY, lambda name: None)

    async def close(self) -> None:
        """Do nothing."""


def least(work: Callable[[], Any], count: int) -> float:
    """Return the µs per repetition of a function that does `count` repetitions."""
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return 1e6 * min(found) / count


def each(step: Callable[[], Any]) -> float:
    """Return the µs of one step."""

    def many() -> None:
        for _ in range(COUNT):
            step()

    return least(many, COUNT)


def at_once(work: Any) -> Any:
    """Return the result of a coroutine that never waits for I/O and may yield to the loop."""
    while True:
        try:
            work.send(None)
        except StopIteration as end:
            return end.value


async def measure(folder: Path) -> list[tuple[str, float]]:
    """Yield (step, µs) for each step."""
    file = rows(folder, COUNT)
    source, template = RowSource(file), PromptTemplate("{{ prompt }}")
    run = RunFolder(folder / "out.jsonl", Manifest("0", {}))
    client = CallClient(
        "mock", base_url="http://127.0.0.1:9", concurrency=64, params={"temperature": 0.0}, transport=Instant()
    )
    await client.__aenter__()
    permits = client.permits
    permits.record_answer()  # no canary
    row = Row("r0000001", {"id": "r0000001", "prompt": PROMPT})
    messages = template.messages(row)
    request = Request("chat", "mock", messages, client.params)
    body, result = openai.encode(request), {"text": "x" * 1000, "text_finish_reason": "stop"}
    key = request_hash("chat", body)
    call = encode_call(request)
    calls = JobClient(client.pool, "mock", client.params, log=JournalLog(run.journal))
    alone = JobClient(client.pool, "mock", client.params)

    async def read() -> None:
        async for _ in source.pending_rows(IdTable()):
            pass

    def journal() -> None:
        run.journal.append(row.id, key, 1, BODY, at=1.0, seconds=1.0)
        run.journal.synced(run.journal.file.count)

    def whole() -> None:
        at_once(RowClient(calls, row.id, 1, run.journal).chat(messages))
        run.journal.synced(run.journal.file.count)

    def admit() -> None:
        endpoint = permits.try_acquire(CallCost())
        assert endpoint is not None
        permits.release(endpoint)

    steps = [
        ("check it: read, decode, is its id new (before the first call)", least(lambda: RowSource(file), COUNT)),
        ("read and decode it again, when its turn has come", least(lambda: at_once(read()), COUNT)),
        ("render its prompt", each(lambda: template.messages(row))),
        ("encode the request", each(lambda: openai.encode(request))),
        ("the request's key in the journal", each(lambda: request_hash("chat", body))),
        ("a permit, and back", each(admit)),
        (
            "attempt: permit, endpoint, decode, count, learn",
            each(lambda: at_once(alone.call(call, 1))),
        ),
        ("of this, decode the reply", each(lambda: openai.decode("chat", BODY))),
        ("the journal's line", each(journal)),
        ("is the result sound", each(lambda: validate_result(row, result))),
        ("the output's line", each(lambda: run.write_row(Success(row, result)))),
        ("all that a call takes, from the row's function and back", each(whole)),
    ]
    await client.__aexit__(None, None, None)
    run.close()
    return steps


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        steps = run_blocking(measure(Path(folder)))
    print("| step | µs |\n| --- | --- |")
    for name, cost in steps:
        print(f"| {name} | {cost:.1f} |")


if __name__ == "__main__":
    main()
