"""The endpoints of one client: opened together, looked after, and each as busy as it can be."""

import asyncio
from collections.abc import Sequence

from manycall import clock, errors
from manycall.control import retry
from manycall.control.affinity import CHUNK_BYTES, Affinity, chunks
from manycall.control.epoch import Epoch
from manycall.control.window import START, Window
from manycall.engine.blocking import in_own_thread
from manycall.engine.bounds import most_connections, most_in_flight
from manycall.engine.effort import Effort
from manycall.engine.endpoint import TOLD, Endpoint
from manycall.engine.permits import Permits
from manycall.engine.progress import Counters
from manycall.engine.resend import Flights
from manycall.engine.resolve import resolve
from manycall.errors import RunStopped
from manycall.records import Secret
from manycall.sim import launch
from manycall.store import windows
from manycall.wire.transport import Transport

SECONDS = 1.0
"""Between two looks."""


class Pool:
    """Endpoints, and the permits to call them.

    Args:
        urls: where they are; none: as the environment says. Simulated ones are started by `open`.
        concurrency: how many calls may be in flight; None: as many as serve them best.
        plain_http: keys may go unencrypted to other machines.

    Attributes:
        names: of the endpoints, as they were given.
        pinned: the concurrency, if it was given.
        effort: how busy this process is itself.
        flights: the calls on their way.
    """

    def __init__(
        self,
        model: str,
        urls: Sequence[str],
        api_key: Secret | None,
        concurrency: int | None,
        counters: Counters,
        *,
        plain_http: bool = False,
    ) -> None:
        self.sims = [launch.Sim(each) for each in urls if launch.is_sim(each)]
        real = [each for each in urls if not launch.is_sim(each)]
        self.endpoints = [] if self.sims and not real else resolve(real, api_key, plain_http=plain_http)
        self.names = [*filter(launch.is_sim, urls), *(endpoint.url for endpoint in self.endpoints)]
        self.pinned = concurrency
        self.effort = Effort()
        self.permits = Permits(
            min(concurrency, most_connections()) if concurrency else most_in_flight(), self.endpoints
        )
        self.flights = Flights(self.endpoints, self.permits, counters)
        self._model, self._counters = model, counters
        self._tending: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Pool {self.endpoints}>"

    async def open(self, transport: Transport) -> None:
        """Start what is to be started, and look after all from now on."""
        for sim in self.sims:
            self.endpoints.append(Endpoint(await in_own_thread(sim.start)))
        if not self._counters.had_success:
            self.permits.canary_seconds = max(each.canary_seconds for each in self.endpoints)
        for endpoint in self.endpoints:
            endpoint.back = self.permits.sound
        if self.pinned is None:
            self._open_windows()
        if len(self.endpoints) > 1 and all(each.is_ours for each in self.endpoints):
            self.permits.affinity = Affinity()
        self._tending = asyncio.create_task(self._tend(transport))
        self._tending.add_done_callback(self._untended)

    def _open_windows(self) -> None:
        known = {} if self.sims else windows.recall()
        for endpoint in self.endpoints:
            if endpoint.window is None:
                last = known.get(f"{endpoint.url} {self._model}", 0)
                endpoint.window = Window(max(START, last // 2), self.permits.limit, endpoint.note)
                endpoint.trust_quota(clock.now(), TOLD)

    async def _tend(self, transport: Transport) -> None:
        """What only a look once a second can show: gauges, calls that stall, and how busy we are ourselves."""
        self.effort.look(0.0)
        while True:
            await clock.sleep(SECONDS)
            self.effort.look(SECONDS)
            for endpoint in self.endpoints:
                if endpoint.window is not None:
                    endpoint.window.client_bound = self.effort.bound
            await asyncio.gather(*(endpoint.look(transport, self._model) for endpoint in self.endpoints))
            self.permits.look_again()
            self.flights.rescue(transport)

    def _untended(self, tending: asyncio.Task[None]) -> None:
        if not tending.cancelled() and (error := tending.exception()) is not None:
            self.permits.close(RunStopped(f"a bug in manycall: {error!r}"))

    async def close(self) -> None:
        """Stop what was started; remember what was found."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait([self._tending])
        if not self.sims:  # their addresses are never the same
            found = {f"{each.url} {self._model}": each.knee for each in self.endpoints}
            windows.remember({name: knee for name, knee in found.items() if knee is not None})
        for sim in self.sims:
            await in_own_thread(sim.stop)

    def beginnings(self, body: bytes) -> tuple[int, ...]:
        """Hashes of how a request begins, if it matters who has had it."""
        return chunks(body) if self.permits.affinity is not None and len(body) > 2 * CHUNK_BYTES else ()

    @property
    def may_count_tokens(self) -> bool:
        """Whether some endpoint counts tokens, or may say so before the next call goes."""
        return any(each.may_count_tokens for each in self.endpoints)

    def answered(self, endpoint: Endpoint, epoch: Epoch, seconds: float, tokens: int) -> None:
        """A call that began in that epoch of the endpoint's window took so long for so many tokens."""
        assert endpoint.window is not None
        size = endpoint.window.size
        endpoint.window.done(epoch, seconds, tokens, clock.now())
        if endpoint.window.size > size:
            self.permits.look_again()

    def turned_away(self, endpoint: Endpoint, refusal: errors.Refused) -> None:
        """If it is the endpoint's fault, or its key's, and there is another, the call may go there."""
        rule = retry.rule(refusal)
        if rule.of_key:
            refusal.elsewhere = any(each is not endpoint and each.retired is None for each in self.endpoints)
            if refusal.elsewhere and endpoint.retired is None:
                endpoint.retire(str(refusal))
        elif rule.only_at_first and self._counters.any_success:
            refusal.elsewhere = len(self.endpoints) > 1
            endpoint.health.failed(clock.now())
