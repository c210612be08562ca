"""Quotas that a server advertises as token buckets (control/quota.py)."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.control.quota import UTILIZATION, Quota
from manycall.limits import AdvertisedLimit, CallCost, RateLimits
from manycall.sim.rate_limits import TokenBucket

SECONDS = st.floats(0.01, 20.0)
ONE_CALL = CallCost()
Answer = tuple[float, int, float, AdvertisedLimit | None]
"""When it arrives, the number of its call, when that was sent, and the headers if they were made then."""


def announcement(bucket: TokenBucket, now: float, unit: str = "requests") -> AdvertisedLimit:
    """What a server says about its bucket."""
    return AdvertisedLimit(unit, 60.0, bucket.per_minute, bucket.left(now), bucket.full_in(now))


def at_once(quota: Quota, now: float, cost: CallCost = ONE_CALL, most: int = 2000) -> int:
    """Return how many calls may be sent at this moment, and reserve them."""
    for sent in range(most):
        if quota.earliest(cost) > now:
            return sent
        quota.reserve(cost, now)
    return most


@given(
    st.integers(30, 6000),
    st.sampled_from([1.0, 10.0, 60.0]),
    st.lists(st.tuples(SECONDS, st.floats(0, 0.2), st.booleans()), min_size=8, max_size=120),
)
def test_a_bucket_is_never_overdrawn_whenever_its_state_is_read(
    rpm: int, burst: float, calls: list[tuple[float, float, bool]]
) -> None:
    """Each call: (its duration, least seconds since the one before, whether its headers are made when it is sent)."""
    server, quota, now = TokenBucket(rpm, burst), Quota(RateLimits()), 0.0
    server.take(1.0, now)
    sent_at = [now]
    answers: list[Answer] = [(1.0, 0, now, None)]  # the first call is alone until it is answered
    for number, (seconds, gap, is_early) in enumerate(calls, 1):
        now += gap if quota.has_limits else 1.0
        while answers and answers[0][0] <= max(now, quota.earliest(ONE_CALL)):
            at, _, sent, said = heapq.heappop(answers)
            now = max(now, at)
            later = sum(each >= sent for each in sent_at)
            quota.apply_advertised([said or announcement(server, now)], now, sent, CallCost(later, 0.0))
        now = max(now, quota.earliest(ONE_CALL))
        quota.reserve(ONE_CALL, now)
        assert server.take(1.0, now) == 0.0
        sent_at.append(now)
        heapq.heappush(answers, (now + seconds, number, now, announcement(server, now) if is_early else None))


def test_what_remains_in_a_bucket_may_be_sent_at_once_and_then_its_rate() -> None:
    server, quota = TokenBucket(600, 60.0), Quota(RateLimits())
    server.take(3.0, 0.0)
    quota.apply_advertised([announcement(server, 0.0)], 0.0, 0.0, CallCost(3.0, 0.0))
    assert quota.permits_bursts
    assert at_once(quota, 0.0) == int(597 - 3 - 600 * (1 - UTILIZATION))
    assert at_once(quota, 10.0) == pytest.approx(10 * 10 * UTILIZATION, abs=1)


def test_half_of_the_remaining_tokens_may_be_used_before_the_server_is_heard_again() -> None:
    server, quota = TokenBucket(60_000, 60.0), Quota(RateLimits())
    cost = CallCost(1.0, 100.0)
    quota.apply_advertised([announcement(server, 0.0, "tokens")], 0.0, 0.0)
    assert at_once(quota, 0.0, cost) == pytest.approx(300, abs=10)
    server.take(20_000.0, 0.0)  # each call has taken less
    quota.apply_advertised([announcement(server, 0.0, "tokens")], 0.0, 0.0)
    assert at_once(quota, 0.0, cost) == pytest.approx(200, abs=10)


@pytest.mark.parametrize(("burst_seconds", "at_most"), [(1.0, 100), (2.0, 1000), (60.0, 58_800)])
def test_of_a_small_bucket_few_tokens_are_used_at_once(burst_seconds: float, at_most: int) -> None:
    server, quota = TokenBucket(60_000, burst_seconds), Quota(RateLimits())
    quota.apply_advertised([announcement(server, 0.0, "tokens")], 0.0, 0.0)
    quota.apply_advertised([announcement(server, 9.0, "tokens")], 9.0, 9.0)
    sent = at_once(quota, 120.0, CallCost(1.0, 10.0), 10_000)  # nothing was used meanwhile: the bucket is full
    assert 10 * sent == pytest.approx(at_most, abs=10)


def test_a_server_that_counts_in_windows_gets_its_calls_evenly_whatever_remains() -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([AdvertisedLimit("requests", 60.0, 600, 599, 40.0)], 0.0, 0.0)
    assert (quota.permits_bursts, at_once(quota, 0.0)) == (False, 1)
    quota.apply_advertised([AdvertisedLimit("requests", 60.0, 600, 300, 30.0)], 10.0, 0.0)  # as a bucket would say
    assert (quota.permits_bursts, at_once(quota, 10.0)) == (False, 1)


@pytest.mark.parametrize(("remaining", "still_bursts"), [(590, False), (59, True)])
def test_a_refusal_although_much_remains_ends_the_bursts(remaining: int, still_bursts: bool) -> None:
    quota = Quota(RateLimits())
    quota.apply_advertised([AdvertisedLimit("requests", 60.0, 600, 599, 0.1)], 0.0, 0.0)
    said = [AdvertisedLimit("requests", 60.0, 600, remaining, (600 - remaining) / 10)]
    change = quota.record_refusal(said, 1.0)
    assert (quota.permits_bursts, change is None) == (still_bursts, still_bursts)
    quota.apply_advertised(said, 1.0, 0.9)
    assert (at_once(quota, 1.0) > 1) == still_bursts


def test_a_configured_limit_is_spread_evenly_whatever_the_server_says() -> None:
    quota = Quota(RateLimits(rpm=600))
    quota.apply_advertised([AdvertisedLimit("requests", 60.0, 600, 599, 0.1)], 0.0, 0.0)
    assert (quota.permits_bursts, at_once(quota, 0.0)) == (False, 1)


def test_a_share_of_a_quota_is_a_share_of_its_bucket() -> None:
    server, quota = TokenBucket(600, 60.0), Quota(RateLimits())
    quota.set_share(0.25, 0.0)
    quota.apply_advertised([announcement(server, 0.0)], 0.0, 0.0)
    assert at_once(quota, 0.0) == pytest.approx(600 * UTILIZATION / 4, abs=1)
