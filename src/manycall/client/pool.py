"""The endpoints of one client: opened together and monitored once a second."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from manycall import clock, errors
from manycall.client import window_cache
from manycall.client.call_counters import CallCounters
from manycall.client.cpu_load import CpuLoad
from manycall.client.endpoint import MAX_OPENING_CONFIGURED, Endpoint
from manycall.client.endpoint_config import resolve_endpoints
from manycall.client.hedging import Hedger
from manycall.client.permits import Permits
from manycall.client.system_limits import max_connections, max_in_flight
from manycall.client.threads import in_own_thread
from manycall.control import retry
from manycall.control.concurrency_window import INITIAL_WINDOW, ConcurrencyWindow
from manycall.control.prefix_affinity import CHUNK_BYTES, PrefixAffinity, prefix_hashes
from manycall.control.regression import MonitorInterval
from manycall.errors import RunStopped
from manycall.records import Secret
from manycall.sim import process
from manycall.transport.messages import Transport


class ClientStatus(NamedTuple):
    """The state of a client's endpoints.

    Attributes:
        in_flight: number of calls in flight.
        window: maximum number of calls in flight.
        limited_by: what limits the throughput, in a few words.
    """

    in_flight: int
    window: int
    limited_by: str


MONITOR_SECONDS = 1.0
"""Interval of the monitor."""


class EndpointPool:
    """Endpoints, and the permits to call them.

    Args:
        urls: the endpoints' URLs; none: from the environment or endpoints.toml. `open` starts simulated endpoints.
        concurrency: maximum calls in flight; None: adapted to what the endpoints can serve.
        plain_http: keys may be sent unencrypted to other machines.
        initial_window: the concurrency window at the start, if none is cached.

    Attributes:
        endpoints: the endpoints.
        endpoint_names: the endpoints as the user gave them.
        fixed_concurrency: the concurrency, if the user gave one.
        cpu_load: the CPU load of this process.
        permits: the queue for permission to send.
        hedger: sends second copies of stalled calls.
        sims: simulated endpoints, started by `open`.
    """

    def __init__(
        self,
        model: str,
        urls: Sequence[str],
        api_key: Secret | None,
        concurrency: int | None,
        counters: CallCounters,
        *,
        plain_http: bool = False,
        initial_window: int = INITIAL_WINDOW,
    ) -> None:
        self.sims = [process.SimProcess(each) for each in urls if process.is_sim(each)]
        real = [each for each in urls if not process.is_sim(each)]
        self.endpoints = [] if self.sims and not real else resolve_endpoints(real, api_key, plain_http=plain_http)
        self.endpoint_names = [*filter(process.is_sim, urls), *(endpoint.url for endpoint in self.endpoints)]
        self.fixed_concurrency = concurrency
        self.cpu_load = CpuLoad()
        self.permits = Permits(min(concurrency, max_connections()) if concurrency else max_in_flight(), self.endpoints)
        self.hedger = Hedger(self.endpoints, self.permits, counters)
        self._model, self._counters, self._initial_window = model, counters, initial_window
        self._monitor_task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<EndpointPool {self.endpoints}>"

    async def open(self, transport: Transport) -> None:
        """Start simulated endpoints, open the windows, and start the monitor."""
        for sim in self.sims:
            self.endpoints.append(Endpoint(await in_own_thread(sim.start)))
        if not self._counters.had_success:
            self.permits.canary_seconds = max(each.canary_seconds for each in self.endpoints)
        for endpoint in self.endpoints:
            endpoint.on_recovery = self.permits.wake_waiting
        if self.fixed_concurrency is None:
            self._open_windows()
        if len(self.endpoints) > 1 and all(each.looks_self_hosted for each in self.endpoints):
            self.permits.affinity = PrefixAffinity()
        self._monitor_task = asyncio.create_task(self._monitor(transport))
        self._monitor_task.add_done_callback(self._monitor_ended)

    def _open_windows(self) -> None:
        cached = {} if self.sims else window_cache.load_windows()
        for endpoint in self.endpoints:
            if endpoint.window is None:
                last = cached.get(f"{endpoint.url} {self._model}", 0)
                endpoint.window = ConcurrencyWindow(
                    max(self._initial_window, last // 2), self.permits.max_permits, endpoint.note
                )
                endpoint.open_window_to_quota(clock.now(), MAX_OPENING_CONFIGURED)

    async def _monitor(self, transport: Transport) -> None:
        """Once a second, sample the CPU load, poll the servers' metrics and hedge stalled calls."""
        self.cpu_load.sample(0.0)
        while True:
            await clock.sleep(MONITOR_SECONDS)
            self.cpu_load.sample(MONITOR_SECONDS)
            for endpoint in self.endpoints:
                if endpoint.window is not None:
                    endpoint.window.client_bound = self.cpu_load.is_limiting
            await asyncio.gather(*(endpoint.poll_metrics(transport, self._model) for endpoint in self.endpoints))
            self.permits.recheck()
            self.hedger.hedge_stalled(transport)

    def _monitor_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.permits.close(RunStopped(f"a bug in manycall: {error!r}"))

    async def close(self) -> None:
        """Stop the monitor and the simulated endpoints; cache the windows."""
        if self._monitor_task is not None:
            self._monitor_task.cancel()
            await asyncio.wait([self._monitor_task])
        if not self.sims:  # simulated endpoints get a new address each time
            knees = {f"{each.url} {self._model}": each.knee for each in self.endpoints}
            window_cache.save_windows({name: knee for name, knee in knees.items() if knee is not None})
        for sim in self.sims:
            await in_own_thread(sim.stop)

    def prefix_hashes(self, body: bytes) -> tuple[int, ...]:
        """Return hashes of the request's prefixes; empty without prefix affinity or for a short request."""
        return prefix_hashes(body) if self.permits.affinity is not None and len(body) > 2 * CHUNK_BYTES else ()

    @property
    def may_count_tokens(self) -> bool:
        """Whether an endpoint has a token quota, or may still advertise one."""
        return any(each.may_count_tokens for each in self.endpoints)

    def answered(self, endpoint: Endpoint, epoch: MonitorInterval, seconds: float, tokens: int) -> None:
        """Record an answer: the monitor interval in which its call started, its duration and its output tokens."""
        assert endpoint.window is not None
        size = endpoint.window.size
        endpoint.window.record_answer(epoch, seconds, tokens, clock.now())
        if endpoint.window.size > size:
            self.permits.recheck()

    def handle_refusal(self, endpoint: Endpoint, refusal: errors.HttpStatusError) -> None:
        """Mark the call for another endpoint or key, if the error is due to this one and there is another."""
        rule = retry.find_rule(refusal)
        if rule.disables_key:
            refusal.elsewhere = any(each is not endpoint and each.disabled_reason is None for each in self.endpoints)
            if refusal.elsewhere and endpoint.disabled_reason is None:
                endpoint.disable(str(refusal))
        elif rule.only_before_success and self._counters.any_success:
            refusal.elsewhere = len(self.endpoints) > 1
            endpoint.health.record_failure(clock.now())
