"""The concurrency limit that is learned from refusals: in pure simulation, and in whole runs."""

import heapq
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manycall.control.concurrency_limit import Cause, ConcurrencyLimit
from manycall.control.concurrency_window import MIN_UTILIZATION
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from scenarios.servers import HOSTED, at, becomes
from simulate import Script, Witness, prompts, simulate

REFUSAL_SECONDS = 0.1


class Client:
    """Calls to a server with `size` slots, each in flight for a lognormal time; no window but the learned limit."""

    def __init__(self, size: int, latency: float, seed: int) -> None:
        self.size, self.limit = size, ConcurrencyLimit()
        self.sent = self.refused = self.waves = 0
        self._latency, self._rng = latency, random.Random(seed)
        self._ends: list[tuple[float, int, float, int | None]] = []  # end, number, sent, others if refused
        self._served = 0

    @property
    def in_flight(self) -> int:
        return len(self._ends)

    def send(self, now: float) -> None:
        others, is_refused = self.in_flight, self._served >= self.size
        self._served += not is_refused
        self.sent += 1
        takes = REFUSAL_SECONDS if is_refused else self._latency * self._rng.lognormvariate(0, 0.5)
        heapq.heappush(self._ends, (now + takes, self.sent, now, others if is_refused else None))
        if self.limit.is_active:
            self.limit.record_sent(self.in_flight, now)

    def receive(self) -> float:
        """Let the next call end, and return when."""
        now, _, sent, others = self._ends[0]
        if self.limit.is_active:
            self.limit.update(self.in_flight, now)
        heapq.heappop(self._ends)
        if others is None:
            self._served -= 1
            return now
        self.refused += 1
        self.waves += self.limit.cause is Cause.UNKNOWN
        self.limit.record_429(others, self.in_flight, sent, now)
        return now

    def next_end(self) -> float:
        return self._ends[0][0] if self._ends else float("inf")

    def run(self, seconds: float, *, pause: float = 1.0, pace: float = 20.0) -> None:
        """Send at this pace, with a pause after each refusal until the cause is known; then as the limit permits."""
        now, due = 0.0, 0.0
        while now < seconds:
            has_limit = self.limit.size is not None
            may_send = self.in_flight < (self.limit.size or 10_000)
            at = max(now if has_limit else due, self.limit.earliest(self.in_flight)) if may_send else float("inf")
            if at <= self.next_end():
                now = max(now, at)
                self.send(now)
                due = now + 1 / pace
                continue
            refused = self.refused
            now = self.receive()
            if self.refused > refused:
                due = max(due, now + pause)


@given(st.integers(3, 150), st.floats(1.0, 30.0), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_limit_of_concurrent_calls_is_recognised_and_used(size: int, latency: float, seed: int) -> None:
    client = Client(size, latency, seed)
    client.run(20 + 10 * latency, pace=2 * size)
    assert client.limit.cause is Cause.CONCURRENCY
    assert client.limit.size is not None
    assert size - 1 <= client.limit.size <= 1.1 * size + 2
    assert client.refused <= 0.03 * client.sent + size * 2 * REFUSAL_SECONDS + 20


@given(
    st.lists(st.tuples(st.sampled_from(["sent", "429", "answer"]), st.integers(0, 60), st.floats(0, 3)), max_size=80)
)
def test_a_limit_is_at_least_one_and_a_rate_limit_is_final(events: list[tuple[str, int, float]]) -> None:
    limit, now, was_rate = ConcurrencyLimit(), 0.0, False
    for kind, others, seconds in events:
        now += seconds
        match kind:
            case "sent":
                limit.record_sent(others + 1, now)
            case "answer":
                limit.update(others + 1, now)
            case _:
                limit.record_429(others, others, now - min(seconds, 0.1), now)
        assert limit.size is None or limit.size >= 1
        assert (limit.size is not None) == (limit.cause is Cause.CONCURRENCY)
        assert limit.cause is Cause.RATE or not was_rate
        was_rate = limit.cause is Cause.RATE


def test_refusals_at_another_number_in_flight_mean_a_rate_limit() -> None:
    limit = ConcurrencyLimit()
    limit.record_429(20, 20, 0.0, 0.1)
    limit.record_429(9, 9, 1.2, 1.3)
    assert limit.cause is Cause.RATE


def test_more_calls_in_flight_than_before_mean_a_rate_limit_once_they_were_not_refused_for_a_while() -> None:
    limit = ConcurrencyLimit()
    limit.record_429(20, 20, 0.0, 0.1)
    limit.record_sent(23, 1.2)
    assert not limit.update(23, 1.4)
    assert limit.update(23, 1.8)
    assert limit.cause is Cause.RATE


def test_a_limit_that_was_just_found_is_reduced_by_a_twentieth() -> None:
    limit, sizes = ConcurrencyLimit(), []
    for now, others in enumerate((101, 101, 100)):
        for _ in range(4 if limit.size is None else 1):
            limit.record_sent(others, now)
        limit.record_429(others, others, now + 0.01, now + 0.1)
        sizes.append(limit.size)
    assert sizes == [None, 101, 95]


def test_the_words_of_a_refusal_save_one_wave_but_do_not_decide() -> None:
    plain, named = ConcurrencyLimit(), ConcurrencyLimit()
    for now in (0.1, 1.2):
        plain.record_429(5, 5, now - 0.05, now)
        named.record_429(5, 5, now - 0.05, now, names_concurrency=True)
    assert plain.size is None
    assert named.size == 5
    other = ConcurrencyLimit()
    other.record_429(20, 20, 0.0, 0.1, names_concurrency=True)
    other.record_429(9, 9, 1.2, 1.3, names_concurrency=True)
    assert other.cause is Cause.RATE


def run(settings: SimSettings, rows: int, *, script: Script | None = None, concurrency: int | None = None) -> Witness:
    return simulate(
        lambda: InProcessTransport({"a": SimServer(settings, {})}),
        prompts(rows, 20), script=script, concurrency=concurrency, hosted=True,
    )  # fmt: skip


def seconds(witness: Witness) -> float:
    return max(call.sent + call.seconds for call in witness.answered)


def changes(folder: Path) -> list[str]:
    lines = (folder / "out.jsonl.run" / "timeline.jsonl").read_bytes().splitlines()
    return [event["event"] for line in lines if "event" in (event := msgspec.json.decode(line))]


@pytest.mark.parametrize(("size", "rows", "tokens"), [(3, 60, 400), (5, 100, 100), (20, 400, 100)])
def test_a_run_is_as_fast_as_with_the_limit_as_fixed_setting(size: int, rows: int, tokens: int) -> None:
    settings = msgspec.structs.replace(HOSTED, rate_limit_headers="none", max_concurrent=size, tokens=tokens)
    found, fixed = run(settings, rows), run(settings, rows, concurrency=size)
    assert seconds(found) <= 1.06 * seconds(fixed) + 6  # the window opens by answers, and the canary takes 2 s
    assert found.refused <= max(0.03 * rows, 20)


def test_a_limit_that_is_halved_is_followed_down() -> None:
    settings = msgspec.structs.replace(HOSTED, rate_limit_headers="none", max_concurrent=40, tokens=100)
    witness = run(settings, 2000, script=at(40, becomes(max_concurrent=20)))
    assert witness.refused <= 0.03 * 2000
    assert sum(1 for sent, _ in witness.sends if 45 < sent < 65) == pytest.approx(20 * 20 / 1.85, rel=0.15)


@pytest.mark.parametrize("rpm", [60, 600, 6000])
@pytest.mark.parametrize("burst", [1, 60])
@pytest.mark.parametrize("tokens", [33, 250])
def test_a_rate_limit_is_not_taken_for_a_limit_of_concurrency(
    rpm: int, burst: int, tokens: int, tmp_path: Path
) -> None:
    settings = msgspec.structs.replace(HOSTED, rate_limit_headers="none", rpm=rpm, burst=burst, tokens=tokens)
    simulate(
        lambda: InProcessTransport({"a": SimServer(settings, {})}),
        prompts(min(4000, int(rpm / 60 * (burst + 40))), 20), hosted=True, keep=tmp_path,
    )  # fmt: skip
    said = [line for line in changes(tmp_path) if "concurrency limit" in line]
    assert not said or "not a concurrency limit" in said[-1]


def test_the_timeline_and_the_status_line_name_the_limit(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(HOSTED, rate_limit_headers="none", max_concurrent=10, tokens=100)
    factors: list[str] = []

    def prepare(endpoints: Any) -> None:
        endpoint = endpoints[0]
        inner = endpoint.record_success

        def record(took: float) -> None:
            inner(took)
            if endpoint.in_flight >= MIN_UTILIZATION * 10:
                factors.append(endpoint.limiting_factor(1e9))

        endpoint.record_success = record

    simulate(
        lambda: InProcessTransport({"a": SimServer(settings, {})}),
        prompts(200, 20), hosted=True, prepare=prepare, keep=tmp_path,
    )  # fmt: skip
    assert "concurrency limit 10 (learned from 429)" in factors
    assert any(line.startswith("429: concurrency limit 10: refused again") for line in changes(tmp_path))
