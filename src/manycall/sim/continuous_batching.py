"""Model of a server with continuous batching: slots, KV cache, prefill and decode steps. Pure: `now` is an argument.

Current inference servers process many calls at once and generate one token of each per step (continuous batching:
Orca, OSDI 2022; vLLM). A step takes a + c·(number of calls). So more concurrent calls increase the total throughput and
reduce the speed of each call, until the slots or the KV cache are used up. Then calls wait in order of arrival.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Sequence

import msgspec

from manycall.sim.sim_settings import SimSettings


class BatchedCall(msgspec.Struct):
    """One call in the batch.

    Attributes:
        ticket: number of the call.
        prompt: prompt length in tokens.
        output: output length in tokens.
        latency: seconds before the first token.
        chunks: hashes of the prefixes of the prompt, in steps of PREFIX_CHUNK_TOKENS.
        gone: the client has cancelled the call.
    """

    ticket: int
    prompt: int
    output: float
    latency: float
    chunks: Sequence[int] = ()
    gone: bool = False

    def cancel(self) -> None:
        """Record that the client has cancelled the call."""
        self.gone = True


PREFIX_CHUNK_TOKENS = 64
"""Block size of the prefix cache, in tokens."""


class ContinuousBatch:
    """A server with continuous batching.

    Between two events (a call arrives or finishes) the speed is constant. So the cost of the simulation depends on the
    number of calls, not of tokens.

    Attributes:
        settings: the current settings; may be replaced during the simulation.
        running: number of calls that hold a slot.
        reused: number of prompt tokens that were found in the prefix cache.
    """

    def __init__(self, settings: SimSettings) -> None:
        self.settings = settings
        self.running = 0
        self.reused = 0
        self._waiting: deque[BatchedCall] = deque()
        self._starting: list[tuple[float, int, BatchedCall]] = []  # (time of the first token, ...)
        self._decoding: list[tuple[float, int, BatchedCall]] = []  # (step of the last token, ...)
        self._decoding_count = 0  # number of calls that are decoding
        self._held = 0.0  # tokens in the KV cache
        self._steps = 0.0
        self._owed = 0.0  # seconds of prefill that precede the next step
        self._at = 0.0
        self._cache: OrderedDict[int, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<ContinuousBatch {self.running} running, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Number of calls that wait for a slot."""
        return len(self._waiting)

    @property
    def memory_used(self) -> float:
        """Used fraction of the KV cache, 0 to 1."""
        return self._held / self.settings.kv_cache_tokens if self.settings.kv_cache_tokens else 0.0

    def set_settings(self, settings: SimSettings) -> None:
        """Replace the settings."""
        self.settings = settings

    def add(self, work: BatchedCall, now: float) -> list[BatchedCall]:
        """Add a call; return the calls that have finished by now."""
        done = self.advance(now)
        self._waiting.append(work)
        self._admit()
        return done

    def remove(self, work: BatchedCall, now: float) -> list[BatchedCall]:
        """Remove a cancelled call; return the calls that have finished by now."""
        done = self.advance(now)
        work.cancel()
        if work in self._waiting:
            self._waiting.remove(work)
        elif work not in done:
            started = any(each is work for _, _, each in self._decoding)
            self._decoding_count -= started
            self._release(work)
        return done

    def due(self) -> float | None:
        """Return the time of the next event if no call is added or removed; None if there is none."""
        while self._decoding and self._decoding[0][2].gone:
            heapq.heappop(self._decoding)
        while self._starting and self._starting[0][2].gone:
            heapq.heappop(self._starting)
        at = self._starting[0][0] if self._starting else None
        if self._decoding:
            last = self._at + self._owed + (self._decoding[0][0] - self._steps) * self._step
            at = last if at is None else min(at, last)
        return at

    def advance(self, now: float) -> list[BatchedCall]:
        """Advance the simulation to `now`; return the calls that have finished, in order."""
        done: list[BatchedCall] = []
        while (at := self.due()) is not None and at <= now:
            self._advance_to(at)
            if self._starting and self._starting[0][0] <= self._at:
                work = heapq.heappop(self._starting)[2]
                heapq.heappush(self._decoding, (self._steps + work.output, work.ticket, work))
                self._decoding_count += 1
            else:
                step, _, work = heapq.heappop(self._decoding)
                self._steps = max(self._steps, step)
                self._decoding_count -= 1
                self._release(work)
                done.append(work)
        self._advance_to(now)
        return done

    @property
    def _step(self) -> float:
        return self.settings.token_latency + self.settings.batch_latency * self._decoding_count

    def _advance_to(self, until: float) -> None:
        seconds = until - self._at
        if seconds <= 0:
            return
        paid = min(seconds, self._owed)
        self._owed -= paid
        if self._decoding_count and self._step > 0:
            self._steps += (seconds - paid) / self._step
        self._at = until

    def _release(self, work: BatchedCall) -> None:
        self.running -= 1
        self._held -= work.prompt + work.output
        self._admit()

    def _admit(self) -> None:
        b = self.settings
        while self._waiting and self.running < b.slots:
            need = self._waiting[0].prompt + self._waiting[0].output
            if b.kv_cache_tokens is not None and self.running and self._held + need > b.kv_cache_tokens:
                return
            work = self._waiting.popleft()
            self.running += 1
            self._held += need
            if b.prefill_latency:
                self._owed += (work.prompt - self._cached(work)) * b.prefill_latency
            heapq.heappush(self._starting, (self._at + work.latency, work.ticket, work))

    def _cached(self, work: BatchedCall) -> int:
        """Return how many prompt tokens are in the prefix cache, and add those of this call."""
        known = 0
        for number, chunk in enumerate(work.chunks, 1):
            if chunk in self._cache:
                if known == (number - 1) * PREFIX_CHUNK_TOKENS:
                    known = number * PREFIX_CHUNK_TOKENS
                self._cache.move_to_end(chunk)
            elif self.settings.prefix_cache_tokens:
                self._cache[chunk] = None
        while len(self._cache) * PREFIX_CHUNK_TOKENS > self.settings.prefix_cache_tokens:
            self._cache.popitem(last=False)
        self.reused += min(known, work.prompt)
        return min(known, work.prompt)
