"""What only a look once a second can show: the servers' own gauges, calls that stall, and how busy we are ourselves."""

import asyncio
from typing import Protocol

from manycall import clock
from manycall.engine.endpoint import Endpoint
from manycall.engine.permits import Permits
from manycall.engine.resend import Flights
from manycall.wire.transport import Transport

SECONDS = 1.0
BUSY = 0.9
"""Of a core: when our one thread needs so much, more calls in flight would only wait for us."""


class Tended(Protocol):
    """What is looked after: a pool (engine/pool.py)."""

    endpoints: list[Endpoint]
    permits: Permits
    flights: Flights
    busy: bool


async def tend(pool: Tended, transport: Transport, model: str) -> None:
    """Look after the endpoints, until cancelled."""
    then, used = clock.now(), clock.cpu()
    while True:
        await clock.sleep(SECONDS)
        now, cpu = clock.now(), clock.cpu()
        pool.busy = (cpu - used) > BUSY * (now - then)
        then, used = now, cpu
        for endpoint in pool.endpoints:
            if endpoint.window is not None:
                endpoint.window.client_bound = pool.busy
        await asyncio.gather(*(endpoint.look(transport, model) for endpoint in pool.endpoints))
        pool.permits.look_again()
        pool.flights.rescue(transport)
