"""The window against simulated servers, in pure simulation: no loop, no client."""

import math
import random
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.control.concurrency_window import ConcurrencyWindow
from manycall.control.knee_search import Resize
from manycall.control.regression import MonitorInterval
from manycall.control.window_opening import HOSTED, INITIAL_WINDOW, SELF_HOSTED
from manycall.limits import ServerLoad
from manycall.sim.continuous_batching import BatchedCall, ContinuousBatch
from manycall.sim.sim_settings import SimSettings


def server(slots: int, **more: Any) -> SimSettings:
    return SimSettings(latency=0, token_latency=0.008, batch_latency=4e-5, slots=slots, **more)


class Played:
    """A run of so many calls under a window. Attributes: rate: tokens a second after a quarter of the calls."""

    def __init__(
        self,
        behaviour: SimSettings,
        window: ConcurrencyWindow,
        calls: int,
        *,
        tokens: float = 250,
        spread: float = 0.8,
        prompt: int = 50,
        gauges: bool = False,
        becomes: tuple[float, SimSettings] | None = None,
        seed: int = 1,
    ) -> None:
        self.window, self.now, self.in_flight = window, 0.0, 0
        self._batch, self._gauges, self._becomes = ContinuousBatch(behaviour), gauges, becomes
        self._started: dict[int, tuple[float, MonitorInterval]] = {}
        self._ends: list[tuple[float, float]] = []
        self.seconds: list[float] = []
        rng = random.Random(seed)
        mu = math.log(tokens) - spread * spread / 2
        works = [BatchedCall(n, prompt, max(1, round(rng.lognormvariate(mu, spread))), 0.0) for n in range(calls)]
        look = 1.0
        for work in works:
            while window.earliest(self.in_flight, self.now) > self.now:
                due = self._batch.due()
                assert due is not None
                until = min(window.earliest(self.in_flight, self.now), due)
                if gauges and look < until:
                    self._pass(look)
                    window.update_from_metrics(
                        ServerLoad(self._batch.running, self._batch.waiting), self.in_flight, self.now
                    )
                    look += 1
                else:
                    self._pass(until)
            self.in_flight += 1
            window.record_sent(self.in_flight, self.now)
            self._started[work.ticket] = (self.now, window.interval)
            self._done(self._batch.add(work, self.now))
        self.rate = self.rate_from(0.25)
        self.p50 = statistics.median(self.seconds[len(self.seconds) // 4 :])

    def rate_from(self, share: float) -> float:
        """Tokens a second, once this share of the calls was done."""
        skip = int(share * len(self._ends))
        return sum(n for _, n in self._ends[skip:]) / (self._ends[-1][0] - self._ends[skip][0])

    def _pass(self, until: float) -> None:
        if self._becomes is not None and until >= self._becomes[0]:
            self._done(self._batch.advance(self._becomes[0]))
            self._batch.settings, self._becomes = self._becomes[1], None
        self.now = max(self.now, until)
        self._done(self._batch.advance(self.now))

    def _done(self, works: list[BatchedCall]) -> None:
        for work in works:
            began, epoch = self._started.pop(work.ticket)
            self.in_flight -= 1
            self._ends.append((self.now, work.output))
            self.seconds.append(self.now - began)
            self.window.record_answer(epoch, self.now - began, round(work.output), self.now)


def fixed(size: int) -> ConcurrencyWindow:
    return ConcurrencyWindow(size, max_size=size)


@pytest.mark.parametrize("gauges", [False, True])
@pytest.mark.parametrize(("slots", "calls"), [(8, 1500), (64, 8000), (100, 8000), (256, 16_000)])
def test_the_knee_is_found(slots: int, calls: int, gauges: bool) -> None:
    best = Played(server(slots), fixed(slots), calls)
    found = Played(server(slots), ConcurrencyWindow(), calls, gauges=gauges)
    assert found.rate >= (0.98 if gauges else 0.95) * best.rate
    assert found.p50 <= 1.6 * best.p50
    assert found.window.knee_found


@pytest.mark.parametrize(("after", "calls"), [(128, 14_000), (512, 20_000)])
def test_a_knee_that_moves_is_followed(after: int, calls: int) -> None:
    found = Played(server(256), ConcurrencyWindow(), calls, becomes=(100.0, server(after)))
    best = Played(server(after), fixed(after), calls)
    assert found.rate_from(0.6) >= 0.95 * best.rate_from(0.6)
    assert statistics.median(found.seconds[int(0.6 * calls) :]) <= 1.7 * best.p50


def test_memory_is_a_knee_too() -> None:
    behaviour = server(1024, kv_cache_tokens=50_000)
    best = max(Played(behaviour, fixed(size), 6000).rate for size in (96, 128, 160, 192))
    assert Played(behaviour, ConcurrencyWindow(), 6000).rate >= 0.95 * best


def test_answers_of_equal_length_come_in_waves_and_are_no_trap() -> None:
    best = Played(server(100), fixed(100), 8000, spread=0.0)
    found = Played(server(100), ConcurrencyWindow(), 8000, spread=0.0)
    assert found.rate >= 0.95 * best.rate
    assert found.window.size <= 400


def test_it_begins_where_it_ended_and_never_gets_wider_than_it_may() -> None:
    assert ConcurrencyWindow().size == INITIAL_WINDOW
    assert ConcurrencyWindow(100).size == 100
    assert Played(server(256), ConcurrencyWindow(max_size=40), 3000).window.size == 40
    assert ConcurrencyWindow(100, max_size=40).size == 40


def test_it_does_not_grow_while_something_else_is_the_limit() -> None:
    window = ConcurrencyWindow()
    for n in range(1000):  # never more than two in flight
        window.record_sent(2, float(n))
        window.record_answer(window.interval, 1.0, 100 + n % 50, float(n))
    assert window.size == INITIAL_WINDOW
    window.client_bound = True
    for n in range(1000):
        window.record_sent(INITIAL_WINDOW, 1000.0 + n)
        window.record_answer(window.interval, 1.0, 100 + n % 50, 1000.0 + n)
    assert window.size == INITIAL_WINDOW


def test_it_opens_gradually_so_that_a_quota_refuses_few_calls() -> None:
    window = ConcurrencyWindow(100)
    window.open_to(200, 10.0)
    assert window.size == 200
    assert window.earliest(99, 10.0) <= 10.0
    assert 10.4 < window.earliest(150, 10.0) < 10.6
    assert window.earliest(199, 11.0) <= 11.0
    assert window.earliest(200, 11.0) == math.inf


def test_a_server_that_is_too_busy_gets_fewer_and_time_to_recover() -> None:
    changes: list[str] = []
    window = ConcurrencyWindow(100, note=lambda now, why: changes.append(why))
    for n in range(20):
        window.record_answer(window.interval, 1.0, 50, 1.0 + n / 10)
        window.record_overload(1.0 + n / 10)
    assert window.size == 70
    assert changes == ["window 100 → 70: server overloaded"]


def test_every_change_is_reported_with_its_reason() -> None:
    changes: list[str] = []
    Played(server(64), ConcurrencyWindow(note=lambda now, why: changes.append(why)), 4000)
    assert changes[0] == "window 8 → 16"
    assert all(": " in change for change in changes[1:])
    assert any("queue" in change for change in changes)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("done"), st.floats(0, 100), st.integers(0, 5000)),
            st.tuples(st.just("busy"), st.just(0.0), st.just(0)),
            st.tuples(st.just("read"), st.floats(0, 1e6), st.integers(0, 10**6)),
            st.tuples(st.just("paced"), st.floats(0, 1e6), st.just(0)),
        ),
        max_size=400,
    ),
    st.integers(1, 500),
)
def test_it_stays_within_its_bounds_for_any_events(events: list[tuple[str, float, int]], most: int) -> None:
    window, now = ConcurrencyWindow(max_size=most), 0.0
    for what, number, count in events:
        now += 0.1
        window.record_sent(window.size, now)
        match what:
            case "done":
                window.record_answer(window.interval, number, count, now)
            case "busy":
                window.record_overload(now)
            case "read":
                window.update_from_metrics(ServerLoad(number, count), window.size, now)
            case "paced":
                window.open_to(number, now)
        assert 1 <= window.size <= most
        assert window.earliest(window.size, now) == math.inf
        assert window.earliest(window.size - 1, now + 2) <= now + 2


def answers(
    window: ConcurrencyWindow, count: int, *, seconds: float = 1.0, tokens: int = 50, now: float = 0.0
) -> float:
    """So many answers, all alike, with the window full; returns the moment of the last."""
    for _ in range(count):
        now += seconds / window.size
        window.record_sent(window.size, now)
        window.record_answer(window.interval, seconds, tokens, now)
    return now


def test_a_window_of_one_grows_again() -> None:
    window = ConcurrencyWindow(1)
    window._apply(Resize(1, ""), window.interval.fit(), 0.0)
    answers(window, 2000)
    assert window.size > 8


def test_an_outage_says_nothing_of_how_much_the_server_can_take() -> None:
    window = ConcurrencyWindow(100)
    for n in range(5000):
        window.record_overload(n / 10)
    assert window.size == 100


def test_after_a_reduction_it_finds_the_knee_again() -> None:
    window, now = ConcurrencyWindow(64), 0.0
    for n in range(400):
        now = n / 20
        window.record_sent(window.size, now)
        window.record_answer(window.interval, 1.0, 50, now)
        window.record_overload(now)
    assert window.size < 64
    answers(window, 4000, now=now + 60)
    assert window.size >= 64


def test_gauges_that_go_silent_leave_it_to_the_answers() -> None:
    window = ConcurrencyWindow(rule=SELF_HOSTED)
    window.update_from_metrics(ServerLoad(8, 0), 8, 1.0)
    window.record_metrics_lost()
    assert "opening" in repr(window)
    window.skip_opening(2.0)
    window.update_from_metrics(ServerLoad(8, 5), 13, 3.0)
    window.record_metrics_lost()
    assert "steady" in repr(window)
    played = Played(server(64), window, 6000)
    assert played.window.size < 200


def test_gauges_that_never_see_a_queue_are_no_trouble() -> None:
    window = ConcurrencyWindow(max_size=10)
    window.update_from_metrics(ServerLoad(10, 50), 10, 0.0)
    for n in range(3000):
        window.update_from_metrics(ServerLoad(10, 0), 10, float(n))
    assert window.size == 10


@pytest.mark.parametrize("at_once", [False, True])
def test_calls_that_wait_before_the_server_counts_them_are_no_reason_to_send_more(at_once: bool) -> None:
    window, now = ConcurrencyWindow(), 0.0
    if at_once:
        window.update_from_metrics(ServerLoad(3, 0), 8, 0.0)
    for second in range(1, 60):  # something on the way lets a thousand calls a second through, whatever their number
        for n in range(1000):
            now = second + n / 1000
            window.record_sent(window.size, now)
            window.record_answer(window.interval, window.size / 1000, 20, now)
        window.update_from_metrics(ServerLoad(3, 0), window.size, now)
    assert window.size < 100


@pytest.mark.parametrize("seconds", [0.1, 1.0, 20.0])
def test_calls_that_bring_answers_are_sent_while_nothing_waits(seconds: float) -> None:
    behaviour = SimSettings(latency=0, token_latency=seconds / 250, slots=5000)
    played = Played(behaviour, ConcurrencyWindow(max_size=2048), round(60_000 / max(1, seconds / 2)), gauges=True)
    assert played.window.size >= 1024


def test_in_the_opening_metrics_without_a_queue_permit_twice_the_calls_that_run() -> None:
    window = ConcurrencyWindow(rule=SELF_HOSTED)

    def send(count: int, now: float) -> int:
        sent = 0
        while sent < count and window.earliest(sent, now) <= now:
            sent += 1
            window.record_sent(sent, now)
            assert window.opening is not None
            window.opening.record_started()
        return sent

    assert send(1000, 1.0) == 16
    window.update_from_metrics(ServerLoad(16, 0), 16, 1.1, started=16)
    assert window.earliest(16, 2.0) <= 2.0
    window.update_from_metrics(ServerLoad(16, 20), 36, 2.1, started=16)
    assert window.size == 16  # prompts may queue for a moment
    window.update_from_metrics(ServerLoad(16, 20), 36, 2.7, started=16)
    assert window.opening is None
    assert window.knee_found
    assert window.size == round(1.04 * 16 + 2)


def test_a_limit_of_concurrent_calls_is_the_window_and_is_not_judged() -> None:
    window = ConcurrencyWindow(rule=HOSTED)
    window.set_limit(20, 1.0)
    assert (window.size, window.earliest(19, 1.0) <= 1.0, window.earliest(20, 99.0)) == (20, True, math.inf)
    answers(window, 2000, now=1.0)
    for second in range(20):
        window.update_from_metrics(ServerLoad(20, 0), 20, 100.0 + second)
    assert window.size == 20
    window.set_limit(None, 900.0)
    answers(window, 2000, now=900.0)
    assert window.size > 20


def test_a_window_that_steps_aside_opens_by_the_clock_and_is_not_judged() -> None:
    window = ConcurrencyWindow(rule=SELF_HOSTED)
    window.step_aside(1.0)
    now, in_flight = 1.0, 0
    while now < 10.0:
        while window.earliest(in_flight, now) <= now:
            in_flight += 1
            window.record_sent(in_flight, now)
        now += 0.05
    assert in_flight > 1000
    window.skip_opening(10.0)
    window.step_aside(10.0)
    assert window.opening is not None


def test_the_window_does_not_open_while_this_machine_is_the_limit() -> None:
    window = ConcurrencyWindow(rule=HOSTED)
    window.set_client_bound(True)
    assert window.earliest(INITIAL_WINDOW, 99.0) == math.inf
    window.set_client_bound(False)
    assert window.earliest(INITIAL_WINDOW, 99.0) <= 99.0
