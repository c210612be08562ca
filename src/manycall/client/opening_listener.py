"""Find out which calls a server has begun, while the concurrency window of its endpoint opens.

Three sources, in this order:

1. /metrics (client/metrics_poll.py), polled several times per second while the window is full and waits for it.
2. Calls that are streamed anyway: the first event. No call is streamed for this purpose, because a server may parse a
   streamed answer differently.
3. Probes, if a call costs nothing (no key): the same call limited to one token, sent just after it. The server begins
   calls in the order of arrival, so the response to the probe shows that the call has begun. A probe holds no permit,
   is not journaled, and counts neither as a row nor in the budget.

If none of them is possible, the window opens by the clock. At a hosted endpoint, its speed depends on the time that a
refusal takes. A refusal is an answer without a model, and so is the list of models: it is requested twice, once a run
has more calls in flight than the first few, and the second time counts, because its connection exists.
"""

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from manycall import clock
from manycall.client.call_counters import CallCounters
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint import Endpoint
from manycall.client.metrics_poll import MetricsPoll
from manycall.client.stream_reader import StreamReader
from manycall.control.concurrency_window import ConcurrencyWindow
from manycall.control.window_opening import HOSTED_STREAMED, SELF_HOSTED_BLIND, UNKNOWN_HOST, WindowOpening
from manycall.errors import ManycallError
from manycall.transport.messages import Transport

POLL_SECONDS, MAX_POLL_SECONDS = 0.03, 0.5
"""Interval between two polls of /metrics while the window waits for them: at first, and at most. It doubles with each
poll after which the window still waits."""
PROBE_DELAY_SECONDS = 0.05
"""The first probe is sent this long after the first call, and not before a call exceeds the initial window. If a whole
round of calls was answered by then, no probe is needed: the window doubles for each round of answers."""
PROBE_GAP_SECONDS = 0.005
"""A probe is sent this long after its call, so that it does not overtake it on the way to the server."""
MAX_STREAMS_JUDGED, MAX_FIRST_EVENT_SHARE = 3, 0.8
"""If the first event of one of the first 3 responses arrives after 80 % of its duration, a proxy holds streams back."""
MIN_CALLS_MEASURED, MODELS_SECONDS = 4, 2.0
"""Calls in flight from which the time of a refusal is measured, and the timeout of one request."""
NOT_PROBED = ("tools", "functions", "logprobs", "top_logprobs", "prompt_logprobs", "echo", "best_of")
"""Parameters that a server may refuse or charge differently together with max_tokens 1."""

_decode_body = msgspec.json.Decoder(dict[str, Any]).decode


def make_probe(call: EncodedCall) -> EncodedCall | None:
    """Return the same call limited to one token; None if it cannot be limited."""
    if call.api == "embeddings":
        return None
    body = _decode_body(call.body)
    if body.get("n") not in (None, 1) or any(body.get(name) not in (None, False) for name in NOT_PROBED):
        return None
    body.pop("min_tokens", None)
    body["max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"] = 1
    return EncodedCall(call.api, call.model, msgspec.json.encode(body), call.key, 1)


class OpeningListener:
    """The observation of one endpoint. It ends with the opening.

    Args:
        endpoint: its `listener` is this object until the observation ends.
        window: the window that opens.
        poll: reads the metrics of the server.
        timeout: seconds for one probe.
        on_change: called when the window may have room for another call.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        window: ConcurrencyWindow,
        poll: MetricsPoll,
        transport: Transport,
        timeout: float,
        on_change: Callable[[], None],
    ) -> None:
        self._endpoint, self._window, self._poll, self._transport = endpoint, window, poll, transport
        self._timeout, self._on_change = timeout, on_change
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: tuple[EncodedCall, CallCounters] | None = None  # the last call, until the first probe is sent
        self._may_probe_now = False  # the delay is over
        self._began = math.inf  # when the first call was sent
        self._is_probe_starting = False  # its task was created
        self._streams = 0
        self._measures_refusals = endpoint.is_hosted

    def __repr__(self) -> str:
        return f"<OpeningListener of {self._endpoint.url}, {len(self._tasks)} tasks>"

    def close(self) -> None:
        """Observe no more calls."""
        self._endpoint.observe_with(None)
        for task in self._tasks:
            task.cancel()

    def record_sent(self, call: EncodedCall, reader: StreamReader | None, counters: CallCounters) -> None:
        """Record that a call is sent. `reader` receives its response if it is streamed."""
        opening = self._window.opening
        if opening is None:
            self.close()
            return
        if self._measures_refusals and self._endpoint.in_flight >= MIN_CALLS_MEASURED:
            self._measures_refusals = False
            self._start(self._measure_refusals())
        if reader is None and self._endpoint.is_hosted:
            return
        opening.record_started()
        self._began = min(self._began, clock.now())
        if reader is not None:
            self._observe_stream(opening, reader)
        elif self._poll.has_metrics is False:
            self._probe_if_due(opening, call, counters)
        elif not self._tasks:
            self._last = (call, counters)
            self._start(self._watch_metrics())
        elif self._last is not None:
            self._last = (call, counters)

    def record_stream(self, first_event_seconds: float, seconds: float) -> None:
        """Record when the first event of a streamed response arrived, and how long the response took."""
        self._streams += 1
        if self._streams <= MAX_STREAMS_JUDGED and first_event_seconds > MAX_FIRST_EVENT_SHARE * seconds:
            self._open_by_clock("streams are held back")

    async def _measure_refusals(self) -> None:
        """Measure how long an answer takes that needs no model. Its status does not matter."""
        request, seconds = self._endpoint.api.models_request(MODELS_SECONDS), 0.0
        try:
            for _ in range(2):
                began = clock.now()
                await self._transport.send(request)
                seconds = clock.now() - began
        except ManycallError:
            return
        if self._window.opening is not None:
            self._window.opening.expect_refusals_after(seconds)
            self._on_change()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _observe_stream(self, opening: WindowOpening, reader: StreamReader) -> None:
        if self._endpoint.is_hosted:
            opening.follow(HOSTED_STREAMED)
        place = opening.take_mark(clock.now())
        if place is not None:
            reader.notify_of_first_event(partial(self._record_begun, place))

    def _record_begun(self, place: int) -> None:
        self._window.record_begun(place, self._endpoint.in_flight, clock.now())
        self._on_change()

    async def _watch_metrics(self) -> None:
        """Poll the metrics at once, and then while the window waits for them."""
        await self._poll.poll()
        last, self._last = self._last, None
        if not self._poll.has_metrics and last is not None and self._window.opening is not None:
            self._probe_if_due(self._window.opening, *last)
        seconds = POLL_SECONDS
        while self._poll.has_metrics and (opening := self._window.opening) is not None:
            if opening.is_blocked(self._endpoint.in_flight):
                await self._poll.poll()
                still_waits = opening.is_blocked(self._endpoint.in_flight)
                seconds = min(2 * seconds, MAX_POLL_SECONDS) if still_waits else POLL_SECONDS
                self._on_change()
            await clock.sleep(seconds)

    def _probe_if_due(self, opening: WindowOpening, call: EncodedCall, counters: CallCounters) -> None:
        """Send a probe for the call if it is a mark. The first one is delayed, and is for the last call until then."""
        if self._may_probe_now:
            if opening.is_mark_due and not self._is_probe_starting:
                self._send_probe(call, counters)
        elif opening.is_beyond_start:
            if self._last is None:
                self._start(self._probe_later())
            self._last = (call, counters)

    async def _probe_later(self) -> None:
        """Send the first probe after a delay, or none if the server answers at once."""
        await clock.sleep(max(0.0, self._began + PROBE_DELAY_SECONDS - clock.now()))
        last, self._last, self._may_probe_now = self._last, None, True
        opening = self._window.opening
        if opening is None or last is None:
            return
        if opening.has_fast_answers:
            self._window.skip_opening(clock.now())
            self._on_change()
        else:
            self._probe_if_due(opening, *last)

    def _send_probe(self, call: EncodedCall, counters: CallCounters) -> None:
        probe = make_probe(call) if self._endpoint.key is None else None
        if probe is None:
            self._open_by_clock("")
        else:
            self._is_probe_starting = True
            self._start(self._probe(probe, counters))

    async def _probe(self, probe: EncodedCall, counters: CallCounters) -> None:
        """Send a probe. It marks the last of the calls that are permitted at this moment, all of which start first."""
        await clock.sleep(PROBE_GAP_SECONDS)
        self._is_probe_starting = False
        opening = self._window.opening
        place = None if opening is None else opening.take_mark(clock.now())
        if place is None:
            return
        await clock.sleep(PROBE_GAP_SECONDS)
        counters.record_probe()
        try:
            request = self._endpoint.api.prepare(probe, self._timeout).request
            status = (await self._transport.send(request)).status
        except ManycallError as error:
            self._open_by_clock(f"a probe failed: {error}")
            return
        if status == 200:
            self._record_begun(place)
        else:
            self._open_by_clock(f"a probe was refused with status {status}")

    def _open_by_clock(self, why: str) -> None:
        """Open by the clock, because first tokens cannot be observed."""
        opening = self._window.opening
        if opening is not None:
            is_hosted = self._endpoint.is_hosted
            opening.follow(UNKNOWN_HOST if is_hosted else SELF_HOSTED_BLIND, None if is_hosted else self._cached_cap)
            if why:
                self._endpoint.note(clock.now(), f"the window opens by the clock: {why}")
            self._on_change()

    @property
    def _cached_cap(self) -> int | None:
        """The size up to which the window opens by the clock, if an earlier run has found a knee; None if it has not.

        It is twice a small knee, and half of a large one, in case the server was restarted with a smaller one.
        """
        knee = self._endpoint.cached_knee
        if knee is None:
            return None
        return max(min(2 * knee, SELF_HOSTED_BLIND.cap), min(knee // 2, SELF_HOSTED_BLIND.next_cap))
