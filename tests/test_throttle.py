"""The throttle against servers with quotas that nobody told it of, in pure simulation."""

import heapq
import math
import random
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manycall.control.pace_growth import GrowthStage, PaceGrowth
from manycall.control.throttle import Throttle

REFUSAL_SECONDS = 0.05


class Outcome(NamedTuple):
    """used: of what the quota would have let in by then; refused: of the calls after the first wave."""

    used: float
    refused: float
    rate: float
    seconds: float


class Server:
    """A token bucket, which besides refuses so many at random."""

    def __init__(self, rate: Callable[[float], float], burst: float, at_random: float, rng: random.Random) -> None:
        self._rate, self._burst, self._at_random, self._rng = rate, burst, at_random, rng
        self._level, self._at = burst, 0.0
        self.offered = burst

    def lets_in(self, now: float) -> bool:
        gained = (now - self._at) * self._rate(now)
        self.offered += gained
        self._level, self._at = min(self._burst, self._level + gained), now
        if self._level < 1 or (self._at_random and self._rng.random() < self._at_random):
            return False
        self._level -= 1
        return True


def simulate(
    rate: Callable[[float], float],
    burst: float,
    *,
    calls: int = 6000,
    in_flight: int = 64,
    latency: float = 4.0,
    hint: float | None = None,
    at_random: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """Make so many calls as the throttle allows; answers take a lognormal time, refusals hardly any."""
    rng, throttle = random.Random(seed), Throttle()
    server = Server(rate, burst, at_random, rng)
    out: list[tuple[float, int, float, bool]] = []
    now, todo, sent, refused, last = 0.0, calls, 0, 0, 0.0
    while todo or out:
        while todo and len(out) < in_flight and throttle.earliest(now) <= now:
            throttle.record_sent(now)
            todo, sent = todo - 1, sent + 1
            let_in = server.lets_in(now)
            last = now if let_in else last
            takes = latency * rng.lognormvariate(0, 0.5) if let_in else REFUSAL_SECONDS
            heapq.heappush(out, (now + takes, sent, now, let_in))
        may_go = throttle.earliest(now) if todo and len(out) < in_flight else float("inf")
        now = min(may_go if may_go > now else float("inf"), out[0][0] if out else float("inf"))
        while out and out[0][0] <= now:
            _, _, went, let_in = heapq.heappop(out)
            if not let_in:
                throttle.record_429(went, now, hint)
                todo, refused = todo + 1, refused + 1  # at once: a call that is to wait has others to go in its place
    server.lets_in(last)
    first_wave = max(0, in_flight - int(burst))
    return Outcome(calls / server.offered, (refused - first_wave) / sent, throttle.rate or 0.0, now)


@pytest.mark.parametrize(
    ("per_second", "burst", "more", "bar"),
    [
        (lambda t: 10, 10, {}, 0.98),
        (lambda t: 10, 10, {"hint": 0.1}, 0.98),
        (lambda t: 10, 600, {}, 0.98),
        (lambda t: 10, 10, {"latency": 0.5}, 0.98),
        (lambda t: 10, 10, {"in_flight": 256}, 0.98),
        (lambda t: 100, 100, {"in_flight": 1000, "calls": 20_000}, 0.98),
        (lambda t: 100, 6000, {"in_flight": 1000, "calls": 20_000}, 0.98),
        (lambda t: 10 if t < 200 else 5, 10, {}, 0.98),
        (lambda t: 10 if t < 200 else 5, 600, {}, 0.98),
        (lambda t: 10 if t < 200 else 20, 10, {"in_flight": 256}, 0.93),
        (lambda t: 1, 1, {"calls": 1000}, 0.9),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_an_unknown_quota_is_found_and_used(
    per_second: Callable[[float], float], burst: float, more: dict[str, Any], bar: float, seed: int
) -> None:
    outcome = simulate(per_second, burst, seed=seed, **more)
    assert outcome.used >= bar
    assert outcome.refused <= 0.015


@pytest.mark.parametrize(
    ("at_random", "hint", "seconds"), [(0.02, None, 60), (0.1, None, 50), (0.1, 1.0, 80), (0.3, None, 100)]
)
def test_refusals_at_random_do_not_slow_a_run_down_for_ever(
    at_random: float, hint: float | None, seconds: float
) -> None:
    outcomes = [
        simulate(lambda t: 1e9, 1e9, calls=5000, latency=0.1, at_random=at_random, hint=hint, seed=seed)
        for seed in range(7)
    ]
    assert statistics.median(one.seconds for one in outcomes) <= seconds  # 10 to 20 for one that refuses nothing
    assert max(one.seconds for one in outcomes) <= 400
    assert statistics.median(one.refused for one in outcomes) == pytest.approx(at_random, rel=0.25)


def test_a_quota_is_kept_to_where_some_are_refused_at_random_too() -> None:
    outcome = simulate(lambda t: 50, 50, calls=6000, latency=0.1, at_random=0.05)
    assert outcome.used >= 0.2
    assert outcome.refused <= 0.3


def test_a_server_that_refuses_nothing_is_never_paced() -> None:
    outcome = simulate(lambda t: 1e9, 1e9, calls=500)
    assert outcome.rate == 0.0
    assert Throttle().earliest(0.0) == float("-inf")


def test_one_wave_of_refusals_is_one_event() -> None:
    one, many = Throttle(), Throttle()
    for throttle, wave in ((one, 1), (many, 50)):
        for _ in range(50):
            throttle.record_sent(0.0)
        for _ in range(wave):
            throttle.record_429(0.0, 0.1, None)
        assert throttle.earliest(0.1) == pytest.approx(1.1)


def test_what_the_server_named_is_kept() -> None:
    throttle = Throttle()
    throttle.record_sent(0.0)
    throttle.record_429(0.0, 0.1, 30.0)
    assert throttle.earliest(0.1) == pytest.approx(30.1)


def test_while_everything_is_refused_scouts_go_ever_more_rarely() -> None:
    throttle, now, sent = Throttle(), 0.0, 0
    while now < 60:
        now = max(now, throttle.earliest(now))
        throttle.record_sent(now)
        sent += 1
        throttle.record_429(now, now + 0.05, None)
        now += 0.05
    assert sent <= 15


def test_a_single_refusal_is_no_lesson_where_the_quota_is_known() -> None:
    throttle = Throttle()
    throttle.record_sent(0.0)
    throttle.record_429(0.0, 0.1, None, has_limit=True)
    assert throttle.earliest(0.1) == pytest.approx(0.2)
    assert throttle.rate is None
    throttle.record_sent(0.3)
    throttle.record_429(0.3, 0.4, None, has_limit=True)
    assert throttle.rate is not None


def test_a_scout_that_is_refused_does_not_slow_what_comes_after() -> None:
    """A minute in which everything is refused says nothing of the rate before and after."""
    throttle = Throttle()
    for n in range(100):
        throttle.record_sent(n / 10)
    throttle.record_429(9.9, 10.0, None)
    rate, now = throttle.rate, 10.0
    while now < 60:
        now = throttle.earliest(now)
        throttle.record_sent(now)
        throttle.record_429(now, now + 0.05, None)
        now += 0.05
    assert throttle.rate == rate


def refused_once(calls: int = 50) -> Throttle:
    """A throttle after this many calls at second 0, one of which was refused at 0.1: the gate opens at 1.1."""
    throttle = Throttle()
    for _ in range(calls):
        throttle.record_sent(0.0)
    throttle.record_429(0.0, 0.1, None)
    return throttle


def test_the_gate_stays_shut_twice_as_long_each_time_that_nothing_was_accepted_in_between() -> None:
    throttle, now, shut = Throttle(), 100.0, []
    for accepted in (0, 0, 0, 0, 1, 0):
        for n in range(accepted + 1):
            now = throttle.earliest(now) if now < throttle.earliest(now) else now
            throttle.record_sent(now + n)
        throttle.record_429(now + accepted, now + accepted, None)
        now += accepted
        shut.append(throttle._closed_until - now)
    assert shut == pytest.approx([1, 2, 4, 8, 1, 2])


def test_after_a_refusal_one_call_tests_the_gate_before_the_others_follow() -> None:
    throttle = refused_once(5000)
    assert throttle.earliest(1.1) == pytest.approx(1.1)
    throttle.record_sent(1.1)
    assert throttle.earliest(1.1) == pytest.approx(1.3)  # twice as long as the refusal took
    throttle.record_sent(1.3)
    assert throttle.earliest(1.3) < 1.31  # now only the learned pace counts, 156 calls/s, doubling


def test_a_call_that_was_to_test_the_gate_and_was_not_sent_leaves_the_test_to_the_next() -> None:
    throttle = refused_once(5000)
    throttle.record_sent(1.1)
    throttle.cancel()
    assert throttle.earliest(1.15) <= 1.15
    throttle.record_sent(1.15)
    assert throttle.earliest(1.15) == pytest.approx(1.35)


def test_a_call_that_was_not_sent_shuts_no_gate_that_is_open() -> None:
    throttle = refused_once(5000)
    throttle.record_sent(1.1)
    throttle.record_sent(1.3)
    throttle.cancel()
    throttle.record_sent(1.4)
    assert throttle.earliest(1.4) < 1.45


def test_the_rate_is_that_of_the_calls_accepted_between_two_refusals() -> None:
    throttle = refused_once()  # at second 0 a burst of 49 calls was accepted
    for n in range(20):
        throttle.record_sent(1.1 + n / 10)
    throttle.record_sent(4.1)
    throttle.record_429(4.1, 4.2, None)
    throttle.earliest(5.2)
    assert throttle.rate == pytest.approx(0.95 * 20.5 / 4.1)


def refused_after(burst: int, seconds: float, begin: float = 0.0) -> Throttle:
    """A throttle after one call per second until `begin`, a burst of calls at equal intervals, and a refusal."""
    throttle = Throttle()
    for second in range(round(begin)):
        throttle.record_sent(second)
    for n in range(burst + 1):
        throttle.record_sent(begin + seconds * n / burst)
    throttle.record_429(begin + seconds, begin + seconds + 0.05, None)
    return throttle


@pytest.mark.parametrize(("burst", "gained"), [(60, -0.5), (20, 0.5), (6, 0.5)])
def test_the_first_measurement_is_rounded_down_if_the_server_permits_unused_calls_later(
    burst: int, gained: float
) -> None:
    throttle = refused_after(burst, 2.0)
    for n in range(18):
        throttle.record_sent(3.1 + n / 4)
    throttle.record_sent(8.0)
    throttle.record_429(8.0, 8.05, None)
    throttle.earliest(9.1)
    assert throttle.rate == pytest.approx(0.95 * (18 + gained) / 6.0, rel=0.002)  # grown for a moment
    assert throttle._pace.stage is (GrowthStage.LATER if gained < 0 else GrowthStage.FIRST)


@pytest.mark.parametrize("begin", [0.0, 40.0, 600.0])
def test_how_long_few_calls_were_made_before_a_burst_does_not_change_what_is_measured(begin: float) -> None:
    throttle = refused_after(300, 10.0, begin)
    for n in range(30):
        throttle.record_sent(begin + 11.1 + n / 3)
    throttle.record_429(begin + 21.0, begin + 21.05, None)
    assert throttle._pace.stage is GrowthStage.LATER


@pytest.mark.parametrize("per_minute", [60, 70, 90, 120])
def test_a_slow_quota_with_a_burst_of_a_minute_refuses_at_most_three_calls_after_the_burst(per_minute: int) -> None:
    server = Server(lambda t: per_minute / 60, per_minute, 0.0, random.Random(1))
    throttle, now, waves = Throttle(), 0.0, 0
    for _ in range(300):
        now = max(now + 1 / 60, throttle.earliest(now))
        throttle.record_sent(now)
        if not server.lets_in(now):
            throttle.record_429(now, now + REFUSAL_SECONDS, None)
            waves += 1
    assert waves <= 1 + 3


@pytest.mark.parametrize(("burst_seconds", "at_most"), [(1, 40), (60, 6)])
def test_after_the_first_refusal_few_calls_exceed_the_quota_whatever_its_burst(
    burst_seconds: int, at_most: int
) -> None:
    """The server has accepted all that it permits at once; how long it took to save that up does not show."""
    accepted, throttle, now = 600, Throttle(), 1.05
    per_second = accepted / burst_seconds
    for n in range(accepted):
        throttle.record_sent(n / accepted)
    throttle.record_429(1.0, now, None)
    level, too_many, first = 0.0, 0, math.inf
    while now < first + REFUSAL_SECONDS:  # until the second wave is over
        at = max(now, throttle.earliest(now))
        level, now = min(accepted, level + per_second * (at - now)), at
        throttle.record_sent(now)
        if level < 1:
            too_many, first = too_many + 1, min(first, now)
        else:
            level -= 1
    assert too_many <= at_most


def test_the_ramp_doubles_in_the_time_of_three_refusals_up_to_the_calls_accepted() -> None:
    pace = PaceGrowth(0.2)
    pace.begin_ramp(640, 0.1)
    pace.start(10.0)
    assert [pace.rate(at) for at in (9.0, 10.0, 10.3, 10.6, 11.5)] == pytest.approx([20, 20, 40, 80, 640])
    assert pace.rate(13.5) == pytest.approx(1280)  # then every 2 s


def test_on_the_ramp_calls_are_as_many_as_the_growing_rate_permits() -> None:
    pace, now, calls = PaceGrowth(0.2), 0.0, 0
    pace.begin_ramp(64, 0.1)  # from 4 calls per second
    pace.start(0.0)
    while now < 1.2:
        now, calls = now + pace.cost(now) / pace.rate(now), calls + 1
    assert calls == pytest.approx(4 * 0.3 / math.log(2) * (2**4 - 1), abs=1)


def test_a_slow_quota_is_searched_with_at_most_one_doubling_for_eight_calls() -> None:
    pace = PaceGrowth(0.2)
    pace.set_rate(1.0, GrowthStage.SEARCH)
    pace.start(0.0)
    assert pace.rate(60.0) == 1.0
    for _ in range(8):
        pace.record_sent()
    assert pace.rate(1.0) == pytest.approx(2**0.5)
    assert pace.rate(60.0) == pytest.approx(2.0)


@given(st.floats(1, 60), st.sampled_from([1.0, 60.0]), st.floats(0.5, 6), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_any_quota_is_found_and_hardly_overrun(per_second: float, burst: float, latency: float, seed: int) -> None:
    capacity = max(1.0, burst * per_second)
    calls = int(capacity + 120 * per_second)
    in_flight = max(64, int(1.5 * latency * per_second))
    outcome = simulate(lambda t: per_second, capacity, calls=calls, in_flight=in_flight, latency=latency, seed=seed)
    assert outcome.used >= 0.83
    assert outcome.refused <= 0.05


def test_a_later_and_shorter_retry_after_does_not_open_the_gate_early() -> None:
    throttle = Throttle()
    for _ in range(3):
        throttle.record_sent(0.0)
    throttle.record_429(0.0, 0.1, 30.0)
    throttle.record_429(0.0, 0.2, 1.0)
    assert throttle.earliest(0.2) == pytest.approx(30.1)
    throttle.record_429(0.0, 0.3, 40.0)
    assert throttle.earliest(0.3) == pytest.approx(40.3)


def test_a_hold_shuts_the_gate_and_a_shorter_one_does_not_open_it() -> None:
    throttle = Throttle()
    throttle.pause_until(5.0)
    assert throttle.earliest(0.0) == 5.0
    throttle.pause_until(3.0)
    assert throttle.earliest(0.0) == 5.0
