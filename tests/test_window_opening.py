"""The opening of a window against simulated servers, in pure simulation: no loop, no client."""

import math
import random
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manycall.control.knee_search import Phase
from manycall.control.window_opening import (
    HOSTED,
    HOSTED_STREAMED,
    MAX_ANSWERS_PER_CALL,
    MAX_JUDGED_CALLS,
    MIN_ORDERED_ANSWERS,
    SELF_HOSTED,
    SELF_HOSTED_BLIND,
    OpeningEnd,
    OpeningRule,
    WindowOpening,
)
from manycall.sim.continuous_batching import BatchedCall, ContinuousBatch
from manycall.sim.sim_settings import SimSettings

START = 8
NETWORK_SECONDS = 0.01


class Opened:
    """A run of calls until its opening ends, with a probe for each mark.

    Attributes:
        end: how the opening ended; None if it did not.
        trace: (time, calls in flight) at each send.
        longest_queue: largest number of calls that waited at the server.
    """

    def __init__(
        self,
        slots: int,
        rows: int,
        seconds: float,
        *,
        spread: float = 0.8,
        seed: int = 1,
        rule: OpeningRule = SELF_HOSTED,
        are_probes_lost: bool = False,
    ) -> None:
        tokens = seconds / (0.008 + 4e-5 * slots)
        self.opening = WindowOpening(rule, START, 8192)
        self.opening.expect_rows(rows)
        self.now, self.in_flight, self.longest_queue = 0.0, 0, 0
        self.end: OpeningEnd | None = None
        self.trace: list[tuple[float, int]] = []
        self._batch = ContinuousBatch(SimSettings(latency=0, token_latency=0.008, batch_latency=4e-5, slots=slots))
        self._started: dict[int, float] = {}
        self._probes: dict[int, int] = {}  # ticket → place
        self._arrivals: list[tuple[float, int, bool]] = []  # (time, ticket, whether it is a probe's)
        self._are_probes_lost = are_probes_lost
        rng = random.Random(seed)
        mu = math.log(tokens) - spread * spread / 2
        for ticket in range(rows):
            if not self._wait_for_room():
                return
            self._send(ticket, max(1, round(rng.lognormvariate(mu, spread))))
        while self.end is None and self._pass():
            pass

    def _wait_for_room(self) -> bool:
        while self.end is None and (at := self.opening.earliest(self.in_flight)) > self.now:
            if not self._pass(at):
                return False
        return self.end is None

    def _send(self, ticket: int, output: int) -> None:
        self.in_flight += 1
        self.opening.record_sent(self.in_flight, self.now)
        self.opening.record_started()
        self.trace.append((self.now, self.in_flight))
        self._started[ticket] = self.now
        self._done(self._batch.add(BatchedCall(ticket, 50, output, 0.0), self.now))
        place = self.opening.take_mark(self.now)
        if place is not None:
            self._probes[-place] = place
            self._done(self._batch.add(BatchedCall(-place, 50, 1, 0.0), self.now))
        self.longest_queue = max(self.longest_queue, self._batch.waiting)

    def _pass(self, until: float = math.inf) -> bool:
        """Pass to the next event, or to `until`. Return False if nothing will happen any more."""
        due = self._batch.due()
        arrival = min(self._arrivals)[0] if self._arrivals else math.inf
        at = min(until, arrival, math.inf if due is None else due)
        if at == math.inf:
            return False
        self.now = max(self.now, at)
        self._done(self._batch.advance(self.now))
        for each in sorted(self._arrivals):
            if each[0] <= self.now and self.end is None:
                self._arrivals.remove(each)
                self._arrive(each[1], each[2])
        return True

    def _done(self, works: list[BatchedCall]) -> None:
        self._arrivals += [(self.now + NETWORK_SECONDS, work.ticket, work.ticket < 0) for work in works]

    def _arrive(self, ticket: int, is_probe: bool) -> None:
        if is_probe:
            if not self._are_probes_lost:
                self.end = self.opening.record_begun(self._probes[ticket], self.in_flight, self.now)
            return
        self.in_flight -= 1
        self.end = self.opening.record_answer(self.now - self._started[ticket], self.in_flight, self.now)


servers = {
    "slots": st.sampled_from([16, 40, 64, 150, 256]),
    "rows": st.sampled_from([30, 200, 1319]),
    "seconds": st.sampled_from([8.0, 30.0, 120.0]),
    "spread": st.sampled_from([0.3, 0.8]),
    "seed": st.integers(0, 100),
}


@settings(max_examples=40, deadline=None)
@given(**servers)
def test_never_more_than_twice_the_calls_that_the_server_works_on_are_in_flight(
    slots: int, rows: int, seconds: float, spread: float, seed: int
) -> None:
    run = Opened(slots, rows, seconds, spread=spread, seed=seed)
    assert max(in_flight for _, in_flight in run.trace) <= 2 * max(START, slots)
    assert run.longest_queue <= max(START, slots) + 10  # probes wait too


@settings(max_examples=40, deadline=None)
@given(**{**servers, "rows": st.just(1319)})
def test_the_exact_look_finds_the_number_of_slots(
    slots: int, rows: int, seconds: float, spread: float, seed: int
) -> None:
    end = Opened(slots, rows, seconds, spread=spread, seed=seed).end
    assert end is not None
    assert (end.phase, end.is_knee) == (Phase.STEADY, True)
    assert end.size == pytest.approx(1.06 * slots + 1, abs=1 + 0.06 * slots)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 1024), st.sampled_from([1.0, 8.0, 120.0]), st.integers(0, 100))
def test_fewer_rows_than_slots_are_all_in_flight_within_two_seconds(rows: int, seconds: float, seed: int) -> None:
    run = Opened(1024, rows, seconds, seed=seed)
    assert len(run.trace) == rows
    assert run.trace[-1][0] < 2.0


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize("seconds", [1.0, 30.0, 120.0])
def test_a_very_small_server_gets_sixteen_calls_and_then_as_many_as_it_works_on(slots: int, seconds: float) -> None:
    run = Opened(slots, 100, seconds)
    assert max(in_flight for _, in_flight in run.trace) <= 16
    assert run.end is not None
    assert run.end.size <= (START if slots == 1 else 1.06 * slots + 2.1)  # a probe of one slot comes after its call


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([16, 64, 256]), st.sampled_from([1.0, 8.0, 30.0]), st.integers(0, 100))
def test_probes_that_get_no_response_do_not_stop_the_opening_for_ever(slots: int, seconds: float, seed: int) -> None:
    run = Opened(slots, 400, seconds, seed=seed, are_probes_lost=True)
    assert run.end is not None
    assert run.end.phase is Phase.SLOW_START
    assert run.end.size >= START


@settings(max_examples=10, deadline=None)
@given(**servers)
def test_the_same_calls_give_the_same_trace(slots: int, rows: int, seconds: float, spread: float, seed: int) -> None:
    one, two = (Opened(slots, rows, seconds, spread=spread, seed=seed) for _ in range(2))
    assert (one.trace, one.end) == (two.trace, two.end)


@pytest.mark.parametrize("slots", [16, 64])
def test_short_answers_that_never_make_a_call_late_show_the_slots_too(slots: int) -> None:
    run = Opened(slots, 2000, 0.4)
    assert max(in_flight for _, in_flight in run.trace) <= 2 * slots
    assert run.end is not None
    assert run.end.is_knee
    assert run.end.size == pytest.approx(1.06 * slots + 1, abs=1 + 0.06 * slots)


def test_a_hosted_endpoint_opens_by_the_clock_and_by_the_number_of_rows() -> None:
    few, many = (Opened(5000, rows, 9000.0, rule=HOSTED).trace for rows in (100, 4000))
    assert few[7][0] == pytest.approx(0.0)
    assert few[8][0] > 0.0  # at the start, a doubling takes its time
    assert few[15][0] == pytest.approx(0.25, abs=0.04)
    assert few[99][0] == pytest.approx(0.35 + 80 / 50, abs=0.1)  # 2.5 calls for each 0.05 s
    assert many[99][0] < 1.0
    growth = [later - earlier for (earlier, _), (later, _) in pairwise(many[2000:])]
    assert min(growth) == pytest.approx(0.05 / 80)  # 2 % of the rows for each 0.05 s
    assert [in_flight for _, in_flight in many] == list(range(1, 4001))


@pytest.mark.parametrize(
    ("seconds", "counted", "answers", "doubling"),
    [(0.001, 0.05, 1, 0.15), (0.1, 0.1, 1, 0.3), (3.0, 0.1, 1, 0.3), (0.001, 0.05, 0, 0.25), (3.0, 0.1, 0, 0.3)],
)
def test_a_hosted_endpoint_opens_more_slowly_the_longer_a_refusal_takes_and_before_the_first_answer(
    seconds: float, counted: float, answers: int, doubling: float
) -> None:
    opening = WindowOpening(HOSTED, 8, 8192)
    opening.expect_rows(1000)
    opening.expect_refusals_after(seconds)
    for _ in range(answers):
        opening.record_answer(1.0, 0, 0.0)
    times: list[float] = []
    for in_flight in range(1, 1001):
        times.append(max(opening.earliest(in_flight - 1), times[-1] if times else 0.0))
        opening.record_sent(in_flight, times[-1])
    assert times[16] - times[8] == pytest.approx(doubling, rel=0.1)
    assert times[999] - times[899] == pytest.approx(100 * counted / 20)


def test_without_first_tokens_a_self_hosted_server_gets_at_most_128_calls_before_answers_arrive() -> None:
    run = Opened(16, 1000, 30.0, rule=SELF_HOSTED_BLIND)
    assert max(in_flight for _, in_flight in run.trace) == 128
    assert run.end is not None
    assert "only the first" in run.end.reason
    assert run.end.phase is Phase.STEADY


@pytest.mark.parametrize("spread", [0.3, 0.8])
def test_answers_in_any_order_raise_the_cap(spread: float) -> None:
    run = Opened(1024, 1000, 30.0, rule=SELF_HOSTED_BLIND, spread=spread)
    assert max(in_flight for _, in_flight in run.trace) > 500


def test_streams_of_an_endpoint_with_a_key_permit_four_times_the_calls_that_have_begun() -> None:
    run = Opened(16, 1000, 30.0, rule=HOSTED_STREAMED)
    assert 32 < max(in_flight for _, in_flight in run.trace) <= 64
    assert run.end is not None
    assert run.end.size == pytest.approx(1.06 * 16 + 1, abs=1.1)


def test_calls_that_fail_need_bounded_memory_and_do_not_look_like_a_queue() -> None:
    opening = WindowOpening(HOSTED, START, START)
    for n in range(MAX_JUDGED_CALLS):
        opening.record_sent(1, n / 100)
    tracemalloc.start()
    for n in range(MAX_JUDGED_CALLS, 2 * MAX_JUDGED_CALLS):
        opening.record_sent(1, n / 100)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 1000
    now = 2 * MAX_JUDGED_CALLS / 100
    ends = []
    for _ in range(MAX_ANSWERS_PER_CALL * MIN_ORDERED_ANSWERS):
        now += 1.0
        opening.record_sent(1, now)
        ends.append(opening.record_answer(0.5, 1, now + 0.5))
    assert {end.reason for end in ends if end is not None} <= {"the opening is complete"}


def test_a_rate_limit_ends_every_judgement() -> None:
    opening = WindowOpening(SELF_HOSTED, START, 8192)
    opening.step_aside()
    now = 0.0
    for in_flight in range(1, 3001):
        now = max(now + 0.01, opening.earliest(in_flight - 1))
        opening.record_sent(in_flight, now)
        opening.record_started()
        assert opening.take_mark(now) is None
        assert opening.record_answer(50.0, in_flight, now) is None
    assert opening.size > 2000


@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "answer", "begun", "fail", "blind", "rows"]), st.floats(0, 100)),
        max_size=300,
    ),
    st.integers(1, 300),
    st.sampled_from([SELF_HOSTED, SELF_HOSTED_BLIND, HOSTED, HOSTED_STREAMED]),
)
def test_the_opening_stays_within_its_bounds_for_any_events(
    events: list[tuple[str, float]], max_size: int, rule: OpeningRule
) -> None:
    opening = WindowOpening(rule, min(START, max_size), max_size)
    now, in_flight = 0.0, 0
    for what, number in events:
        now += number / 100
        end = None
        if what == "send" and opening.earliest(in_flight) <= now:
            in_flight += 1
            opening.record_sent(in_flight, now)
            opening.record_started()
            opening.take_mark(now)
        elif what == "begun":
            end = opening.record_begun(min(opening.started, round(number)), in_flight, now)
        elif what == "answer" and in_flight:
            in_flight -= 1
            end = opening.record_answer(number, in_flight, now)
        elif what == "fail" and in_flight:
            in_flight -= 1
        elif what == "blind":
            opening.follow(SELF_HOSTED_BLIND, 16)
        elif what == "rows":
            opening.expect_rows(round(number))
        assert 1 <= opening.size <= max_size
        assert in_flight <= max_size
        if end is not None:
            assert end.size >= 1
            return
