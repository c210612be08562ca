"""A client in one of several workers: it uses its shares of the limits, and begins no call after its lease."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from fakes import FakeTransport, SoloClient, charging, refusal
from manycall.client.job_client import JobClient
from manycall.client.leased_budget import LeasedBudget
from manycall.client.leases import EndpointShare, apply_shares, endpoint_reports
from manycall.control.budget import Budget, Charge, SpendLimit
from manycall.control.quota import Quota
from manycall.errors import ManycallError
from manycall.limits import RateLimits
from manycall.run.client_status import client_status
from manycall.sim.virtual_time import now, run_virtual
from manycall.transport.messages import HttpRequest, HttpResponse
from scenarios.servers import hosted, knee, per_second
from scenarios.several_workers import Outcome, run_workers

WHOLE = EndpointShare(1.0)
Test = Callable[[SoloClient], Awaitable[None]]


class Hosts(FakeTransport):
    """Answers every call. The host `refused` refuses its key."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        response = await super().send(request)
        return refusal(401, "no such key") if "//refused/" in request.url and request.method == "POST" else response


def with_client(test: Test, transport: FakeTransport, *hosts: str, concurrency: int | None = None) -> None:
    """Run a test with a client of these hosts, in virtual time."""

    async def main() -> None:
        urls = [f"http://{host}/v1" for host in hosts or ("a",)]
        async with SoloClient("m", base_url=urls, api_key="", transport=transport, concurrency=concurrency) as client:
            await test(client)

    run_virtual(main())


async def call(client: SoloClient, count: int) -> list[object]:
    """Make calls at once. Return the answers or exceptions."""
    return await asyncio.gather(*(client.chat(str(n)) for n in range(count)), return_exceptions=True)


def test_a_worker_uses_its_share_of_the_quota_and_follows_its_changes() -> None:
    transport = FakeTransport(lambda body: "fine", seconds=0.1)

    async def test(client: SoloClient) -> None:
        (endpoint,) = client.pool.endpoints
        endpoint.quota = Quota(RateLimits(rpm=6000))
        apply_shares(client, {"http://a/v1": EndpointShare(0.1)}, math.inf)
        assert endpoint_reports(client)["http://a/v1"].calls_per_second == 100  # that of all workers
        await call(client, 98)
        assert 9.8 < now() < 10.3
        apply_shares(client, {"http://a/v1": WHOLE}, math.inf)
        await call(client, 98)
        assert 10.7 < now() < 11.4

    with_client(test, transport)


def test_no_call_begins_after_the_lease_and_calls_go_on_when_it_is_renewed() -> None:
    transport = FakeTransport(lambda body: "fine", seconds=3.0)

    async def test(client: SoloClient) -> None:
        apply_shares(client, {}, -math.inf)
        answers = asyncio.create_task(call(client, 6))
        await asyncio.sleep(5)
        assert transport.log == []
        apply_shares(client, {"http://a/v1": WHOLE}, now() + 10, concurrency=2)
        await asyncio.sleep(10)  # two calls at a time, 3 s each: the fifth and sixth begin at 11 s
        assert [at for at, _ in transport.log] == [5, 5, 8, 8, 11, 11]
        await answers
        late = asyncio.create_task(call(client, 2))
        await asyncio.sleep(5)
        assert len(transport.log) == 6
        apply_shares(client, {"http://a/v1": WHOLE}, now() + 10, concurrency=1)
        assert len(await late) == 2
        assert [at for at, _ in transport.log[6:]] == [20, 23]

    with_client(test, transport, concurrency=4)


def test_an_endpoint_without_a_share_gets_no_calls_but_is_an_alternative_for_a_refused_key() -> None:
    transport = Hosts(lambda body: "fine")

    async def test(client: SoloClient) -> None:
        apply_shares(client, {"http://refused/v1": WHOLE}, math.inf)
        answers = asyncio.create_task(call(client, 3))
        await asyncio.sleep(30)
        assert {each.url for each in transport.requests} == {"http://refused/v1/chat/completions"}
        reports = endpoint_reports(client)
        assert reports["http://refused/v1"].disabled_reason is not None
        assert reports["http://b/v1"].disabled_reason is None
        assert not answers.done()  # the driver will give it a share of the other one
        apply_shares(client, {"http://b/v1": WHOLE}, math.inf)
        assert not [each for each in await answers if isinstance(each, ManycallError)]
        assert endpoint_reports(client)["http://b/v1"].answered == 3

    with_client(test, transport, "refused", "b")


def test_an_endpoint_that_another_worker_found_unusable_gets_no_calls() -> None:
    transport = FakeTransport(lambda body: "fine")

    async def test(client: SoloClient) -> None:
        apply_shares(client, {"http://a/v1": EndpointShare(1.0, "the key was refused"), "http://b/v1": WHOLE}, math.inf)
        await call(client, 4)
        assert {each.url for each in transport.requests} == {"http://b/v1/chat/completions"}

    with_client(test, transport, "a", "b")


def test_a_worker_with_a_part_of_the_concurrency_is_limited_by_what_the_user_gave() -> None:
    async def test(client: SoloClient) -> None:
        apply_shares(client, {"http://a/v1": WHOLE}, 10.0, concurrency=30)
        assert client_status(client, now()) == (0, 30, "concurrency=60")

    with_client(test, FakeTransport(str), concurrency=60)


def test_several_keys_of_one_url_have_names_of_their_own() -> None:
    async def test(client: SoloClient) -> None:
        assert [*endpoint_reports(client)] == ["http://a/v1", "http://b/v1", "http://a/v1 #2"]

    with_client(test, FakeTransport(lambda body: "fine"), "a", "b", "a")


def test_a_worker_waits_for_its_budget_and_never_stops_by_itself() -> None:
    transport = FakeTransport(lambda body: "fine")  # 5 tokens for each call

    async def test(client: SoloClient) -> None:
        limit = SpendLimit(math.inf, lambda charge: charge.tokens, str, "--max-total-tokens")
        budget = LeasedBudget(Budget([limit], Charge(5, 0)))
        calls = JobClient(client.pool, "m", {}, budget=budget, charge=charging(budget.budget))
        answers = asyncio.gather(*(calls.chat(str(n)) for n in range(10)))
        await asyncio.sleep(5)
        assert (len(transport.log), budget.needs_more.is_set()) == (0, True)
        budget.set_allowances([20.0])
        await asyncio.sleep(5)
        assert (len(transport.log), calls.stopped, budget.needs_more.is_set()) == (4, None, True)
        (use,) = budget.uses()
        assert (use.used, use.reserved, use.is_waiting) == (20, 0, True)
        budget.set_allowances([20.0])
        await asyncio.sleep(1)
        assert not budget.needs_more.is_set()  # a grant that gives no more is not answered at once
        budget.set_allowances([100.0])
        await answers
        assert budget.uses()[0].used == 50

    with_client(test, transport)


# several workers in virtual time


def refused_share(outcome: Outcome) -> float:
    return outcome.witness.refused / len(outcome.witness.sends)


def test_eight_workers_use_a_quota_that_nobody_knows_as_one_would() -> None:
    outcome = run_workers(hosted(rpm=600, rate_limit_headers="none"), 600, 8)
    used = len(outcome.witness.answered) / per_second(10)(max(each.sent for each in outcome.witness.answered))
    assert (outcome.failed, sum(outcome.ended)) == (0, 600)
    assert used > 0.95
    assert refused_share(outcome) <= 0.03  # of 600 calls; 0.8 % of 3,000


def test_after_refusals_one_worker_finds_the_whole_quota_while_the_others_finish_their_rows() -> None:
    servers = hosted(rpm=1200, tokens=15, latency=0.05, burst=20, rate_limit_headers="none")
    alone, together = (run_workers(servers, 700, workers) for workers in (1, 4))
    assert (together.failed, sum(together.ended)) == (0, 700)
    assert sorted(together.ended)[2] < 100 < max(together.ended)
    assert together.seconds < alone.seconds + 3


def test_two_workers_share_an_advertised_quota() -> None:
    outcome = run_workers(hosted(rpm=6000), 1500, 2, seed=3)  # each worker learns the quota from its first answer
    assert outcome.failed == outcome.witness.refused == 0
    assert min(outcome.ended) > 500


def test_four_workers_spend_a_budget_as_one_would() -> None:
    alone, together = (run_workers(knee(16, tokens=50), 2000, count, budget=20_000, hosted=False) for count in (1, 4))
    assert 20_000 <= alone.spent < 22_500
    assert 20_000 <= together.spent < 22_500
