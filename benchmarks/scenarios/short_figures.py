"""Measurements of one short run."""

import asyncio
import statistics

import msgspec

from manycall import clock
from manycall.sim.in_process import InProcessTransport
from manycall.transport.messages import HttpRequest
from scenarios.rules import OWN, fixed, run_with_rule
from scenarios.run_classes import ShortRun

GREEDY = {"temperature": 0}
"""Parameters of the calls. The answer to a prompt is then the same under every rule."""


class Times(msgspec.Struct):
    """Measurements of one run.

    Attributes:
        seconds: Time until the last answer.
        done: Number of rows that succeeded.
        sends: Number of attempts.
        refused: Number of attempts that got status 429.
        queue: Largest number of calls that waited at a server.
        timeouts: Number of attempts that timed out.
        other_p95: 95th percentile of the latency of the other client in seconds; 0 without one.
    """

    seconds: float
    done: int
    sends: int
    refused: int
    queue: int
    timeouts: int
    other_p95: float


class OtherClient:
    """Another client of the same server, which keeps a number of calls in flight."""

    def __init__(self, in_flight: int, model: str = "sim") -> None:
        self._in_flight, self._model = in_flight, model
        self._count = 0
        self.latencies: list[float] = []

    async def __call__(self, pool: InProcessTransport) -> None:
        """Make calls until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._in_flight):
                group.create_task(self._worker(pool))

    async def _worker(self, pool: InProcessTransport) -> None:
        while True:
            self._count += 1
            messages = [{"role": "user", "content": f"other {self._count}"}]
            body = msgspec.json.encode({"model": self._model, "messages": messages, **GREEDY})
            sent = clock.now()
            await pool.send(HttpRequest("http://a/v1/chat/completions", body))
            self.latencies.append(clock.now() - sent)


def rules(run: ShortRun) -> list[str]:
    """Return the rules to compare: manycall's own, with `/metrics` only for self-hosted servers, and fixed settings."""
    own = OWN[:1] if run.is_hosted else OWN
    return [*own, *map(fixed, run.sweep)]


def measure(run: ShortRun, rule: str, seed: int) -> Times:
    """Make the run once."""
    other = OtherClient(run.other_client) if run.other_client else None
    witness = run_with_rule(
        run.servers, run.rows, run.prompt, rule, seed,
        params=GREEDY, script=other, hosted=run.is_hosted, timeout=run.timeout, total=run.rows,
    )  # fmt: skip
    assert hasattr(witness.pool, "servers")
    return Times(
        seconds=max((call.sent + call.seconds for call in witness.answered), default=0.0),
        done=witness.done,
        sends=len(witness.sends),
        refused=witness.refused,
        queue=max(server.longest_queue for server in witness.pool.servers.values()),
        timeouts=witness.timeouts,
        other_p95=statistics.quantiles(other.latencies, n=20)[-1] if other else 0.0,
    )
