"""Calls that stall, and their copies."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import SoloClient, answer, calls_of, charging, no_header
from manycall.client.job_client import JobClient
from manycall.client.shared_budget import SharedBudget
from manycall.control.budget import Budget, Charge, SpendLimit
from manycall.data.row_source import RowSource
from manycall.errors import AttemptTimeout, CallError, ConnectError, ConnectionLost, MaxTokensReached, RunStopped
from manycall.run.scheduler import Scheduler
from manycall.sim import virtual_time
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpRequest, HttpResponse
from simulate import ask

pytestmark = pytest.mark.usefixtures("no_key")  # with a key, a copy might be billed

Answering = Callable[[], Awaitable[HttpResponse]]


def after(seconds: float, error: Exception | None = None, page: bytes = b"") -> Answering:
    """Answer after so long, or fail, or return another body, such as a web page."""

    async def answering() -> HttpResponse:
        await asyncio.sleep(seconds)
        if error is not None:
            raise error
        return HttpResponse(200, page, no_header) if page else answer()

    return answering


class Servers:
    """All calls take a second, but those that say "slow": the first of them takes one way, the copy another.

    Attributes:
        sends: when each slow one was sent.
    """

    def __init__(self, first: Answering, copy: Answering) -> None:
        self._first, self._copy = first, copy
        self.sends: list[float] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            return HttpResponse(404, b"", no_header)
        if b"slow" not in request.body:
            return await after(1.0)()
        self.sends.append(round(virtual_time.now(), 1))
        return await (self._first if len(self.sends) == 1 else self._copy)()

    async def close(self) -> None:
        pass


async def warm(llm: SoloClient) -> None:
    """Let it learn how long answers take."""
    await asyncio.gather(*(llm.chat(str(n)) for n in range(20)))


def one_slow(servers: Servers, then: Callable[[SoloClient], None] = lambda llm: None) -> tuple[Any, float, SoloClient]:
    """(what came of the slow call, when, the client)."""

    async def main() -> tuple[Any, float, SoloClient]:
        async with SoloClient("m", base_url=["http://a", "http://b"], transport=servers) as llm:
            await warm(llm)
            then(llm)
            came = (await asyncio.gather(llm.chat("slow"), return_exceptions=True))[0]
            at = virtual_time.now()
            await asyncio.sleep(100)
            assert llm.permits.in_flight == 0
            assert [each.in_flight for each in llm.pool.endpoints] == [0, 0]
            return came, at, llm

    return virtual_time.run_virtual(main())


def test_the_copy_of_a_stalled_call_answers_for_it() -> None:
    servers = Servers(after(500.0), after(2.0))
    came, at, llm = one_slow(servers)
    assert came.text == "fine"
    assert at < 20
    assert len(servers.sends) == 2
    assert (llm.counters.hedged, llm.counters.possibly_billed, llm.counters.retries) == (1, 1, 0)


def test_if_the_original_comes_first_the_copy_is_dropped_and_may_be_billed() -> None:
    came, at, llm = one_slow(Servers(after(10.0), after(300.0)))
    assert came.text == "fine"
    assert at < 15
    assert (llm.counters.hedged, llm.counters.possibly_billed) == (1, 1)


def test_a_copy_that_fails_changes_nothing() -> None:
    came, at, llm = one_slow(Servers(after(30.0), after(10.0, AttemptTimeout("late"))))
    assert came.text == "fine"
    assert at > 30
    assert (llm.counters.retries, llm.counters.possibly_billed) == (0, 1)


def test_a_web_page_is_not_the_answer_of_a_copy() -> None:
    came, at, llm = one_slow(Servers(after(30.0), after(10.0, page=b"<!doctype html><title>Sign in</title>")))
    assert came.text == "fine"
    assert at > 30
    assert (llm.counters.retries, llm.counters.hedged, llm.counters.possibly_billed) == (0, 1, 1)


def test_a_web_page_from_the_original_does_not_cancel_its_copy() -> None:
    servers = Servers(after(10.0, page=b"<!doctype html><title>Sign in</title>"), after(12.0))
    came, at, llm = one_slow(servers)
    assert came.text == "fine"
    assert at < 20
    assert len(servers.sends) == 2
    assert llm.counters.retries == 0


def test_a_copy_that_was_truncated_while_thinking_is_the_outcome_of_the_call() -> None:
    choices = b'[{"message": {"content": null}, "finish_reason": "length"}]'
    truncated = b'{"choices": %s, "usage": {"completion_tokens": 4000}}' % choices
    came, at, llm = one_slow(Servers(after(500.0), after(10.0, page=truncated)))
    assert isinstance(came, MaxTokensReached)
    assert at < 20
    assert llm.counters.completion_tokens >= 4000


def test_if_the_original_is_lost_while_the_copy_is_on_its_way_the_copy_is_waited_for() -> None:
    servers = Servers(after(10.0, ConnectionLost("reset")), after(12.0))
    came, _, llm = one_slow(servers)
    assert came.text == "fine"
    assert len(servers.sends) == 2
    assert llm.counters.retries == 0


@pytest.mark.parametrize(("lost", "billed"), [(AttemptTimeout("late"), 1), (ConnectError("refused"), 0)])
def test_an_original_that_failed_before_its_copy_answered_may_be_billed(lost: Exception, billed: int) -> None:
    came, _, llm = one_slow(Servers(after(10.0, lost), after(12.0)))
    assert came.text == "fine"
    assert (llm.counters.hedged, llm.counters.possibly_billed) == (1, billed)


def test_after_the_stop_nothing_is_sent_again() -> None:
    servers = Servers(after(50.0), after(1.0))

    def stop_soon(llm: SoloClient) -> None:
        asyncio.get_running_loop().call_later(0.5, llm.stop, RunStopped("enough"))

    came, at, _ = one_slow(servers, stop_soon)
    assert came.text == "fine"
    assert at > 50
    assert len(servers.sends) == 1


@pytest.mark.parametrize("hops", range(6))
def test_a_copy_that_is_dropped_before_it_began_gives_its_permit_back(tmp_path: Path, hops: int) -> None:
    """The original's answer comes in the very turn of the loop in which the copy is made, or around it."""
    moment = asyncio.Event()

    async def just_then() -> HttpResponse:
        await moment.wait()
        for _ in range(hops):
            await asyncio.sleep(0)
        return answer()

    servers = Servers(just_then, after(5.0))

    async def main() -> int:
        run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {}))
        client = SoloClient("m", base_url=["http://a", "http://b"], transport=servers, concurrency=50)
        rows = [{"id": str(n), "prompt": "slow" if n == 7 else str(n)} for n in range(20)]
        async with client:
            hedger = client.pool.hedger
            assert hedger is not None
            rescue = hedger.hedge_stalled

            def telling() -> None:
                rescue()
                if client.counters.hedged:
                    moment.set()

            hedger.hedge_stalled = telling  # type: ignore[method-assign]
            scheduler = Scheduler(calls_of(client, run), run, ask)
            await asyncio.wait_for(scheduler.run(RowSource(rows).pending_rows(run.ids)), 3600)
        run.close()
        assert client.permits.in_flight == 0
        return client.counters.done

    assert virtual_time.run_virtual(main()) == 20


@pytest.mark.parametrize("seconds", [5.0, 8.0, 9.0, 30.0])
def test_a_users_own_timeout_is_a_timeout_all_the_same(seconds: float) -> None:
    async def main() -> None:
        async with SoloClient(
            "m", base_url=["http://a", "http://b"], transport=Servers(after(100.0), after(5.0))
        ) as llm:
            await warm(llm)
            began = virtual_time.now()
            try:
                async with asyncio.timeout(seconds):
                    assert (await llm.chat("slow")).text == "fine"
            except TimeoutError:
                assert virtual_time.now() == pytest.approx(began + seconds, abs=0.01)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(200)
            assert llm.permits.in_flight == 0

    virtual_time.run_virtual(main())


def test_a_function_that_swallowed_a_cancellation_still_gets_the_copys_answer() -> None:
    async def main() -> None:
        async with SoloClient(
            "m", base_url=["http://a", "http://b"], transport=Servers(after(100.0), after(5.0))
        ) as llm:
            await warm(llm)

            async def row() -> str:
                try:
                    await asyncio.sleep(50)
                except asyncio.CancelledError:
                    pass
                return (await llm.chat("slow")).text

            task = asyncio.create_task(row())
            await asyncio.sleep(0.1)
            task.cancel()
            assert await task == "fine"

    virtual_time.run_virtual(main())


def test_both_failing_is_a_failure_with_its_retries() -> None:
    servers = Servers(after(10.0, AttemptTimeout("late")), after(10.0, AttemptTimeout("late")))
    came, _, llm = one_slow(servers)
    assert isinstance(came, CallError)
    assert llm.counters.retries == 3


def test_at_most_one_call_in_fifty_is_sent_again_and_two_in_any_case() -> None:
    servers = Servers(after(60.0), after(60.0))

    async def main() -> None:
        async with SoloClient("m", base_url=["http://a", "http://b"], transport=servers) as llm:
            await warm(llm)
            await asyncio.gather(*(llm.chat(f"slow {n}") for n in range(20)))
            assert llm.counters.hedged == 3  # 2 + 2 % of 43
            await asyncio.gather(*(llm.chat(str(n)) for n in range(60)))
            await asyncio.gather(*(llm.chat(f"slow {n}") for n in range(20)))
            assert llm.counters.hedged == 5  # 2 + 2 % of 125

    virtual_time.run_virtual(main())


async def stalled(calls: JobClient) -> Any:
    """Return what comes of a call that stalls after others have shown how long answers take."""
    await asyncio.gather(*(calls.chat(str(n)) for n in range(20)))
    return await asyncio.gather(calls.chat("slow"), return_exceptions=True)


def test_a_copy_counts_in_the_job_that_made_the_call() -> None:
    async def main() -> tuple[int, int]:
        servers = Servers(after(500.0), after(2.0))
        async with SoloClient("m", base_url=["http://a", "http://b"], transport=servers) as client:
            one, other = (JobClient(client.pool, "m", {}) for _ in range(2))
            await stalled(one)
            assert (client.permits.in_flight, one.permits.in_flight) == (0, 0)
            return one.counters.hedged, other.counters.hedged

    assert virtual_time.run_virtual(main()) == (1, 0)


@pytest.mark.parametrize(("tokens", "copies"), [(10_000, 1), (3, 0)])
def test_a_copy_is_sent_only_if_the_budget_of_its_job_has_room(tokens: int, copies: int) -> None:
    """The other calls spend 100 tokens and the slow one 5. The budget has room for it, and perhaps for its copy."""
    limit = SpendLimit(100.0 + tokens, lambda charge: charge.tokens, str, "--max-total-tokens")
    budget = Budget([limit], Charge(512, 0.0))

    async def main() -> int:
        servers = Servers(after(100.0), after(2.0))
        async with SoloClient("m", base_url=["http://a", "http://b"], transport=servers) as client:
            job = JobClient(client.pool, "m", {}, budget=SharedBudget(budget), charge=charging(budget))
            await stalled(job)
            return job.counters.hedged

    assert virtual_time.run_virtual(main()) == copies
