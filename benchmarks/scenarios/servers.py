"""Simulated servers, and what happens to them during a run."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec

from manycall import clock
from manycall.sim.in_process import InProcessTransport
from manycall.sim.sim_settings import SimSettings
from simulate import Script

GPU = SimSettings(latency=0.0, token_latency=0.008, batch_latency=4e-5, network=0.01, spread=0.8)
HOSTED = SimSettings(latency=0.3, token_latency=0.015, tokens=250, spread=0.6, slots=100_000, network=0.05)

Servers = dict[str, SimSettings]


def knee(slots: int, **more: Any) -> Servers:
    """Return one self-hosted server with this number of slots."""
    return {"a": msgspec.structs.replace(GPU, slots=slots, **more)}


def hosted(**more: Any) -> Servers:
    """Return one hosted endpoint."""
    return {"a": msgspec.structs.replace(HOSTED, **more)}


def replicas(*slots: int, **more: Any) -> Servers:
    """Return one server for each number of slots."""
    return {
        f"r{n}": msgspec.structs.replace(GPU, slots=each, **{"seed": n, "tokens": 250, **more})
        for n, each in enumerate(slots)
    }


def full_batch_step(slots: int) -> float:
    """Return the seconds that a self-hosted server needs for a token of each call if all slots are in use."""
    return GPU.token_latency + GPU.batch_latency * slots


def capacity(behaviour: SimSettings) -> float:
    """Return the tokens per second at the knee."""
    return behaviour.slots / (behaviour.token_latency + behaviour.batch_latency * behaviour.slots)


def together(servers: Iterable[SimSettings]) -> Callable[[float], float]:
    """Return the tokens that all servers can deliver up to a given second."""
    rate = sum(capacity(server) for server in servers)
    return lambda t: rate * t


def per_second(rate: float, burst: float = 1.0) -> Callable[[float], float]:
    """Return the units that a quota allows up to a given second."""
    return lambda t: rate * (t + burst)


def stepped(before: float, after: float, at: float) -> Callable[[float], float]:
    """Return the units that a quota allows if it changes at a given second."""
    return lambda t: before * (min(t, at) + 1) + after * max(0.0, t - at)


async def _at(moment: float, act: Callable[[InProcessTransport], None], pool: InProcessTransport) -> None:
    await clock.sleep(moment)
    act(pool)


def at(moment: float, act: Callable[[InProcessTransport], None]) -> Script:
    """Return a script that changes the servers at the given second."""
    return partial(_at, moment, act)


def becomes(**changes: Any) -> Callable[[InProcessTransport], None]:
    """Return a change of the settings of the server."""

    def act(pool: InProcessTransport) -> None:
        pool.servers["a"].settings = msgspec.structs.replace(pool.servers["a"].settings, **changes)

    return act


def quota_becomes(per_minute: float) -> Callable[[InProcessTransport], None]:
    """Return a change of the quota of calls."""

    def act(pool: InProcessTransport) -> None:
        pool.servers["a"].quotas["requests"].per_minute = per_minute

    return act


async def second_client(pool: InProcessTransport) -> None:
    """A second client uses 5 calls per second."""
    while True:
        pool.servers["a"].quotas["requests"].take(1, clock.now())
        await clock.sleep(0.2)


async def dies_and_is_back(pool: InProcessTransport) -> None:
    """A server is down from second 100 to 160."""
    await clock.sleep(100)
    pool.kill("r0")
    await clock.sleep(60)
    pool.down.discard("r0")
