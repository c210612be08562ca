"""The simulated server: OpenAI's chat, completions, embeddings and models endpoints.

It converts the bytes of a request to those of a response. They are carried over HTTP (sim/asgi.py) or within the
process (sim/in_process.py).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from manycall import clock
from manycall.records import DECODE_ERRORS
from manycall.sim import rate_limits
from manycall.sim.continuous_batching import PREFIX_CHUNK_TOKENS, BatchedCall, ContinuousBatch
from manycall.sim.generated_text import TextGenerator, token_count
from manycall.sim.rate_limits import TokenBucket
from manycall.sim.response_bodies import ANSWER_BODIES, error_body, prompt_text
from manycall.sim.sim_settings import SimSettings

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
CHUNK_CHARACTERS = 4 * PREFIX_CHUNK_TOKENS


class SimResponse(NamedTuple):
    """One response. `is_complete` is False if the connection must be closed in the middle of the body."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    is_complete: bool = True


class SimServer:
    """One simulated server.

    Attributes:
        answers: generates the text.
        batch: simulates the duration of calls.
        counts: number of calls started, finished (including dropped ones), refused (429), failed (500) and dropped
            (incomplete response), and the number of tokens.
        quotas: token buckets for "requests" and "tokens", if these are limited; may be changed during a run.
    """

    def __init__(self, settings: SimSettings, key: Mapping[str, str]) -> None:
        self.answers = TextGenerator(settings, key)
        self.batch = ContinuousBatch(settings)
        limits = {"requests": settings.rpm, "tokens": settings.tpm}
        self.quotas = {unit: TokenBucket(limit, settings.burst) for unit, limit in limits.items() if limit}
        self.counts = {"started": 0, "finished": 0, "refused": 0, "failed": 0, "dropped": 0, "tokens": 0}
        self._ticket = 0
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        return f"<SimServer {self.counts}>"

    @property
    def settings(self) -> SimSettings:
        """The current settings."""
        return self.batch.settings

    @settings.setter
    def settings(self, settings: SimSettings) -> None:
        self.batch.set_settings(settings)
        self._work(self.batch.advance(clock.now()))

    def stats(self) -> dict[str, Any]:
        """Return the counts so far and the expected accuracy."""
        return {**self.counts, "planted": self.answers.expected_correct}

    def metrics(self) -> bytes:
        """Return the metrics of the batch in vLLM's names and in the Prometheus format."""
        b = self.batch
        figures = {
            "vllm:num_requests_running": b.running,
            "vllm:num_requests_waiting": b.waiting,
            "vllm:kv_cache_usage_perc": b.memory_used,
        }
        labels = '{engine="0",model_name="sim"}'
        return "".join(f"# TYPE {name} gauge\n{name}{labels} {value:.6g}\n" for name, value in figures.items()).encode()

    async def reply(self, method: str, path: str, body: bytes) -> SimResponse:
        """Respond to one request. If the task is cancelled, its slot is released at once."""
        if path == "/sim/stats":
            return SimResponse(200, _encode(self.stats()))
        if path == "/metrics":
            return SimResponse(200, self.metrics())
        if path == "/v1/models":
            return SimResponse(200, _encode({"object": "list", "data": [{"id": "sim", "object": "model"}]}))
        if path not in ANSWER_BODIES or method != "POST":
            return SimResponse(404, error_body("not_found", f"no such path: {path}"))
        if self.settings.network:
            await clock.sleep(self.settings.network)
        return await self._call(path, body)

    async def _call(self, path: str, body: bytes) -> SimResponse:
        try:
            request = _decode(body)
            prompt = prompt_text(path, request)
        except (*DECODE_ERRORS, LookupError, TypeError) as error:
            return SimResponse(400, error_body("invalid_request_error", f"not a valid request: {error}"))
        if (limit := request.get("max_tokens")) is not None and not (isinstance(limit, int) and limit > 0):
            return SimResponse(
                400, error_body("invalid_request_error", f"max_tokens must be at least 1, not {limit!r:.50}")
            )
        size = token_count(prompt)
        ticket = self._ticket + 1
        fault = self.settings.fault(ticket)
        if fault == "error":
            self._ticket = ticket
            self.counts["started"] += 1
            self.counts["failed"] += 1
            return SimResponse(500, error_body("server_error", "simulated error"))
        answer = self.answers.answer(prompt, request)
        if self.quotas and (refusal := self._refusal(size + (request.get("max_tokens") or answer.tokens))) is not None:
            self.counts["refused"] += 1
            return SimResponse(429, error_body("rate_limit_exceeded", "rate limit exceeded"), refusal)
        self._ticket = ticket
        self.counts["started"] += 1
        slowness = self.settings.slowness(ticket)
        await self._done(
            BatchedCall(ticket, size, answer.tokens * slowness, self.settings.latency * slowness, self._chunks(prompt))
        )
        usage = {"prompt_tokens": size, "completion_tokens": answer.tokens, "total_tokens": size + answer.tokens}
        self.counts["finished"] += 1
        self.counts["tokens"] += usage["total_tokens"]
        self.counts["dropped"] += fault == "drop"
        fields = {"id": f"sim-{ticket}", "model": request.get("model", "sim"), "usage": usage}
        return SimResponse(
            200,
            _encode({**fields, **ANSWER_BODIES[path](request, answer)}),
            self._limits(),
            is_complete=fault != "drop",
        )

    def _chunks(self, prompt: str) -> list[int]:
        """Return hashes of the prefixes of a prompt; [] if the server has no prefix cache."""
        if not self.settings.prefix_cache_tokens:
            return []
        return [hash(prompt[:end]) for end in range(CHUNK_CHARACTERS, len(prompt) + 1, CHUNK_CHARACTERS)]

    async def _done(self, work: BatchedCall) -> None:
        """Wait until the call has got a slot and finished."""
        waiter = self._waiters[work.ticket] = asyncio.get_running_loop().create_future()
        self._work(self.batch.add(work, clock.now()))
        try:
            await waiter
        except asyncio.CancelledError:
            if self._waiters.pop(work.ticket, None) is not None:
                self._work(self.batch.remove(work, clock.now()))
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

    def _refusal(self, tokens: float) -> rate_limits.Headers | None:
        """Return None if the quotas admit the call, else the headers of its 429 response."""
        costs = {"requests": 1.0, "tokens": tokens}
        now = clock.now()
        for name, quota in self.quotas.items():
            if (wait := quota.take(costs[name], now)) > 0:
                if self.settings.rate_limit_headers == "none":
                    return []
                ms = str(int(wait * 1000) + 1).encode()
                seconds = str(int(wait) + 1).encode()
                return [(b"retry-after-ms", ms), (b"retry-after", seconds), *self._limits()]
        return None

    def _limits(self) -> rate_limits.Headers:
        if not self.quotas:
            return []
        return rate_limits.headers(self.settings.rate_limit_headers, self.quotas, clock.now(), clock.wall_time())
