import heapq
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.control.gcra import MAX_CREDIT_SECONDS, GcraLimiter
from manycall.control.quota import ASSUMED_TOKENS_PER_CALL, BURST_SECONDS, UTILIZATION, Quota
from manycall.control.token_estimate import TokenEstimator
from manycall.limits import AdvertisedLimit, CallCost, RateLimits

GAPS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), min_size=1, max_size=120)


def admitted(quota: Quota, calls: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """(when it went, tokens) for calls that come with these gaps and wait their turn."""
    now, went = 0.0, []
    for gap, tokens in calls:
        cost = CallCost(1, tokens)
        now = max(now + gap, quota.earliest(cost))
        quota.reserve(cost, now)
        went.append((now, tokens))
    return went


@given(st.integers(1, 100_000), GAPS, st.sampled_from([1.0, 10.0, 60.0]))
def test_no_window_of_any_length_sees_more_requests_than_its_share(
    rpm: int, calls: list[tuple[float, int]], width: float
) -> None:
    times = [at for at, _ in admitted(Quota(RateLimits(rpm=rpm)), [(gap / 10, 1) for gap, _ in calls])]
    allowed = math.ceil(rpm / 60 * width)
    for first, start in enumerate(times):
        assert sum(start <= at < start + width for at in times[first:]) <= allowed


@given(st.integers(60, 6000), GAPS)
def test_no_minute_sees_more_tokens_than_its_share_and_one_call(tpm: int, calls: list[tuple[float, int]]) -> None:
    went = admitted(Quota(RateLimits(tpm=tpm)), calls)
    for first, (start, _) in enumerate(went):
        inside = [tokens for at, tokens in went[first:] if at < start + 60]
        assert sum(inside) <= tpm * (UTILIZATION + 0.001) + max(inside)


@given(st.integers(60, 6000), GAPS)
def test_a_call_larger_than_any_burst_goes_too_and_is_paid_off(tpm: int, calls: list[tuple[float, int]]) -> None:
    quota = Quota(RateLimits(tpm=tpm))
    went = admitted(quota, [(gap, tokens * 100) for gap, tokens in calls])
    total = sum(tokens for _, tokens in went[:-1])
    assert went[-1][0] >= total / (tpm / 60 * UTILIZATION) - sum(gap for gap, _ in calls) - 1e-6


def test_a_busy_quota_is_used_to_its_share() -> None:
    went = admitted(Quota(RateLimits(rpm=600)), [(0, 1)] * 5880)
    assert went[-1][0] == pytest.approx(600, rel=0.001)


def test_the_tightest_limit_decides() -> None:
    went = admitted(Quota(RateLimits(rpm=6000, tpm=600, rpd=86_400 * 50)), [(0, 10)] * 60)
    assert went[-1][0] == pytest.approx(59 / UTILIZATION, rel=0.01)


def test_what_was_reserved_too_much_is_given_back() -> None:
    quota = Quota(RateLimits(tpm=600))
    quota.reserve(CallCost(1, 100), 0.0)
    late = quota.earliest(CallCost(1, 10))
    quota.settle(CallCost(1, 100), CallCost(1, 40))
    assert late - quota.earliest(CallCost(1, 10)) == pytest.approx(6 / UTILIZATION)
    quota.settle(CallCost(1, 40), CallCost(1, 100))
    assert quota.earliest(CallCost(1, 10)) == pytest.approx(late)


def test_a_call_that_was_not_sent_takes_nothing_from_the_quota() -> None:
    quota = Quota(RateLimits(rpm=60, tpm=6000))
    quota.reserve(CallCost(1, 500), 0.0)
    quota.settle(CallCost(1, 500), CallCost(0, 0))
    assert quota.earliest(CallCost(1, 500)) <= 0.0


def test_time_in_which_nothing_went_is_not_saved_up() -> None:
    pace = GcraLimiter(1.0)
    pace.consume(1, 0.0)
    pace.consume(1, 1000.0)
    assert pace.earliest(1) == 1001.0


@pytest.mark.parametrize(("calls", "seconds"), [(2, 0.2), (100, MAX_CREDIT_SECONDS)])
def test_of_what_was_given_back_at_most_half_a_second_may_go_at_once(calls: int, seconds: float) -> None:
    """Ten units each, all given back; then nothing is sent for a while."""
    pace = GcraLimiter(100.0)
    for _ in range(calls):
        pace.consume(10, 0.0)
        pace.refund(10)
    sent = 0
    while pace.earliest(10) <= 1000.0:
        pace.consume(10, 1000.0)
        sent += 10
    assert 100 * seconds <= sent <= 100 * seconds + 10


def test_without_limits_anything_may_go_at_any_time() -> None:
    quota = Quota(RateLimits())
    quota.reserve(CallCost(1, 1e9), 0.0)
    assert quota.earliest(CallCost(1, 1e9)) == float("-inf")
    assert repr(quota) == "<Quota without limits>"
    assert repr(Quota(RateLimits(rpm=60, tpm=1000))) == "<Quota 60 rpm, 1000 tpm>"


def test_the_guess_of_tokens_becomes_right() -> None:
    estimate = TokenEstimator()
    assert estimate.estimate(4000, 100) == 1100
    for _ in range(50):
        estimate.update(3000, 1000, 40)
    assert estimate.estimate(3000, None) == pytest.approx(1040, rel=0.05)
    assert estimate.estimate(3000, 10) == pytest.approx(1010, rel=0.05)
    estimate.update(3000, 0, 0)  # a server that does not count
    assert estimate.estimate(3000, None) == pytest.approx(1040, rel=0.05)


def test_the_guess_of_output_is_a_standard_deviation_above_the_mean() -> None:
    estimate = TokenEstimator()
    for n in range(400):
        estimate.update(4000, 1000, 1000 if n % 2 else 0)
    assert estimate.estimate(4000, None) == pytest.approx(1000 + 500 + 500, rel=0.05)


def test_a_call_is_one_request_unless_something_else_is_said() -> None:
    assert CallCost() == CallCost(1.0, 0.0)


@pytest.mark.parametrize(
    ("limits", "calls"),
    [
        (RateLimits(), math.inf),
        (RateLimits(rpm=600), 10 * 10 * UTILIZATION + 1),
        (
            RateLimits(tpm=60_000),
            (10 * 1000 * UTILIZATION + 1000 * UTILIZATION * BURST_SECONDS) / ASSUMED_TOKENS_PER_CALL,
        ),
        (
            RateLimits(rpm=600, tpm=6000),
            (10 * 100 * UTILIZATION + 100 * UTILIZATION * BURST_SECONDS) / ASSUMED_TOKENS_PER_CALL,
        ),
    ],
)
def test_how_many_calls_are_let_in_within_ten_seconds_is_known(limits: RateLimits, calls: float) -> None:
    assert Quota(limits).calls_within(10.0) == pytest.approx(calls)


def test_a_lower_limit_advertised_in_mid_run_counts_earlier_calls() -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([advertised("tokens", 600_000)], 100.0)
    quota.reserve(CallCost(1, 50_000), 100.0)
    quota.apply_advertised([advertised("tokens", 300_000)], 100.0)
    assert quota.earliest(CallCost(1, 1000)) == pytest.approx(100 + 10 / UTILIZATION, rel=0.001)


def advertised(unit: str, limit: float | None, seconds: float = 60.0) -> AdvertisedLimit:
    return AdvertisedLimit(unit, seconds, limit, None, None)


def test_advertised_limits_are_kept() -> None:
    quota = Quota(RateLimits())
    assert (
        quota.apply_advertised([advertised("requests", 600), advertised("tokens", 10_000)], 0.0)
        == "the server advertises 600 rpm, 10000 tpm"
    )
    assert quota.apply_advertised([advertised("requests", 600), advertised("tokens", 10_000)], 0.0) is None
    assert admitted(quota, [(0, 1)] * 100)[-1][0] == pytest.approx(99 / (10 * UTILIZATION), rel=0.05)
    assert (
        quota.apply_advertised(
            [advertised("requests", 14_400, 86_400.0), advertised("input_tokens", 5), advertised("requests", None)], 0.0
        )
        is not None
    )
    assert quota.limits == RateLimits(rpm=600, tpm=10_000, rpd=14_400)


def test_a_configured_limit_has_priority_over_an_advertised_one() -> None:
    quota = Quota(RateLimits(rpm=60))
    assert quota.apply_advertised([advertised("requests", 600)], 0.0) is None
    assert quota.limits.rpm == 60


def test_of_several_limits_the_lowest_counts() -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([advertised("requests", 600), advertised("requests", 300)], 0.0)
    assert quota.limits.rpm == 300


def test_a_limit_advertised_in_mid_run_keeps_the_earlier_calls() -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([advertised("requests", 60)], 0.0)
    quota.reserve(CallCost(), 0.0)
    quota.apply_advertised([advertised("requests", 120)], 0.0)
    assert quota.earliest(CallCost()) > 0.5


@given(
    st.integers(600, 60_000),
    st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1), st.floats(0, 10)), min_size=1, max_size=150),
)
def test_what_is_reserved_less_what_is_given_back_keeps_to_the_quota(
    tpm: int, calls: list[tuple[int, float, float]]
) -> None:
    """Each call: (tokens reserved, share of them that it uses, seconds after which that is known)."""
    quota, now, rate = Quota(RateLimits(tpm=tpm)), 0.0, tpm / 60
    known: list[tuple[float, int, float]] = []
    flow: list[tuple[float, float]] = []  # (when, tokens; negative: given back)
    for reserved, share, seconds in calls:
        while known and known[0][0] <= max(now, quota.earliest(CallCost(1, reserved))):
            at, was, used = heapq.heappop(known)
            now = max(now, at)
            quota.settle(CallCost(1, was), CallCost(1, used))
            flow.append((now, used - was))
        now = max(now, quota.earliest(CallCost(1, reserved)))
        quota.reserve(CallCost(1, reserved), now)
        flow.append((now, reserved))
        heapq.heappush(known, (now + seconds, reserved, reserved * share))
    most = max(reserved for reserved, _, _ in calls)
    for first, (start, tokens) in enumerate(flow):
        if tokens < 0:
            continue
        total = 0.0
        for at, some in flow[first:]:
            total += some
            assert total <= rate * (at - start + MAX_CREDIT_SECONDS + 0.02) + 2 * most


def test_a_days_limit_may_be_used_when_it_is_needed() -> None:
    went = admitted(Quota(RateLimits(rpm=30, rpd=1000)), [(0, 1)] * 300)
    assert went[-1][0] == pytest.approx(300 * 60 / 30 / UTILIZATION, rel=0.02)
    went = admitted(Quota(RateLimits(rpd=100)), [(0, 1)] * 120)
    assert went[90][0] == 0.0
    assert went[-1][0] > 3600


def test_what_remains_of_a_day_is_what_the_server_says() -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([AdvertisedLimit("requests", 86_400.0, 1000, 3, None)], 0.0)
    went = admitted(quota, [(0, 1)] * 5)
    assert went[2][0] == 0.0
    assert went[4][0] > 60


def test_what_remains_of_a_days_tokens_is_what_the_server_says() -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([AdvertisedLimit("tokens", 86_400.0, 100_000, 3000, None)], 0.0)
    went = admitted(quota, [(0, 1000)] * 5)
    assert went[2][0] == 0.0
    assert went[4][0] > 60


def test_a_limit_that_was_mistaken_for_a_moment_holds_nothing_up() -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([advertised("tokens", 10_000)], 0.0)
    quota.reserve(CallCost(1, 5000), 0.0)
    assert quota.earliest(CallCost(1, 1000)) > 20
    quota.apply_advertised([advertised("tokens", 1_000_000)], 1.0)
    assert quota.earliest(CallCost(1, 1000)) < 2
    assert quota.apply_advertised([advertised("tokens", 1), advertised("requests", 0.5)], 2.0) is None


def test_one_absurd_cost_holds_nothing_up_for_long() -> None:
    quota = Quota(RateLimits(tpm=100_000))
    quota.reserve(CallCost(1, 500), 0.0)
    quota.settle(CallCost(1, 500), CallCost(1, 1e9))
    assert quota.earliest(CallCost(1, 500)) < 62
