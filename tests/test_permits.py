import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import virtual
from manycall.engine.permits import Permits
from manycall.errors import RunStopped


def test_the_oldest_waiting_row_goes_first_and_nobody_overtakes() -> None:
    order: list[str] = []

    async def call(permits: Permits, name: str, age: int) -> None:
        await permits.acquire(age)
        order.append(name)
        await asyncio.sleep(1)
        permits.release()

    async def main() -> None:
        permits = Permits(1)
        tasks = [asyncio.create_task(call(permits, n, a)) for n, a in [("x", 9), ("c", 3), ("a", 1), ("b", 2)]]
        await asyncio.wait(tasks)
        assert virtual.now() == 4

    virtual.run(main())
    assert order == ["x", "a", "b", "c"]


@settings(max_examples=200)
@given(st.integers(1, 4), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(0, 6)), max_size=25))
def test_no_permit_is_lost_or_doubled_under_cancellation(limit: int, calls: list[tuple[int, int, int]]) -> None:
    """Each call: (second at which it comes, seconds it holds, seconds after which it is cancelled; 0: never)."""

    async def call(permits: Permits, age: int, holds: int) -> None:
        await permits.acquire(age)
        try:
            assert permits.in_flight <= limit
            await asyncio.sleep(holds)
        finally:
            permits.release()

    async def main() -> None:
        permits = Permits(limit)
        tasks: list[asyncio.Task[Any]] = []
        for age, (comes, holds, cancelled) in enumerate(sorted(calls)):
            await asyncio.sleep(comes - virtual.now() if comes > virtual.now() else 0)
            task = asyncio.create_task(call(permits, age, holds))
            if cancelled:
                asyncio.get_running_loop().call_later(cancelled, task.cancel)
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert permits.in_flight == 0
        assert permits.free

    virtual.run(main())


def test_a_permit_granted_to_somebody_who_was_just_cancelled_goes_on_to_the_next() -> None:
    async def main() -> None:
        permits = Permits(1)
        await permits.acquire(0)
        doomed = asyncio.create_task(permits.acquire(1))
        heir = asyncio.create_task(permits.acquire(2))
        await asyncio.sleep(0)
        permits.release()  # doomed has it now, but has not run yet
        doomed.cancel()
        await heir
        assert permits.in_flight == 1

    virtual.run(main())


def test_a_permit_granted_in_the_moment_of_closing_is_not_used() -> None:
    async def main() -> None:
        permits = Permits(1)
        await permits.acquire(0)
        late = asyncio.create_task(permits.acquire(1))
        await asyncio.sleep(0)
        permits.release()
        permits.close(RunStopped("enough"))
        with pytest.raises(RunStopped):
            await late
        assert permits.in_flight == 0

    virtual.run(main())


def test_closing_turns_away_whoever_waits_or_comes() -> None:
    async def main() -> None:
        permits = Permits(1)
        await permits.acquire(0)
        waiting = asyncio.create_task(permits.acquire(1))
        await asyncio.sleep(0)
        permits.close(RunStopped("enough"))
        with pytest.raises(RunStopped, match="enough"):
            await waiting
        with pytest.raises(RunStopped, match="enough"):
            await permits.acquire(2)
        permits.release()
        assert repr(permits) == "<Permits 0/1 in flight, 0 waiting>"

    virtual.run(main())
