"""Runs of several workers in virtual time, each with its own client, and what they bring."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.endpoint_limits import MAX_OPENING_CONFIGURED
from manycall.control.quota import Quota
from manycall.limits import RateLimits
from manycall.sim import virtual_time
from manycall.sim.in_process import InProcessTransport
from scenarios.servers import Servers
from scenarios.worker_group import HEARTBEAT_SECONDS, Report, SimulatedDriver, SimulatedWorker
from simulate import KEY, Script, WatchedServer, Witness, scratch

MAX_SECONDS = 7200.0
MESSAGE_SECONDS = 0.002
"""Delay of a message between driver and worker."""


class Outcome(NamedTuple):
    """What a run has brought.

    Attributes:
        witness: the calls, as the servers saw them.
        spent: tokens that were used.
        failed: number of rows that failed.
        ended: number of rows that ended in each worker.
        seconds: duration.
        longest_queue: the most calls that waited at a server.
    """

    witness: Witness
    spent: float
    failed: int
    ended: list[int]
    seconds: float
    longest_queue: int


class Links:
    """The links between a driver and its workers: each message takes MESSAGE_SECONDS."""

    def __init__(self, driver: SimulatedDriver, workers: Sequence[SimulatedWorker]) -> None:
        self._driver, self._workers = driver, workers
        self._later = asyncio.get_running_loop().call_later

    def send_grant(self, worker: int) -> None:
        """Send a grant to a worker."""
        self._later(MESSAGE_SECONDS, self._workers[worker].apply, self._driver.grant(worker))

    def _receive(self, worker: int, report: Report) -> None:
        for each in self._driver.receive(worker, report, self._workers[worker].take_done()):
            self.send_grant(each)

    async def send_reports(self, worker: SimulatedWorker) -> None:
        """Send the reports of a worker when they are due."""
        while True:
            self._later(MESSAGE_SECONDS, self._receive, worker.name, worker.report())
            await worker.wait_for_report()

    async def drive(self) -> None:
        """Give the workers rows and shares until the run is finished."""
        while not self._driver.is_finished:
            await clock.sleep(HEARTBEAT_SECONDS)
            assert clock.now() < MAX_SECONDS, f"no end: {self._driver.units!r}"
            self._driver.tick()
            for worker in range(len(self._workers)):
                self.send_grant(worker)


def run_workers(
    servers: Servers,
    rows: int,
    workers: int,
    *,
    seed: int = 1,
    configured: RateLimits | None = None,
    script: Script | None = None,
    budget: float | None = None,
    hosted: bool = True,
    prompt: int = 50,
) -> Outcome:
    """Run the rows with several workers.

    Args:
        configured: The rate limits that the user configured.
        script: Changes to the servers during the run.
        budget: Tokens that the run may use.
        hosted: The servers have https URLs and a key, as hosted APIs have.
        prompt: Number of tokens of each prompt.
    """

    async def main() -> Outcome:
        seeded = {name: msgspec.structs.replace(each, seed=each.seed + 100 * seed) for name, each in servers.items()}
        pool = InProcessTransport({name: WatchedServer(each, {}) for name, each in seeded.items()})
        witness = Witness(pool, gauges=False)
        playing = None if script is None else asyncio.create_task(script(pool))
        async with AsyncExitStack() as stack:
            clients = []
            for number in range(workers):
                client = _client(witness, [*servers], number, hosted=hosted)
                clients.append(await stack.enter_async_context(client))
                _configure(client, configured)
            outcome = await _run(clients, witness, SimulatedDriver(rows, range(workers), budget), prompt)
        if playing is not None:
            playing.cancel()
        return outcome

    with scratch():
        return virtual_time.run_virtual(main())


def _client(witness: Witness, servers: Sequence[str], number: int, *, hosted: bool) -> CallClient:
    urls = [f"{'https' if hosted else 'http'}://{name}" for name in servers]
    return CallClient("sim", base_url=urls, api_key=KEY if hosted else "", transport=witness, rng=random.Random(number))


def _configure(client: CallClient, limits: RateLimits | None) -> None:
    for endpoint in client.pool.endpoints if limits is not None else ():
        endpoint.quota = Quota(limits or RateLimits())
        endpoint.open_window_to_quota(clock.now(), MAX_OPENING_CONFIGURED)


def longest_queue(witness: Witness) -> int:
    """Return the most calls that waited at a server."""
    servers = witness.pool.servers.values() if isinstance(witness.pool, InProcessTransport) else ()
    return max(each.longest_queue for each in servers if isinstance(each, WatchedServer))


async def _run(clients: Sequence[CallClient], witness: Witness, driver: SimulatedDriver, prompt: int) -> Outcome:
    workers = [
        SimulatedWorker(number, client, has_budget=driver.amount is not None, prompt="word " * (prompt * 4 // 5))
        for number, client in enumerate(clients)
    ]
    links = Links(driver, workers)
    tasks = [asyncio.create_task(work) for each in workers for work in (each.run(), links.send_reports(each))]
    await links.drive()
    while any(each.in_flight for client in clients for each in client.pool.endpoints):
        await clock.sleep(0.1)
    seconds = clock.now()
    for each in workers:
        each.stop()
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0)
    return Outcome(
        witness, sum(each.spent for each in workers), sum(each.failed for each in workers),
        [each.ended for each in workers], seconds, longest_queue(witness),
    )  # fmt: skip
