"""How a simulated server behaves: its slots, its pace, its quotas, its faults. Pure: `now` is an argument.

A server of the present kind works on many calls at once, a token of each a step (continuous batching: Orca, OSDI
2022; vLLM). A step takes a + c·(calls in it), so more calls at once give more tokens a second, ever fewer for each,
until slots or memory for the calls' tokens are used up; then calls wait, first come first served.
"""

import heapq
from collections import OrderedDict, deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from manycall.errors import UsageError

MANY = 1_000_000_000
RANGES = (
    ("slots memory rpm tpm", 1, MANY),
    ("latency token_latency batch_latency prefill_latency network tokens spread follow cache burst", 0, MANY),
    ("accuracy error_rate drop_rate slow_rate invalid_rate", 0, 1),
)
"""(names, least, most). What is not a number is in none of them."""


class Behaviour(msgspec.Struct, frozen=True):
    """What a server is like.

    Attributes:
        latency: seconds that every call holds its slot before the first token.
        token_latency: seconds of a step, in which each call gets a token.
        batch_latency: seconds that each call in the batch adds to the step.
        prefill_latency: seconds for each token of a prompt that is not cached; meanwhile no call gets a token.
        network: seconds on the way, outside of any slot; refusals take them too.
        tokens, spread: answers to questions that it has no answer key for: mean length, and the standard deviation
            of its logarithm (lognormal).
        follow: an answer has so many tokens for each of its prompt, instead of `tokens`.
        slots: calls it works on at once; more wait, first come first served.
        memory: tokens of prompts and answers that it can hold at once; None: any number.
        cache: tokens of prompts that it remembers the beginnings of.
        rpm, tpm: requests and tokens it takes a minute; None: as many as come. A call costs its prompt and its
            max_tokens, or what it will say if it has none.
        burst: seconds' worth of its quotas that may come at once.
        dialect: how it speaks of its quotas (sim/dialects.py).
        accuracy: fraction of the answer key's questions that it answers right, exactly.
        error_rate, drop_rate, slow_rate: fractions of calls that get a 500, that are cut off in the middle of
            the reply, that take ten times as long.
        invalid_rate: fraction of answers that do not fit the schema that was asked for.
        seed: of everything that is drawn.

    Raises:
        UsageError: a number that no server is like.
    """

    latency: float = 0.02
    token_latency: float = 0.001
    batch_latency: float = 0.0
    prefill_latency: float = 0.0
    network: float = 0.0
    tokens: float = 60.0
    spread: float = 0.5
    follow: float = 0.0
    slots: int = 256
    memory: int | None = None
    cache: int = 0
    rpm: int | None = None
    tpm: int | None = None
    burst: float = 1.0
    dialect: str = "openai"
    accuracy: float = 0.75
    error_rate: float = 0.0
    drop_rate: float = 0.0
    slow_rate: float = 0.0
    invalid_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for names, least, most in RANGES:
            for name in names.split():
                value = getattr(self, name)
                if value is not None and not least <= value <= most:
                    raise UsageError(f"--{name.replace('_', '-')} must be from {least} to {most:,}, not {value}")

    def fault(self, ticket: int) -> str:
        """ "" or "error" or "drop", for the ticket-th call."""
        if not self.error_rate and not self.drop_rate:
            return ""
        u = draw(self.seed, "fault", ticket)
        return "error" if u < self.error_rate else "drop" if u < self.error_rate + self.drop_rate else ""

    def slowness(self, ticket: int) -> float:
        """By how much longer the ticket-th call takes."""
        return 10.0 if self.slow_rate and draw(self.seed, "slow", ticket) < self.slow_rate else 1.0


def draw(seed: int, *what: Any) -> float:
    """A number in [0, 1), always the same for the same things."""
    return int.from_bytes(blake2b(f"{seed} {what}".encode(), digest_size=7).digest(), "big") / 2**56


class Work(msgspec.Struct):
    """One call, as the batch sees it. `chunks` are hashes of its prompt's beginnings, CHUNK tokens longer each."""

    ticket: int
    prompt: int
    output: float
    latency: float
    chunks: Sequence[int] = ()
    gone: bool = False


CHUNK = 64
"""Tokens that a prefix cache remembers or forgets together."""


class Batch:
    """Continuous batching. Between two events (a call comes, a call is done) all goes at one pace, so that only the
    events need be computed, however many tokens there are.

    Attributes:
        behaviour: may be changed while it works.
        running: calls that hold a slot.
        reused: prompt tokens that were found in the cache.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.running = 0
        self.reused = 0
        self._waiting: deque[Work] = deque()
        self._starting: list[tuple[float, int, Work]] = []  # (second of its first token, ...)
        self._decoding: list[tuple[float, int, Work]] = []  # (step of its last token, ...)
        self._alive = 0  # of those that decode
        self._held = 0.0  # tokens in memory
        self._steps = 0.0
        self._owed = 0.0  # seconds of prefill before the next step
        self._at = 0.0
        self._cache: OrderedDict[int, None] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Batch {self.running} running, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """Calls that have no slot yet."""
        return len(self._waiting)

    @property
    def memory_used(self) -> float:
        """Fraction of the memory for tokens."""
        return self._held / self.behaviour.memory if self.behaviour.memory else 0.0

    def add(self, work: Work, now: float) -> list[Work]:
        """A call comes; returns those that were done by now."""
        done = self.advance(now)
        self._waiting.append(work)
        self._admit()
        return done

    def remove(self, work: Work, now: float) -> list[Work]:
        """Whoever asked has hung up; returns those that were done by now."""
        done = self.advance(now)
        work.gone = True
        if work in self._waiting:
            self._waiting.remove(work)
        elif work not in done:
            started = any(each is work for _, _, each in self._decoding)
            self._alive -= started
            self._release(work)
        return done

    def due(self) -> float | None:
        """When something happens next, if nobody comes or goes; None if nothing will."""
        while self._decoding and self._decoding[0][2].gone:
            heapq.heappop(self._decoding)
        while self._starting and self._starting[0][2].gone:
            heapq.heappop(self._starting)
        at = self._starting[0][0] if self._starting else None
        if self._decoding:
            last = self._at + self._owed + (self._decoding[0][0] - self._steps) * self._step
            at = last if at is None else min(at, last)
        return at

    def advance(self, now: float) -> list[Work]:
        """Work on until now; returns the calls that got done, in order."""
        done: list[Work] = []
        while (at := self.due()) is not None and at <= now:
            self._pass(at)
            if self._starting and self._starting[0][0] <= self._at:
                work = heapq.heappop(self._starting)[2]
                heapq.heappush(self._decoding, (self._steps + work.output, work.ticket, work))
                self._alive += 1
            else:
                step, _, work = heapq.heappop(self._decoding)
                self._steps = max(self._steps, step)
                self._alive -= 1
                self._release(work)
                done.append(work)
        self._pass(now)
        return done

    @property
    def _step(self) -> float:
        return self.behaviour.token_latency + self.behaviour.batch_latency * self._alive

    def _pass(self, until: float) -> None:
        seconds = until - self._at
        if seconds <= 0:
            return
        paid = min(seconds, self._owed)
        self._owed -= paid
        if self._alive and self._step > 0:
            self._steps += (seconds - paid) / self._step
        self._at = until

    def _release(self, work: Work) -> None:
        self.running -= 1
        self._held -= work.prompt + work.output
        self._admit()

    def _admit(self) -> None:
        b = self.behaviour
        while self._waiting and self.running < b.slots:
            need = self._waiting[0].prompt + self._waiting[0].output
            if b.memory is not None and self.running and self._held + need > b.memory:
                return
            work = self._waiting.popleft()
            self.running += 1
            self._held += need
            if b.prefill_latency:
                self._owed += (work.prompt - self._cached(work)) * b.prefill_latency
            heapq.heappush(self._starting, (self._at + work.latency, work.ticket, work))

    def _cached(self, work: Work) -> int:
        """Tokens of its prompt that are in the cache; its own go in."""
        known = 0
        for number, chunk in enumerate(work.chunks, 1):
            if chunk in self._cache:
                if known == (number - 1) * CHUNK:
                    known = number * CHUNK
                self._cache.move_to_end(chunk)
            elif self.behaviour.cache:
                self._cache[chunk] = None
        while len(self._cache) * CHUNK > self.behaviour.cache:
            self._cache.popitem(last=False)
        self.reused += min(known, work.prompt)
        return min(known, work.prompt)


class Bucket:
    """A token bucket: so much a minute, at most `burst` seconds' worth (or one call) at once."""

    def __init__(self, per_minute: float, burst: float = 1.0) -> None:
        self.per_minute = per_minute
        self.burst = burst
        self._level: float | None = None
        self._at = 0.0

    @property
    def _rate(self) -> float:
        return self.per_minute / 60

    @property
    def _most(self) -> float:
        return max(1.0, self._rate * self.burst)

    def take(self, cost: float, now: float) -> float:
        """0 if the call may go; otherwise seconds until it might."""
        level = self._fill(now)
        need = min(cost, self._most)  # a call larger than the bucket may go when it is full
        if level >= need - 1e-9:
            self._level = level - cost
            return 0.0
        return (need - level) / self._rate

    def _fill(self, now: float) -> float:
        level = self._most if self._level is None else self._level + (now - self._at) * self._rate
        self._level, self._at = min(self._most, level), now
        return self._level

    def left(self, now: float) -> int:
        """What could be taken now."""
        return max(0, int(self._fill(now)))

    def full_in(self, now: float) -> float:
        """Seconds until it is whole again."""
        return (self._most - self._fill(now)) / self._rate
