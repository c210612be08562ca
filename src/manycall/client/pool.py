"""The endpoints of one open client, monitored once a second."""

import asyncio
import math
import random
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import msgspec

from manycall import clock
from manycall.client import window_cache
from manycall.client.attempt import Answered, AttemptSender, Sender
from manycall.client.cpu_load import CpuLoad
from manycall.client.encoded_call import EncodedCall
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_selector import EndpointSelector
from manycall.client.hedging import HedgingSender
from manycall.client.metrics_poll import MetricsPoll
from manycall.client.opening_listener import OpeningListener
from manycall.client.permits import Permits
from manycall.client.threads import in_own_thread
from manycall.control.regression import MonitorInterval
from manycall.control.retry import RULES, FailedAttempt
from manycall.control.token_estimate import TokenEstimator, text_size
from manycall.errors import FailureClass, RunStopped
from manycall.limits import CallCost
from manycall.providers.parameter_lesson import ParameterChange
from manycall.providers.reasoning import is_thinking_model
from manycall.records import Usage
from manycall.sim.process import SimProcess
from manycall.transport.messages import Transport


class ClientStatus(NamedTuple):
    """The state of a client's endpoints.

    Attributes:
        in_flight: number of calls in flight.
        window: maximum number of calls in flight.
        limited_by: what limits the throughput, in a few words.
    """

    in_flight: int
    window: int
    limited_by: str


ONE_CALL = CallCost()
"""What a call takes from quotas that do not count tokens."""
MONITOR_SECONDS = 1.0
"""Interval of the monitor."""


class EndpointPool:
    """Endpoints, the permits to call them, and what sends the calls. `open_pool` opens it.

    Args:
        model: the model of the calls that do not name another one.
        endpoints: at least one.
        permits: the queue for permission to send to them.
        selector: chooses among them.
        sims: those of them that are simulated; stopped by `close`.
        rng: source of the jitter in the backoff between attempts.
        fixed_concurrency: the concurrency, if the user gave one.
        timeout: seconds for one attempt.

    Attributes:
        model: the model of the calls that do not name another one.
        sender: makes the attempts.
        hedger: the same, if there are several endpoints; None otherwise.
        cpu_load: the CPU load of this process.
        estimate: expected tokens of a call.
        job_numbers: numbers the jobs of the client; calls of earlier jobs go first.
        now: returns the time; faster than `clock.now`.
    """

    def __init__(
        self,
        model: str,
        endpoints: Sequence[Endpoint],
        permits: Permits,
        selector: EndpointSelector,
        transport: Transport,
        *,
        timeout: float,
        rng: random.Random,
        sims: Sequence[SimProcess] = (),
        fixed_concurrency: int | None = None,
    ) -> None:
        self.endpoints, self.permits, self.selector, self.sims, self.rng = endpoints, permits, selector, sims, rng
        self.fixed_concurrency = fixed_concurrency
        self.cpu_load = CpuLoad()
        self.estimate = TokenEstimator()
        self.job_numbers = count()
        self.now = clock.running_clock()
        sender = AttemptSender(transport, timeout, permits.end_outage, self.now)
        self.hedger = HedgingSender(sender, endpoints, permits) if len(endpoints) > 1 else None
        self.sender: Sender = self.hedger or sender
        self.model = model
        self._thinkers: dict[str, bool] = {}
        self._polls = [MetricsPoll(each, each.api.adapter.sent_model(model), transport) for each in endpoints]
        for endpoint, poll in zip(endpoints, self._polls, strict=True):
            if endpoint.window is not None and endpoint.window.opening is not None:
                endpoint.observe_with(
                    OpeningListener(endpoint, endpoint.window, poll, transport, timeout, permits.recheck)
                )
        self._monitor_task = asyncio.create_task(self._monitor())
        self._monitor_task.add_done_callback(self._monitor_ended)

    def is_thinker(self, model: str) -> bool:
        """Return whether the answers of a model may begin inside a thinking text.

        That is so if an option switches thinking on in the chat template of a server (see `BodyAdapter`), or if the
        model has the name of a thinking model at an endpoint.
        """
        known = self._thinkers.get(model)
        if known is None:
            adapters = [each.api.adapter for each in self.endpoints]
            known = self._thinkers[model] = any(
                each.template_thinks or is_thinking_model(each.sent_model(model)) for each in adapters
            )
        return known

    def __repr__(self) -> str:
        return f"<EndpointPool {self.endpoints}>"

    async def _monitor(self) -> None:
        """Once a second, sample the CPU load, poll the servers' metrics and hedge stalled calls."""
        while True:
            await self.cpu_load.sample_after(MONITOR_SECONDS)
            for endpoint in self.endpoints:
                if endpoint.window is not None:
                    endpoint.window.set_client_bound(self.cpu_load.is_limiting)
            await asyncio.gather(*(each.poll() for each in self._polls))
            self.permits.recheck()
            if self.hedger is not None:
                self.hedger.hedge_stalled()

    def _monitor_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.permits.close(RunStopped(f"a bug in manycall: {error!r}"))

    async def close(self) -> None:
        """Stop the monitor and the simulated endpoints; cache the windows."""
        for endpoint in self.endpoints:
            if endpoint.listener is not None:
                endpoint.listener.close()
        self._monitor_task.cancel()
        await asyncio.wait([self._monitor_task])
        is_alone = self.permits.lease_until == math.inf  # one of several processes has found a part of the window
        if is_alone and not self.sims:  # simulated endpoints get a new address each time
            knees = {f"{each.url} {self.model}": each.knee for each in self.endpoints}
            window_cache.save_windows({name: knee for name, knee in knees.items() if knee is not None})
        for sim in self.sims:
            await in_own_thread(sim.stop)

    def cost(self, call: EncodedCall) -> CallCost:
        """Return what a call may take from the quotas, including all output tokens that it permits.

        ONE_CALL if no endpoint has a token quota, and none may still advertise one.
        """
        for each in self.endpoints:
            if each.may_count_tokens():
                return CallCost(1.0, self.estimate.estimate(text_size(call.body), call.max_output_tokens))
        return ONE_CALL

    def learn(
        self,
        call: EncodedCall,
        cost: CallCost,
        endpoint: Endpoint,
        interval: MonitorInterval | None,
        response: Answered,
        used: Usage,
    ) -> None:
        """Update an endpoint's window, its quota and the token estimate with an answer.

        Args:
            cost: what the call has reserved in the quotas; ONE_CALL if they do not count tokens.
            endpoint: the endpoint that the call was sent to. A copy of the call may have been answered by another one.
            interval: the interval of its window in which the call was sent; None without a window.
        """
        if interval is not None and response.endpoint is endpoint:
            tokens = used.completion_tokens or len(response.body) // 4
            if endpoint.record_answer(interval, response.seconds, tokens, response.in_flight):
                self.permits.recheck()
        if cost is not ONE_CALL:
            self.estimate.update(text_size(call.body), used.prompt_tokens, used.completion_tokens)
            output = call.max_output_tokens if endpoint.reserves_max_tokens else None
            endpoint.quota.settle(cost, CallCost(1.0, used.prompt_tokens + (output or used.completion_tokens)))
            if endpoint.quota.counts_tokens:
                self.permits.recheck()  # the next call may use the unused part of the reservation

    @property
    def parameter_changes(self) -> list[ParameterChange]:
        """How the bodies that are sent differ from the canonical ones, as far as refusals have taught it."""
        urls = {each.api.adapter: each.url for each in self.endpoints}
        return [
            ParameterChange(**msgspec.structs.asdict(lesson), endpoint=url, model=model)
            for adapter, url in urls.items()
            for model, lesson in adapter.learned
        ]

    def fail_over(self, endpoint: Endpoint, failure: FailedAttempt, *, any_success: bool) -> FailedAttempt:
        """Return the failure with its alternative: another endpoint or key, if it is due to this one.

        Args:
            any_success: whether a call of the job has succeeded.
        """
        rule, now = RULES[failure.failure_class], clock.now()
        has_alternative = False
        if rule.disables_key or failure.failure_class is FailureClass.DAILY_QUOTA:
            has_alternative = any(each is not endpoint and each.is_usable(now) for each in self.endpoints)
            if rule.disables_key and has_alternative and endpoint.disabled_reason is None:
                endpoint.disable(str(failure.error))
        elif failure.failure_class is FailureClass.OUTAGE:
            has_alternative = any(each is not endpoint and not each.is_ejected(now) for each in self.endpoints)
            endpoint.health.record_failure(now)
        elif rule.only_before_success and any_success:
            has_alternative = len(self.endpoints) > 1
            endpoint.health.record_failure(now)
        return failure._replace(has_alternative=has_alternative)
