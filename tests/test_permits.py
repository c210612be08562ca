import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endpoints import endpoint_at
from manycall.client.endpoint_selector import MAX_OVERTAKES, AffinitySelector
from manycall.client.permits import Permits
from manycall.control.concurrency_window import ConcurrencyWindow
from manycall.control.prefix_affinity import PrefixAffinity
from manycall.errors import RunStopped
from manycall.limits import CallCost, RateLimits
from manycall.sim import virtual_time

ONE = CallCost(1, 10)


def permits_for(limit: int, **limits: float) -> Permits:
    return Permits(limit, [endpoint_at("http://h", limits=RateLimits(**limits))])


def test_the_oldest_waiting_row_goes_first_and_no_row_overtakes() -> None:
    order: list[str] = []

    async def call(permits: Permits, name: str, age: int) -> None:
        endpoint = await permits.acquire(age, ONE)
        order.append(name)
        await asyncio.sleep(1)
        permits.release(endpoint)

    async def main() -> None:
        permits = permits_for(1)
        tasks = [asyncio.create_task(call(permits, n, a)) for n, a in [("x", 9), ("c", 3), ("a", 1), ("b", 2)]]
        await asyncio.wait(tasks)
        assert virtual_time.now() == 4

    virtual_time.run_virtual(main())
    assert order == ["x", "a", "b", "c"]


@settings(max_examples=200)
@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 6)), max_size=25))
def test_no_permit_is_lost_or_doubled_under_cancellation(limit: int, calls: list[tuple[int, int, int]]) -> None:
    """Each call: (second at which it comes, seconds it holds, seconds after which it is cancelled; 0: never)."""

    async def call(permits: Permits, age: int, holds: int) -> None:
        endpoint = await permits.acquire(age, ONE)
        try:
            assert permits.in_flight <= limit
            await asyncio.sleep(holds)
        finally:
            permits.release(endpoint)

    async def main() -> None:
        permits = permits_for(limit)
        tasks: list[asyncio.Task[Any]] = []
        for age, (comes, holds, cancelled) in enumerate(sorted(calls)):
            await asyncio.sleep(comes - virtual_time.now() if comes > virtual_time.now() else 0)
            task = asyncio.create_task(call(permits, age, holds))
            if cancelled:
                asyncio.get_running_loop().call_later(cancelled, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert permits.in_flight == 0
        assert permits.has_room()

    virtual_time.run_virtual(main())


def test_a_permit_granted_to_a_call_just_cancelled_goes_to_the_next() -> None:
    async def main() -> None:
        permits = permits_for(1)
        endpoint = await permits.acquire(0, ONE)
        doomed = asyncio.create_task(permits.acquire(1, ONE))
        heir = asyncio.create_task(permits.acquire(2, ONE))
        await asyncio.sleep(0)
        permits.release(endpoint)  # doomed has it now, but has not run yet
        doomed.cancel()
        await heir
        assert permits.in_flight == 1

    virtual_time.run_virtual(main())


def test_a_permit_granted_in_the_moment_of_closing_is_not_used() -> None:
    async def main() -> None:
        permits = permits_for(1)
        endpoint = await permits.acquire(0, ONE)
        late = asyncio.create_task(permits.acquire(1, ONE))
        await asyncio.sleep(0)
        permits.release(endpoint)
        permits.close(RunStopped("enough"))
        with pytest.raises(RunStopped):
            await late
        assert permits.in_flight == 0

    virtual_time.run_virtual(main())


def test_closing_refuses_waiting_and_new_calls() -> None:
    async def main() -> None:
        permits = permits_for(1)
        endpoint = await permits.acquire(0, ONE)
        waiting = asyncio.create_task(permits.acquire(1, ONE))
        await asyncio.sleep(0)
        permits.close(RunStopped("enough"))
        with pytest.raises(RunStopped, match="enough"):
            await waiting
        with pytest.raises(RunStopped, match="enough"):
            await permits.acquire(2, ONE)
        permits.release(endpoint)
        assert repr(permits) == "<Permits 0/1 in flight, 0 waiting>"

    virtual_time.run_virtual(main())


def test_a_quota_paces_and_a_large_call_is_never_overtaken() -> None:
    went: list[tuple[float, float]] = []

    async def call(permits: Permits, age: int, tokens: float) -> None:
        endpoint = await permits.acquire(age, CallCost(1, tokens))
        went.append((virtual_time.now(), tokens))
        permits.release(endpoint)

    async def main() -> None:
        permits = permits_for(100, tpm=600)
        sizes = [10, 200, 10, 10]
        await asyncio.wait([asyncio.create_task(call(permits, age, tokens)) for age, tokens in enumerate(sizes)])

    virtual_time.run_virtual(main())
    assert [tokens for _, tokens in went] == [10, 200, 10, 10]
    assert [at for at, _ in went] == pytest.approx([0, 1 / 0.98, 21 / 0.98, 22 / 0.98], abs=0.2)


def test_a_call_that_was_cancelled_in_its_moment_gives_its_quota_back() -> None:
    async def main() -> None:
        permits = permits_for(1, rpm=60)
        endpoint = await permits.acquire(0, ONE)
        await asyncio.sleep(100)
        doomed = asyncio.create_task(permits.acquire(1, ONE))
        await asyncio.sleep(0)
        permits.release(endpoint)
        doomed.cancel()
        await asyncio.sleep(0)
        assert endpoint.quota.earliest(ONE) <= virtual_time.now()

    virtual_time.run_virtual(main())


def test_if_one_endpoint_is_used_up_the_other_is_asked() -> None:
    async def main() -> None:
        slow, fast = endpoint_at("http://slow", limits=RateLimits(rpm=6)), endpoint_at("http://fast")
        permits = Permits(4, [slow, fast])
        urls = []
        for age in range(10):
            endpoint = await permits.acquire(age, ONE)
            urls.append(endpoint.url)
            permits.release(endpoint)
        assert virtual_time.now() == 0
        assert urls.count("http://slow/v1") == 1

    virtual_time.run_virtual(main())


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=40
    ),
    st.booleans(),
)
def test_none_is_lost_or_doubled_with_windows_and_prompts_that_are_known(
    calls: list[tuple[int, int, int, int]], fails: bool
) -> None:
    """Each call: (second at which it comes, seconds it holds, seconds to its cancellation, which prompt)."""
    endpoints = [endpoint_at("http://a"), endpoint_at("http://b")]
    for endpoint in endpoints:
        endpoint.window = ConcurrencyWindow(2)

    async def call(permits: Permits, age: int, holds: int, prompt: int) -> None:
        endpoint = await permits.acquire(age, ONE, (prompt, 10 + prompt))
        try:
            assert endpoint.in_flight <= 2
            await asyncio.sleep(holds)
            if fails:
                raise ValueError
        finally:
            permits.release(endpoint)

    async def main() -> None:
        permits = Permits(100, endpoints, selector=AffinitySelector(endpoints, PrefixAffinity()))
        tasks: list[asyncio.Task[Any]] = []
        for age, (comes, holds, cancelled, prompt) in enumerate(sorted(calls)):
            await asyncio.sleep(comes - virtual_time.now() if comes > virtual_time.now() else 0)
            task = asyncio.create_task(call(permits, age, holds, prompt))
            if cancelled:
                asyncio.get_running_loop().call_later(cancelled, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert permits.in_flight == 0
        assert [endpoint.in_flight for endpoint in endpoints] == [0, 0]
        assert permits.has_room()

    virtual_time.run_virtual(main())


def test_a_row_is_overtaken_for_what_a_server_knows_but_not_for_ever() -> None:
    order: list[int] = []

    async def call(permits: Permits, age: int, prompt: int, holds: float = 1.0) -> None:
        endpoint = await permits.acquire(age, ONE, (prompt,))
        order.append(age)
        await asyncio.sleep(holds)
        permits.release(endpoint)

    async def main() -> None:
        endpoints = [endpoint_at("http://a"), endpoint_at("http://b")]
        endpoints[0].window, endpoints[1].window = ConcurrencyWindow(1), ConcurrencyWindow(1)
        affinity = PrefixAffinity()
        affinity.record((7,), 0)
        affinity.record((8,), 1)
        permits = Permits(2, endpoints, selector=AffinitySelector(endpoints, affinity))
        tasks = [asyncio.create_task(call(permits, 0, 7)), asyncio.create_task(call(permits, 1, 8, 1e6))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(call(permits, 2, 8))]  # known to the other, which is busy for ever
        tasks += [asyncio.create_task(call(permits, 3 + n, 7)) for n in range(MAX_OVERTAKES + 20)]
        await asyncio.wait(tasks)

    virtual_time.run_virtual(main())
    assert order.index(2) == MAX_OVERTAKES + 2
    assert sorted(order) == list(range(MAX_OVERTAKES + 23))
