"""The API of one provider: refuse a request, or answer it in one piece or as a stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from manycall import clock
from manycall.records import DECODE_ERRORS
from manycall.sim.continuous_batching import BatchedCall
from manycall.sim.parameter_rules import find_refusal, find_version_refusal
from manycall.sim.provider_faults import ANSWER_FAULTS, FAULTS_OF_ROWS, find_error
from manycall.sim.sim_apis import Route, SimApi, find_route
from manycall.sim.sim_dialects import provider_dialect
from manycall.sim.sim_engine import SimEngine, SimResponse
from manycall.sim.sim_request import Body, SimAnswer, SimCall, SimRequest
from manycall.sim.sim_settings import SimSettings, sim_uniform
from manycall.sim.sim_stream import CONNECTION_LOST, Pace, StreamPlan, paced
from manycall.sim.simulated_answer import has_wrong_key, make_answer, thinks, with_fault

_HTML = b"text/html"
_GATEWAY_PAGE = b"<html><head><title>%d %s</title></head><body><center><h1>%d %s</h1></center></body></html>"


class ProviderApi:
    """The API of one provider, in front of a simulated server.

    Args:
        engine: the server.
        settings: its settings at the start. The provider does not change.
    """

    def __init__(self, engine: SimEngine, settings: SimSettings) -> None:
        self._engine = engine
        self._dialect = provider_dialect(settings.provider)
        self._requests = 0
        self._began: float | None = None

    def __repr__(self) -> str:
        return f"<ProviderApi {self._dialect.name}>"

    @property
    def _settings(self) -> SimSettings:
        return self._engine.settings

    async def reply(self, request: SimRequest) -> SimResponse:
        """Respond to one request."""
        if request.method == "GET" and request.path.endswith("/models"):
            if self._settings.network:
                await clock.sleep(self._settings.network)
            models = {"object": "list", "data": [{"id": "sim", "object": "model", "created": 0, "owned_by": "sim"}]}
            return SimResponse(200, msgspec.json.encode(models))
        route = find_route(self._dialect, request.path) if request.method == "POST" else None
        if route is None or (route.api.name == "azure" and "api-version=" not in request.query):
            return self._error("unknown_path", self._dialect.fault_sources, method=request.method, path=request.path)
        if self._settings.network:
            await clock.sleep(self._settings.network)
        if has_wrong_key(self._dialect, request.headers):
            key = b"".join(request.headers.get(name, b"") for name in self._dialect.key_headers)
            return self._error("wrong_key", route.api.fault_sources(self._dialect), key=_masked(key))
        try:
            body = msgspec.json.decode(request.body, type=Body)
            call = route.api.read(body, route.model)
            call = call._replace(stream=call.stream or route.streams)
            fault = self._fault(call)  # accounts and limits are checked before parameters
            refused = self._faulty(route.api, call, fault) or self._refused(route.api, request, call)
        except (*DECODE_ERRORS, LookupError, TypeError, AttributeError, ValueError) as error:
            message = f"not a valid request: {error}"
            return self._error("bad_request", route.api.fault_sources(self._dialect), message=message)
        return await self._respond(route, request, call, fault) if refused is None else refused

    async def _respond(self, route: Route, request: SimRequest, call: SimCall, fault: str) -> SimResponse:
        api = route.api
        if (limited := self._limited(api, call)) is not None:
            return limited
        random_fault = self._settings.random_fault(self._engine.next_ticket)
        ticket = self._engine.count_start()
        if random_fault == "error" or fault == "html_error" or (fault == "stream_error" and not call.stream):
            self._engine.counts["failed"] += 1
            return _gateway_error(502, b"Bad Gateway") if fault == "html_error" else self._server_error(api, call)
        answer = make_answer(
            self._engine.answers, self._dialect, api, call, id=f"sim-{ticket}", created=int(clock.wall_time())
        )
        answer = with_fault(answer, fault)
        work = self._work(ticket, call, answer)
        breaks = fault if fault in ("stream_error", "stream_cut") else "stream_cut" if random_fault == "drop" else ""
        if not call.stream:
            return await self._unstreamed(api, call, answer, work, is_complete=not breaks)
        plan = self._plan(api, call, answer, breaks)
        is_array = api.name == "gemini" and "alt=sse" not in request.query
        return self._streamed(plan.as_array() if is_array else plan, answer, work, is_array=is_array)

    def _faulty(self, api: SimApi, call: SimCall, fault: str) -> SimResponse | None:
        """Return the error of a call with a fault; None if the fault concerns the answer or the connection."""
        if not fault or fault in ANSWER_FAULTS:
            return None
        self._engine.counts["refused"] += 1
        return self._error(fault, api.fault_sources(self._dialect), model=call.model)

    def _server_error(self, api: SimApi, call: SimCall) -> SimResponse:
        return self._error("server_error", api.fault_sources(self._dialect), model=call.model)

    def _refused(self, api: SimApi, request: SimRequest, call: SimCall) -> SimResponse | None:
        """Return the error of a request that the provider does not accept."""
        sources = api.fault_sources(self._dialect)
        if call.model.lower().rpartition("/")[2].startswith("unknown"):
            return self._error("unknown_model", sources, model=call.model)
        refusal = find_version_refusal(api, request.headers, call.body) or find_refusal(
            self._dialect,
            api,
            call,
            refused=tuple(name for name in self._settings.refuse.split("+") if name),
            must_stream=self._settings.stream == "required",
        )
        if refusal is None:
            return None
        return self._error(refusal.fault, sources, param=refusal.param, message=refusal.message, model=call.model)

    def _fault(self, call: SimCall) -> str:
        """Return the fault of a call, if any. It depends on the prompt or on the number of the call."""
        settings, now = self._settings, clock.now()
        self._requests += 1
        if self._began is None:
            self._began = now
        elapsed = now - self._began - settings.fault_start
        if (
            not settings.fault
            or elapsed < 0
            or (settings.fault_seconds is not None and elapsed >= settings.fault_seconds)
        ):
            return ""
        subject = call.prompt if settings.fault in FAULTS_OF_ROWS else self._requests
        return settings.fault if sim_uniform(settings.seed, "provider fault", subject) < settings.fault_rate else ""

    def _limited(self, api: SimApi, call: SimCall) -> SimResponse | None:
        """Return the refusal of a call that exceeds a limit of concurrency or rate."""
        sources = api.fault_sources(self._dialect)
        batch, most = self._engine.batch, self._settings.max_concurrent
        if most is not None and batch.running + batch.waiting >= most:
            self._engine.counts["refused"] += 1
            name = "concurrency_limit" if find_error(sources, "concurrency_limit") else "rate_limit"
            return self._error(name, sources, model=call.model)
        if not self._engine.quotas:
            return None
        length = len(call.prompt) // 4 + (call.max_tokens or int(self._settings.tokens))
        if (headers := self._engine.refusal(length)) is None:
            return None
        self._engine.counts["refused"] += 1
        return self._error("rate_limit", sources, headers=headers, model=call.model)

    def _error(
        self, name: str, sources: Sequence[str], headers: Sequence[tuple[bytes, bytes]] = (), **values: str
    ) -> SimResponse:
        fault = find_error(tuple(sources), name) or find_error(("*",), name) or find_error(("*",), "bad_parameter")
        assert fault is not None
        return SimResponse(fault.status, fault.rendered(values), headers or fault.header_lines())

    def _work(self, ticket: int, call: SimCall, answer: SimAnswer) -> BatchedCall:
        slowness = self._settings.slowness(ticket)
        chunks = self._engine.prefix_chunks(call.prompt)
        tokens = answer.completion_tokens * slowness
        return BatchedCall(ticket, answer.prompt_tokens, tokens, self._settings.latency * slowness, chunks)

    def _form(self, api: SimApi, call: SimCall) -> str:
        """Return where the thinking text is. With `reasoning=auto`, the provider decides."""
        chosen = self._settings.reasoning
        if chosen not in ("auto", "none"):
            return chosen
        return self._dialect.reasoning if thinks(self._settings, self._dialect, api, call) else "reasoning_content"

    async def _unstreamed(
        self, api: SimApi, call: SimCall, answer: SimAnswer, work: BatchedCall, *, is_complete: bool
    ) -> SimResponse:
        done = self._engine.start_work(work)
        try:
            await asyncio.wait([done], timeout=self._settings.gateway_timeout)
        except asyncio.CancelledError:
            self._engine.abandon(work)
            raise
        self._count(answer, dropped=not done.done() or not is_complete)
        if not done.done():
            return _gateway_error(504, b"Gateway Time-out")
        body = msgspec.json.encode(api.reply(call, answer, self._dialect, self._form(api, call)))
        return SimResponse(200, body, self._engine.limit_headers(), is_complete)

    def _plan(self, api: SimApi, call: SimCall, answer: SimAnswer, breaks: str) -> StreamPlan:
        """Return the events of a stream, which may break off or end with an error."""
        plan = api.stream(call, answer, self._dialect, self._form(api, call))
        if not breaks:
            return plan
        error = msgspec.json.decode(self._server_error(api, call).body)
        return plan.broken(api.error_event(error) if breaks == "stream_error" else CONNECTION_LOST)

    def _streamed(self, plan: StreamPlan, answer: SimAnswer, work: BatchedCall, *, is_array: bool) -> SimResponse:
        settings = self._settings
        duration = work.output * (settings.token_latency + settings.batch_latency)
        pace = Pace(
            settings.stream_interval, work.latency, duration, self._dialect.keep_alive, settings.gateway_timeout
        )
        kind = b"application/json" if is_array else b"text/event-stream"
        pieces = self._pieces(plan, pace, answer, work)
        return SimResponse(200, b"", self._engine.limit_headers(), True, kind, pieces)

    async def _pieces(self, plan: StreamPlan, pace: Pace, answer: SimAnswer, work: BatchedCall) -> AsyncIterator[bytes]:
        done = self._engine.start_work(work)
        lost = False
        try:
            async for piece in paced(plan, pace, done):
                lost = piece == CONNECTION_LOST
                yield piece
        finally:
            if done.done():
                self._count(answer, dropped=lost)
            else:
                self._engine.abandon(work)

    def _count(self, answer: SimAnswer, *, dropped: bool) -> None:
        counts = self._engine.counts
        counts["finished"] += 1
        counts["tokens"] += answer.prompt_tokens + answer.completion_tokens
        counts["dropped"] += dropped


def _gateway_error(status: int, reason: bytes) -> SimResponse:
    return SimResponse(status, _GATEWAY_PAGE % (status, reason, status, reason), content_type=_HTML)


def _masked(key: bytes) -> str:
    return f"{key.decode('latin-1').removeprefix('Bearer ')[:5]}***"
