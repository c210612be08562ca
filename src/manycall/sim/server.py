"""One simulated server: OpenAI's chat, completions, embeddings and models; the bytes of a request in, those of its
reply out. It does not know whether they came over HTTP (sim/http.py) or from the same process (sim/transport.py).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from manycall import clock
from manycall.records import UNREADABLE
from manycall.sim import dialects
from manycall.sim.answers import Answer, Answers, token_count
from manycall.sim.model import CHUNK, Batch, Behaviour, Bucket, Work, draw

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
DIMENSIONS = 8
CHUNK_CHARACTERS = 4 * CHUNK


class Reply(NamedTuple):
    """`whole`: False if the connection is to be cut in the middle of it."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()
    whole: bool = True


class Server:
    """One simulated server.

    Attributes:
        stats: started (calls that it took up), finished (answered in full, or cut off after the work was
            done), refused (429), failed (500), dropped, tokens.
        quotas: "requests" and "tokens", as far as there are such; may be changed while it works.
    """

    def __init__(self, behaviour: Behaviour, key: Mapping[str, str]) -> None:
        self.answers = Answers(behaviour, key)
        self.batch = Batch(behaviour)
        limits = {"requests": behaviour.rpm, "tokens": behaviour.tpm}
        self.quotas = {unit: Bucket(limit, behaviour.burst) for unit, limit in limits.items() if limit}
        self.stats = {"started": 0, "finished": 0, "refused": 0, "failed": 0, "dropped": 0, "tokens": 0}
        self._ticket = 0
        self._asking: dict[int, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def __repr__(self) -> str:
        return f"<Server {self.stats}>"

    @property
    def behaviour(self) -> Behaviour:
        """What it is like now."""
        return self.batch.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self.batch.behaviour = behaviour
        self._work(self.batch.advance(clock.now()))

    def report(self) -> dict[str, Any]:
        """What it has done so far."""
        return {**self.stats, "planted": self.answers.planted}

    def metrics(self) -> bytes:
        """Its queue, in the words of vLLM."""
        b = self.batch
        figures = {
            "vllm:num_requests_running": b.running,
            "vllm:num_requests_waiting": b.waiting,
            "vllm:kv_cache_usage_perc": b.memory_used,
        }
        labels = '{engine="0",model_name="sim"}'
        return "".join(f"# TYPE {name} gauge\n{name}{labels} {value:.6g}\n" for name, value in figures.items()).encode()

    async def reply(self, method: str, path: str, body: bytes) -> Reply:
        """Answer one request. If the asker hangs up (is cancelled), its slot is free at once."""
        if path == "/sim/stats":
            return Reply(200, _encode(self.report()))
        if path == "/metrics":
            return Reply(200, self.metrics())
        if path == "/v1/models":
            return Reply(200, _encode({"object": "list", "data": [{"id": "sim", "object": "model"}]}))
        if path not in ANSWERS or method != "POST":
            return Reply(404, _error("not_found", f"there is nothing at {path}"))
        if self.behaviour.network:
            await clock.sleep(self.behaviour.network)
        return await self._call(path, body)

    async def _call(self, path: str, body: bytes) -> Reply:
        try:
            asked = _decode(body)
            prompt = _prompt(path, asked)
        except (*UNREADABLE, LookupError, TypeError) as error:
            return Reply(400, _error("invalid_request_error", f"not a request: {error}"))
        if (most := asked.get("max_tokens")) is not None and not (isinstance(most, int) and most > 0):
            return Reply(400, _error("invalid_request_error", f"max_tokens must be at least 1, not {most!r:.50}"))
        size = token_count(prompt)
        ticket = self._ticket + 1
        fault = self.behaviour.fault(ticket)
        if fault == "error":
            self._ticket = ticket
            self.stats["started"] += 1
            self.stats["failed"] += 1
            return Reply(500, _error("server_error", "a fault, as ordered"))
        answer = self.answers.answer(prompt, asked)
        if self.quotas and (refusal := self._refusal(size + (asked.get("max_tokens") or answer.tokens))) is not None:
            self.stats["refused"] += 1
            return Reply(429, _error("rate_limit_exceeded", "too many for now"), refusal)
        self._ticket = ticket
        self.stats["started"] += 1
        slowness = self.behaviour.slowness(ticket)
        await self._done(
            Work(ticket, size, answer.tokens * slowness, self.behaviour.latency * slowness, self._chunks(prompt))
        )
        used = {"prompt_tokens": size, "completion_tokens": answer.tokens, "total_tokens": size + answer.tokens}
        self.stats["finished"] += 1
        self.stats["tokens"] += used["total_tokens"]
        self.stats["dropped"] += fault == "drop"
        told = {"id": f"sim-{ticket}", "model": asked.get("model", "sim"), "usage": used}
        return Reply(200, _encode({**told, **ANSWERS[path](asked, answer)}), self._limits(), whole=fault != "drop")

    def _chunks(self, prompt: str) -> list[int]:
        """Hashes of its beginnings, if this server has a prefix cache."""
        if not self.behaviour.cache:
            return []
        return [hash(prompt[:end]) for end in range(CHUNK_CHARACTERS, len(prompt) + 1, CHUNK_CHARACTERS)]

    async def _done(self, work: Work) -> None:
        """Wait for a slot, and until the work is done."""
        asking = self._asking[work.ticket] = asyncio.get_running_loop().create_future()
        self._work(self.batch.add(work, clock.now()))
        try:
            await asking
        except asyncio.CancelledError:
            if self._asking.pop(work.ticket, None) is not None:
                self._work(self.batch.remove(work, clock.now()))
            raise

    def _work(self, done: list[Work]) -> None:
        """Tell those that are done; see to it that we come back when the next is."""
        for work in done:
            asking = self._asking.pop(work.ticket)
            if not asking.done():
                asking.set_result(None)
        due = self.batch.due()
        if self._timer is not None:
            if due is not None and self._timer_at <= due:
                return  # early is no harm: it will look, and set the next one
            self._timer.cancel()
        self._timer = None
        if due is not None:
            self._timer, self._timer_at = asyncio.get_running_loop().call_at(due, self._time_has_come), due

    def _time_has_come(self) -> None:
        self._timer = None
        self._work(self.batch.advance(clock.now()))

    def _refusal(self, tokens: float) -> dialects.Headers | None:
        """None if the quotas let the call in; otherwise the headers of its 429."""
        costs = {"requests": 1.0, "tokens": tokens}
        now = clock.now()
        for name, quota in self.quotas.items():
            if (wait := quota.take(costs[name], now)) > 0:
                if self.behaviour.dialect == "none":
                    return []
                ms = str(int(wait * 1000) + 1).encode()
                seconds = str(int(wait) + 1).encode()
                return [(b"retry-after-ms", ms), (b"retry-after", seconds), *self._limits()]
        return None

    def _limits(self) -> dialects.Headers:
        if not self.quotas:
            return []
        return dialects.headers(self.behaviour.dialect, self.quotas, clock.now(), clock.wall())


def _prompt(path: str, asked: Mapping[str, Any]) -> str:
    if path == "/v1/chat/completions":
        return "\n\n".join(str(message["content"]) for message in asked["messages"])
    asked_for = asked["prompt" if path == "/v1/completions" else "input"]
    return str(asked_for[0] if isinstance(asked_for, list) else asked_for)


def _chat(asked: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    return {"object": "chat.completion", "created": int(clock.wall()), "choices": [choice]}


def _completion(asked: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    choice = {"index": 0, "text": answer.text, "finish_reason": answer.finish_reason}
    return {"object": "text_completion", "created": int(clock.wall()), "choices": [choice]}


def _embeddings(asked: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [{"object": "embedding", "index": i, "embedding": vector(text)} for i, text in enumerate(texts)]
    return {"object": "list", "data": data}


def vector(text: Any) -> list[float]:
    """An embedding: always the same for the same text."""
    return [draw(0, "vector", text, d) for d in range(DIMENSIONS)]


ANSWERS: dict[str, Callable[[Mapping[str, Any], Answer], dict[str, Any]]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/v1/embeddings": _embeddings,
}


def _error(code: str, message: str) -> bytes:
    return _encode({"error": {"message": message, "type": code, "param": None, "code": code}})
