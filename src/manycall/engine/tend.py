"""What only a look once a second can show: the servers' own gauges, calls that stall, and how busy we are ourselves."""

import asyncio
from collections.abc import Callable, Sequence

from manycall import clock
from manycall.engine.endpoint import Endpoint
from manycall.engine.permits import Permits
from manycall.engine.resend import Flights
from manycall.wire.transport import Transport

SECONDS = 1.0
BUSY = 0.9
"""Of a core: when our one thread needs so much, more calls in flight would only wait for us."""


async def tend(
    endpoints: Sequence[Endpoint],
    permits: Permits,
    flights: Flights,
    transport: Transport,
    model: str,
    busy: Callable[[bool], None],
) -> None:
    """Look after the endpoints, until cancelled.

    Args:
        busy: told each time whether this process is what binds.
    """
    then, used = clock.now(), clock.cpu()
    while True:
        await clock.sleep(SECONDS)
        now, cpu = clock.now(), clock.cpu()
        client_bound = (cpu - used) > BUSY * (now - then)
        then, used = now, cpu
        busy(client_bound)
        for endpoint in endpoints:
            if endpoint.window is not None:
                endpoint.window.client_bound = client_bound
        await asyncio.gather(*(endpoint.look(transport, model) for endpoint in endpoints))
        permits.look_again()
        flights.rescue(transport)
