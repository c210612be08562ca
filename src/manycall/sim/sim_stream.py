"""Streamed bodies: server-sent events, and the pace at which they are sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from manycall import clock

CONNECTION_LOST = b""
"""A piece that means: the connection is lost."""


class StreamPlan(NamedTuple):
    """The events of one streamed answer.

    Attributes:
        opening: sent with the first piece of text.
        deltas: the pieces of text.
        closing: sent when the answer is complete.
        opens_at_once: the opening is sent when the stream begins.
    """

    opening: bytes
    deltas: list[bytes]
    closing: bytes
    opens_at_once: bool = False

    def as_array(self) -> "StreamPlan":
        """Return one JSON array with the data of all events, which is sent when the answer is complete."""
        chunks = (chunk.removeprefix(b"data: ").strip() for chunk in (self.opening, *self.deltas, self.closing))
        return StreamPlan(b"", [], b"[%s]" % b",\n".join(chunk for chunk in chunks if chunk))

    def broken(self, ending: bytes) -> "StreamPlan":
        """Return a stream of half of the text that ends in another way."""
        return self._replace(deltas=self.deltas[: -(-len(self.deltas) // 2)], closing=ending)


class Pace(NamedTuple):
    """How fast a stream is sent.

    Attributes:
        interval: seconds between two pieces.
        latency: seconds before the first text, without waiting for a slot.
        duration: seconds from the first text to the last.
        keep_alive: bytes that are sent if there is no text to send; b"": nothing.
        max_silence: seconds without a byte after which the connection is closed; None: never.
    """

    interval: float
    latency: float
    duration: float
    keep_alive: bytes = b""
    max_silence: float | None = None

    def ready(self, elapsed: float, pieces: int) -> int:
        """Return how many of the pieces of text are generated after some seconds."""
        if elapsed < self.latency or self.duration <= 0:
            return 0
        return min(pieces, int(pieces * (elapsed - self.latency) / self.duration))


def sse(data: Any, event: str = "") -> bytes:
    """Return one event. The data are encoded as JSON, unless they are bytes."""
    name = b"event: %s\n" % event.encode() if event else b""
    return b"%sdata: %s\n\n" % (name, data if isinstance(data, bytes) else msgspec.json.encode(data))


async def paced(plan: StreamPlan, pace: Pace, done: asyncio.Future[None]) -> AsyncIterator[bytes]:
    """Yield the events of a plan. The last text is sent when `done` completes. Then the closing is sent.

    A plan without a closing ends with a lost connection.
    """
    began = last = clock.now()
    sent = -1  # the opening is piece number 0
    if plan.opens_at_once:
        yield plan.opening
        sent = 0
    wait = min(pace.interval, pace.max_silence or pace.interval)
    while not done.done():
        await asyncio.wait([done], timeout=wait)
        if done.done():
            break
        ready = pace.ready(clock.now() - began, len(plan.deltas))
        if ready > max(sent, 0):
            yield (plan.opening if sent < 0 else b"") + b"".join(plan.deltas[max(sent, 0) : ready])
            sent, last = ready, clock.now()
        elif pace.keep_alive:
            yield pace.keep_alive
            last = clock.now()
        elif pace.max_silence is not None and clock.now() - last >= pace.max_silence - 1e-6:
            yield CONNECTION_LOST
            return
    if sent < 0 and plan.opening:
        yield plan.opening
    for delta in plan.deltas[max(sent, 0) :]:
        yield delta
    yield plan.closing or CONNECTION_LOST
