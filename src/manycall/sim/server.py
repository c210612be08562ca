"""The simulated server: OpenAI's chat, completions, embeddings and models endpoints, or the API of another provider.

It converts the bytes of a request to those of a response. They are carried over HTTP (sim/asgi.py) or within the
process (sim/in_process.py).
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from manycall import clock
from manycall.records import DECODE_ERRORS
from manycall.sim.continuous_batching import BatchedCall
from manycall.sim.generated_text import AnswerKey, GeneratedText, token_count
from manycall.sim.provider_server import ProviderApi
from manycall.sim.response_bodies import ANSWER_BODIES, EMBEDDINGS_PATH, error_body, prompt_text
from manycall.sim.sim_embeddings import input_texts
from manycall.sim.sim_engine import SimEngine, SimResponse
from manycall.sim.sim_request import SimRequest
from manycall.sim.sim_settings import SimSettings

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
MAX_CHOICES = 128
"""Largest value of the parameter `n`, as OpenAI documents it."""
_STREAMS = re.compile(rb'"stream"\s*:\s*true')


class SimServer(SimEngine):
    """One simulated server: a plain OpenAI-compatible one, or with `provider` the API of that provider."""

    def __init__(self, settings: SimSettings, key: AnswerKey) -> None:
        super().__init__(settings, key)
        self._provider_api = ProviderApi(self, settings)
        self._plays_provider = settings.plays_provider

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

    async def reply(
        self, method: str, path: str, body: bytes, headers: Sequence[tuple[bytes, bytes]] = (), query: str = ""
    ) -> SimResponse:
        """Respond to one request. If the task is cancelled, its slot is released at once.

        Args:
            headers: headers of the request, with names in lower case.
            query: query of the URL.
        """
        if path == "/sim/stats":
            return SimResponse(200, _encode(self.stats()))
        if path == "/metrics":
            return SimResponse(200, self.metrics())
        if self._plays_provider or (b'"stream"' in body and _STREAMS.search(body)):
            return await self._provider_api.reply(SimRequest(method, path, query, dict(headers), body))
        if path == "/v1/models":
            if self.settings.network:
                await clock.sleep(self.settings.network)
            return SimResponse(200, _encode({"object": "list", "data": [{"id": "sim", "object": "model"}]}))
        return await self._plain_reply(method, path, body)

    async def _plain_reply(self, method: str, path: str, body: bytes) -> SimResponse:
        if path not in ANSWER_BODIES or method != "POST":
            return SimResponse(404, error_body("not_found", f"no such path: {path}"))
        if self.settings.network:
            await clock.sleep(self.settings.network)
        try:
            request = _decode(body)
            prompt = prompt_text(path, request)
        except (*DECODE_ERRORS, LookupError, TypeError) as error:
            return SimResponse(400, error_body("invalid_request_error", f"not a valid request: {error}"))
        if (limit := request.get("max_tokens")) is not None and not (isinstance(limit, int) and limit > 0):
            return SimResponse(
                400, error_body("invalid_request_error", f"max_tokens must be at least 1, not {limit!r:.50}")
            )
        if (number := request.get("n")) is not None and not (isinstance(number, int) and 1 <= number <= MAX_CHOICES):
            return SimResponse(400, error_body("invalid_request_error", f"n must be from 1 to {MAX_CHOICES}"))
        return await self._answer(path, request, prompt)

    async def _answer(self, path: str, request: dict[str, Any], prompt: str) -> SimResponse:
        size = token_count(prompt)
        fault = self.settings.random_fault(self.next_ticket)
        if fault == "error":
            self.count_start()
            self.counts["failed"] += 1
            return SimResponse(500, error_body("server_error", "simulated error"))
        no_text = GeneratedText("", 0, "stop")
        answers = [
            no_text if path == EMBEDDINGS_PATH else self.answers.answer(prompt, request)
            for _ in range(request.get("n") or 1)
        ]
        longest, tokens = max(each.tokens for each in answers), sum(each.tokens for each in answers)
        if self.quotas and (refusal := self.refusal(size + (request.get("max_tokens") or longest))) is not None:
            self.counts["refused"] += 1
            return SimResponse(429, error_body("rate_limit_exceeded", "rate limit exceeded"), refusal)
        ticket = self.count_start()
        slowness = self.settings.slowness(ticket)
        chunks = self.prefix_chunks(prompt)
        await self.finish_work(BatchedCall(ticket, size, longest * slowness, self.settings.latency * slowness, chunks))
        usage = {"prompt_tokens": size, "completion_tokens": tokens, "total_tokens": size + tokens}
        self.counts["finished"] += 1
        self.counts["tokens"] += usage["total_tokens"]
        if path == EMBEDDINGS_PATH:
            self.counts["inputs"] += len(input_texts(request))
        self.counts["dropped"] += fault == "drop"
        fields = {"id": f"sim-{ticket}", "model": request.get("model", "sim"), "usage": usage}
        return SimResponse(
            200,
            _encode({**fields, **ANSWER_BODIES[path](request, answers)}),
            self.limit_headers(),
            is_complete=fault != "drop",
        )
