"""What every simulated API has in common: the batch, the quotas, the generated text and the counts."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from manycall import clock
from manycall.sim import rate_limits
from manycall.sim.continuous_batching import PREFIX_CHUNK_TOKENS, BatchedCall, ContinuousBatch
from manycall.sim.generated_text import AnswerKey, TextGenerator
from manycall.sim.rate_limits import TokenBucket
from manycall.sim.sim_settings import SimSettings

CHUNK_CHARACTERS = 4 * PREFIX_CHUNK_TOKENS


class SimResponse(NamedTuple):
    """One response.

    Attributes:
        body: the body; empty if the response is streamed.
        headers: headers other than content-type and content-length.
        is_complete: False if the connection must be closed in the middle of the body.
        content_type: media type of the body.
        stream: pieces of a streamed body, as they are sent. An empty piece means: close the connection now.
    """

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    is_complete: bool = True
    content_type: bytes = b"application/json"
    stream: AsyncIterator[bytes] | None = None


class SimEngine:
    """The batch, the quotas, the text and the counts of one simulated server.

    Attributes:
        answers: generates the text.
        batch: simulates the duration of calls.
        counts: number of calls started, finished (including dropped ones), refused (429), failed (500) and dropped
            (incomplete response), and the number of tokens and of embedded texts.
        quotas: token buckets for "requests" and "tokens", if these are limited; may be changed during a run.
    """

    def __init__(self, settings: SimSettings, key: AnswerKey) -> None:
        self.answers = TextGenerator(settings, key)
        self.batch = ContinuousBatch(settings)
        limits = {"requests": settings.rpm, "tokens": settings.tpm}
        self.quotas = {unit: TokenBucket(limit, settings.burst) for unit, limit in limits.items() if limit}
        self.counts = {"started": 0, "finished": 0, "refused": 0, "failed": 0, "dropped": 0, "tokens": 0, "inputs": 0}
        self._ticket = 0
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.counts}>"

    @property
    def settings(self) -> SimSettings:
        """The current settings."""
        return self.batch.settings

    @settings.setter
    def settings(self, settings: SimSettings) -> None:
        self.batch.set_settings(settings)
        self._work(self.batch.advance(clock.now()))

    @property
    def next_ticket(self) -> int:
        """The number of the next call that is not refused."""
        return self._ticket + 1

    def count_start(self) -> int:
        """Count a call that is not refused, and return its number."""
        self._ticket += 1
        self.counts["started"] += 1
        return self._ticket

    def prefix_chunks(self, prompt: str) -> list[int]:
        """Return hashes of the prefixes of a prompt; [] if the server has no prefix cache."""
        if not self.settings.prefix_cache_tokens:
            return []
        return [hash(prompt[:end]) for end in range(CHUNK_CHARACTERS, len(prompt) + 1, CHUNK_CHARACTERS)]

    def start_work(self, work: BatchedCall) -> asyncio.Future[None]:
        """Add a call to the batch. The future completes when the call has got a slot and finished."""
        waiter = self._waiters[work.ticket] = asyncio.get_running_loop().create_future()
        self._work(self.batch.add(work, clock.now()))
        return waiter

    def abandon(self, work: BatchedCall) -> None:
        """Release the slot of a call that the client has cancelled, unless it has finished."""
        if self._waiters.pop(work.ticket, None) is not None:
            self._work(self.batch.remove(work, clock.now()))

    async def finish_work(self, work: BatchedCall) -> None:
        """Wait until the call has got a slot and finished."""
        waiter = self.start_work(work)
        try:
            await waiter
        except asyncio.CancelledError:
            self.abandon(work)
            raise

    def _work(self, done: list[BatchedCall]) -> None:
        """Complete the finished calls and set the timer for the next event."""
        for work in done:
            waiter = self._waiters.pop(work.ticket)
            if not waiter.done():
                waiter.set_result(None)
        due = self.batch.due()
        if self._timer is not None:
            if due is not None and self._timer_at <= due:
                return  # an early timer is harmless: it sets the next one
            self._timer.cancel()
        self._timer = None
        if due is not None:
            self._timer, self._timer_at = asyncio.get_running_loop().call_at(due, self._on_timer), due

    def _on_timer(self) -> None:
        self._timer = None
        self._work(self.batch.advance(clock.now()))

    def refusal(self, tokens: float) -> rate_limits.Headers | None:
        """Return None if the quotas admit a call of this length, else the headers of its 429 response."""
        costs = {"requests": 1.0, "tokens": tokens}
        now = clock.now()
        for name, quota in self.quotas.items():
            if (wait := quota.take(costs[name], now)) > 0:
                if self.settings.header_dialect == "none":
                    return []
                ms = str(int(wait * 1000) + 1).encode()
                seconds = str(int(wait) + 1).encode()
                return [(b"retry-after-ms", ms), (b"retry-after", seconds), *self.limit_headers()]
        return None

    def limit_headers(self) -> rate_limits.Headers:
        """Return the rate-limit headers of a response."""
        if not self.quotas:
            return []
        return rate_limits.headers(self.settings.header_dialect, self.quotas, clock.now(), clock.wall_time())

    def stats(self) -> dict[str, Any]:
        """Return the counts so far and the expected accuracy."""
        return {**self.counts, "planted": self.answers.expected_correct}
