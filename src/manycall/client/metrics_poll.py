"""Poll the queue metrics that a self-hosted server publishes under /metrics."""

import math

from manycall import clock
from manycall.client.endpoint import Endpoint
from manycall.errors import ManycallError
from manycall.limits import ServerLoad
from manycall.providers import address, server_metrics
from manycall.transport.messages import HttpRequest, Transport

MAX_FAILURES, RETRY_SECONDS = 3, 60.0
"""After 3 polls of /metrics without usable metrics, wait 60 seconds before the next poll."""


class MetricsPoll:
    """The poll of one endpoint. Its concurrency window gets the metrics.

    Args:
        model: the model whose metrics count.

    Attributes:
        has_metrics: whether the last poll has read usable metrics; None before the first one.
    """

    def __init__(self, endpoint: Endpoint, model: str, transport: Transport) -> None:
        self._endpoint, self._model, self._transport = endpoint, model, transport
        parts = address.parse(endpoint.url)
        # Only self-hosted servers publish their metrics without authentication. The key is never sent to /metrics.
        self._url = None if endpoint.is_hosted else f"{parts.origin}/metrics"
        self.has_metrics: bool | None = None
        self._next_poll = -math.inf
        self._failures = 0

    def __repr__(self) -> str:
        return f"<MetricsPoll of {self._url}>"

    async def poll(self) -> None:
        """Read the metrics if it is time. Errors are ignored, because the metrics are optional."""
        window, now = self._endpoint.window, clock.now()
        if window is None or self._url is None or now < self._next_poll:
            return
        started = 0 if window.opening is None else window.opening.started
        load = await self._read(self._url)
        now = clock.now()
        self.has_metrics = load is not None
        if load is not None:
            self._failures = 0
            self._endpoint.record_queue(load.waiting)
            window.update_from_metrics(load, self._endpoint.in_flight, now, started)
            return
        self._failures += 1
        window.record_metrics_lost()
        if self._failures >= MAX_FAILURES:
            self._next_poll = now + RETRY_SECONDS

    async def _read(self, url: str) -> ServerLoad | None:
        try:
            reply = await self._transport.send(HttpRequest(url, timeout=1.0, method="GET"))
            if reply.status != 200:
                return None
            return server_metrics.parse_metrics(reply.body.decode("utf-8", "replace"), self._model)
        except ManycallError:
            return None
