import asyncio
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoints import endpoint_at
from fakes import SoloClient, answer
from manycall import errors
from manycall.client.endpoint import CANARY_SECONDS, Endpoint
from manycall.control import load_balance
from manycall.control.circuit_breaker import EJECTIONS_PER_OUTAGE, CircuitBreaker
from manycall.control.load_balance import MIN_ANSWERS, MeanDuration, choose_endpoint
from manycall.limits import CallCost
from manycall.sim import virtual_time
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from manycall.transport.messages import HttpRequest, HttpResponse
from simulate import prompts, simulate


def test_the_fewest_in_flight_goes_first_and_equals_take_turns() -> None:
    pool = [endpoint_at(f"http://{name}") for name in "abc"]
    assert [choose_endpoint(pool, CallCost(), 0.0, turn)[0].url[7] for turn in range(4)] == ["a", "b", "c", "a"]
    pool[0].in_flight = pool[1].in_flight = 1
    assert choose_endpoint(pool, CallCost(), 0.0, 0)[0] is pool[2]


def busy(name: str, in_flight: int, seconds: float) -> Endpoint:
    """An endpoint with calls in flight, whose calls have taken so long."""
    endpoint = endpoint_at(f"http://{name}")
    endpoint.mean_duration.record_in_flight(MIN_ANSWERS, -seconds)
    endpoint.mean_duration.record_in_flight(in_flight, 0.0)
    for _ in range(MIN_ANSWERS):
        endpoint.record_success(seconds)
    endpoint.in_flight = in_flight
    return endpoint


def test_the_last_calls_do_not_start_at_a_slow_endpoint() -> None:
    pool = [busy("slow", 1, 10.0), busy("fast", 4, 1.0)]  # the fast one answers 4 calls a second
    assert pool[0].mean_seconds(0.0) == 10.0
    assert choose_endpoint(pool, CallCost(), 0.0, 0)[0] is pool[0]
    assert choose_endpoint(pool, CallCost(), 0.0, 0, calls_left=37)[0] is pool[0]  # (37 + 4) / 4 > 10 seconds
    assert choose_endpoint(pool, CallCost(), 0.0, 0, calls_left=35)[0] is pool[1]


@given(
    seconds=st.lists(st.floats(0.1, 100), min_size=2, max_size=5),
    in_flight=st.lists(st.integers(0, 20), min_size=5, max_size=5),
    left=st.integers(0, 1000),
)
def test_a_call_never_waits_unless_another_call_is_in_flight(
    seconds: list[float], in_flight: list[int], left: int
) -> None:
    pool = [busy(f"a{k}", in_flight[k], each) for k, each in enumerate(seconds)]
    _, at = choose_endpoint(pool, CallCost(), 0.0, 0, calls_left=left)
    assert at < math.inf or any(each.in_flight for each in pool)
    idle = [busy(f"a{k}", 0, each) for k, each in enumerate(seconds)]
    assert choose_endpoint(idle, CallCost(), 0.0, 0, calls_left=left)[1] < math.inf


def test_the_mean_duration_includes_the_calls_in_flight() -> None:
    """Of ten calls that take 1 to 10 seconds, eight are answered after 8 seconds: their own mean is 4.5 seconds."""
    duration = MeanDuration()
    duration.record_in_flight(10, 0.0)
    assert duration.seconds(1.0) is None
    for second in range(1, 9):
        duration.record_answer()
        duration.record_in_flight(10 - second, float(second))
    assert duration.seconds(8.0) == pytest.approx((sum(range(1, 9)) + 2 * 8) / 8)
    assert duration.seconds(9.0) == pytest.approx((sum(range(1, 9)) + 2 * 9) / 8)


@pytest.mark.usefixtures("no_key")
def test_a_slow_replica_does_not_delay_the_end_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = SimSettings(slots=16, latency=0.0, token_latency=0.01, tokens=100, spread=0.6)
    slow = msgspec.structs.replace(fast, token_latency=0.04)

    def seconds() -> float:
        servers = {name: SimServer(each, {}) for name, each in (("a", fast), ("b", fast), ("c", slow))}
        witness = simulate(
            lambda: InProcessTransport(servers), prompts(400, 10), concurrency=48, params={"temperature": 0}, total=400
        )
        assert len(witness.answered) == 400
        return max(call.sent + call.seconds for call in witness.answered)

    balanced = seconds()
    monkeypatch.setattr(load_balance, "is_too_slow", lambda *_: False)
    assert balanced < 0.9 * seconds()


def test_an_ejected_endpoint_is_skipped_but_never_the_last_one() -> None:
    pool = [endpoint_at("http://failing"), endpoint_at("http://well")]
    for _ in range(3):
        pool[0].health.record_failure(0.0)
    assert all(choose_endpoint(pool, CallCost(), 0.5, turn)[0] is pool[1] for turn in range(4))
    assert choose_endpoint(pool[:1], CallCost(), 0.5, 0) == (pool[0], float("-inf"))
    assert choose_endpoint(pool, CallCost(), 1.5, 0)[0] is pool[0]


def test_ejections_double_until_a_call_is_answered() -> None:
    health, rests = CircuitBreaker(), []
    for _ in range(12):
        now = max(0.0, health.ejected_until)
        health.record_failure(now)
        rests.append(max(0.0, health.ejected_until - now))
    assert rests == [0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    health.record_success(200.0, 200.0)
    assert not health.is_ejected(200.0)


def ejected(rests: int) -> CircuitBreaker:
    """The health of an endpoint that was ejected `rests` times in a row. The last ejection began at second 100."""
    health, now = CircuitBreaker(), 0.0
    while health._ejections < rests:
        health.record_failure(now := 100.0 if health._ejections == rests - 1 else max(now, health.ejected_until))
    return health


def test_after_a_rest_one_call_tries_the_endpoint_and_until_it_is_answered_no_other_goes_there() -> None:
    health = ejected(1)
    assert (health.is_ejected(100.9), health.is_ejected(101.0)) == (True, False)
    health.record_sent(101.0)
    assert health.is_ejected(101.0)
    assert (health.is_ejected(130.9), health.is_ejected(131.0)) == (True, False)  # no answer for 30 s: another may try
    health.record_success(101.0, 102.0)
    assert not health.is_ejected(102.0)


def test_a_call_that_was_to_try_the_endpoint_and_was_not_sent_leaves_that_to_the_next() -> None:
    health = ejected(1)
    health.record_sent(101.0)
    health.cancel_probe()
    assert not health.is_ejected(101.0)


def test_a_call_to_an_ejected_endpoint_is_no_probe_if_all_are_ejected() -> None:
    health = ejected(1)
    health.record_sent(100.5)
    assert not health.is_ejected(101.0)


@pytest.mark.parametrize(
    ("rests", "outage"), [(0, False), (EJECTIONS_PER_OUTAGE - 1, False), (EJECTIONS_PER_OUTAGE, True)]
)
def test_the_first_answer_after_an_outage_ends_it(rests: int, outage: bool) -> None:
    health = ejected(rests)
    assert not health.record_success(99.0, 100.5)  # this call went before
    assert health.record_success(101.0, 102.0) == outage
    assert not health.record_success(102.0, 103.0)


class Pool:
    """Several servers behind one transport; `failing` ones fail at once."""

    def __init__(self, failing: dict[str, HttpResponse | Exception]) -> None:
        self.failing = failing
        self.log: list[tuple[float, str]] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.method == "GET":
            return HttpResponse(404, b"", lambda name: None)
        host = request.url[7]
        self.log.append((virtual_time.now(), host))
        if (fault := self.failing.get(host)) is not None:
            await asyncio.sleep(0.001)
            if isinstance(fault, Exception):
                raise fault
            return fault
        await asyncio.sleep(1.0)
        return answer()

    async def close(self) -> None:
        pass


def share_of_the_failing(failing: dict[str, HttpResponse | Exception]) -> tuple[float, float]:
    """(share of the calls that went to `a`, virtual seconds for 800 calls, 16 in flight)."""
    transport = Pool(failing)

    async def main() -> float:
        async with SoloClient("m", base_url=["http://a", "http://b"], transport=transport, concurrency=16) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(800)))
        return virtual_time.now()

    took = virtual_time.run_virtual(main())
    return sum(host == "a" for _, host in transport.log) / len(transport.log), took


def test_a_dead_endpoint_takes_no_calls_from_the_living() -> None:
    for fault in (errors.ConnectError("refused"), HttpResponse(502, b"", lambda name: None)):
        share, took = share_of_the_failing({"a": fault})
        assert share < 0.07  # the first wave is most of it
        assert took < 50 * 1.1 + 2


PAGE = HttpResponse(200, b"<html><title>Starting</title></html>", lambda name: None)
ERROR_IN_BODY = HttpResponse(200, b'{"error":{"code":502,"message":"bad gateway"}}', lambda name: None)


@pytest.mark.parametrize("reply", [PAGE, ERROR_IN_BODY])
def test_an_endpoint_that_answers_with_status_200_but_no_completion_is_ejected(reply: HttpResponse) -> None:
    share, took = share_of_the_failing({"a": reply})
    assert share < 0.07
    assert took < 50 * 1.1 + 2


def test_a_probe_that_is_answered_with_a_web_page_does_not_end_the_ejection() -> None:
    transport = Pool({"a": PAGE})
    seen: list[str] = []

    async def main() -> None:
        async with SoloClient("m", base_url=["http://a", "http://b"], transport=transport, concurrency=16) as llm:
            calls = [asyncio.create_task(llm.chat(str(n))) for n in range(800)]
            await asyncio.sleep(12.0)
            seen.extend(event.what for event in llm.pool.endpoints[0].events)
            del transport.failing["a"]
            await asyncio.wait(calls)
            seen.append(llm.pool.endpoints[0].events[-1].what)

    virtual_time.run_virtual(main())
    assert [what.split(":")[0] for what in seen] == [*(f"ejected for {n} s" for n in (1, 2, 4, 8)), "recovered"]


@pytest.mark.parametrize("provider", ["", "anthropic="])
def test_a_response_that_is_not_a_completion_counts_as_an_error_of_its_endpoint(provider: str) -> None:
    async def main() -> None:
        transport = Pool({"a": PAGE})
        url, key = f"{provider}http://a", "not-a-real-key"
        async with SoloClient("m", base_url=url, transport=transport, api_key=key, plain_http=True) as llm:
            with pytest.raises(errors.InvalidResponse):
                await llm.chat("hi", max_tokens=8)
            (endpoint,) = llm.pool.endpoints
            assert (endpoint.answers, endpoint.errors) == (0, len(transport.log))

    virtual_time.run_virtual(main())


def test_an_answer_without_text_is_no_fault_of_its_endpoint() -> None:
    async def main() -> None:
        async with SoloClient("m", base_url="http://a", transport=Pool({"a": answer("")}), concurrency=1) as llm:
            with pytest.raises(errors.EmptyCompletion):
                await llm.chat("hi")
            (endpoint,) = llm.pool.endpoints
            assert (endpoint.answers, endpoint.errors, len(endpoint.events)) == (4, 0, 0)

    virtual_time.run_virtual(main())


def test_two_that_are_well_share() -> None:
    share, took = share_of_the_failing({})
    assert 0.45 < share < 0.55
    assert took == pytest.approx(50 + CANARY_SECONDS)


def test_an_ejected_endpoint_is_probed_with_a_single_call() -> None:
    said: list[str] = []
    health = CircuitBreaker(lambda now, why: said.append(why))
    for _ in range(3):
        health.record_failure(0.0)
    assert health.is_ejected(0.5)
    assert not health.is_ejected(1.0)
    health.record_sent(1.0)
    assert health.is_ejected(1.1)  # the call that tries it is on its way
    health.record_failure(1.2)
    assert health.is_ejected(3.1)
    health.record_sent(3.2)
    health.record_success(3.3, 3.3)
    assert not health.is_ejected(3.3)
    assert said == [
        "ejected for 1 s: 3 consecutive failures",
        "ejected for 2 s: 4 consecutive failures",
        "recovered",
    ]


def test_a_call_that_tries_it_and_never_comes_back_is_not_waited_for_for_ever() -> None:
    health = CircuitBreaker()
    for _ in range(3):
        health.record_failure(0.0)
    health.record_sent(1.0)
    assert health.is_ejected(20.0)
    assert not health.is_ejected(32.0)


def test_an_endpoint_that_fails_every_other_call_is_ejected_too() -> None:
    health = CircuitBreaker()
    for n in range(200):
        health.record_failure(0.0)
        if n % 2:
            health.record_success(0.0, 0.0)
    assert health.is_ejected(0.5)


def test_one_failure_in_ten_is_no_illness() -> None:
    health = CircuitBreaker()
    for n in range(1000):
        if n % 10:
            health.record_success(0.0, 0.0)
        else:
            health.record_failure(0.0)
        assert not health.is_ejected(0.0)
