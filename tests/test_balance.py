import asyncio

import pytest

from fakes import answer
from manycall import errors
from manycall.control.balance import pick
from manycall.control.health import OUTAGE, Health
from manycall.control.quota import Cost
from manycall.engine.client import Client
from manycall.engine.endpoint import CANARY_SECONDS, Endpoint
from manycall.sim import virtual
from manycall.wire.transport import HttpReply, HttpRequest


def test_the_fewest_in_flight_goes_first_and_equals_take_turns() -> None:
    pool = [Endpoint(f"http://{name}") for name in "abc"]
    assert [pick(pool, Cost(), 0.0, turn)[0].url[7] for turn in range(4)] == ["a", "b", "c", "a"]
    pool[0].in_flight = pool[1].in_flight = 1
    assert pick(pool, Cost(), 0.0, 0)[0] is pool[2]


def test_one_that_rests_is_passed_over_but_never_the_last() -> None:
    pool = [Endpoint("http://sick"), Endpoint("http://well")]
    for _ in range(3):
        pool[0].health.failed(0.0)
    assert all(pick(pool, Cost(), 0.5, turn)[0] is pool[1] for turn in range(4))
    assert pick(pool[:1], Cost(), 0.5, 0) == (pool[0], float("-inf"))
    assert pick(pool, Cost(), 1.5, 0)[0] is pool[0]


def test_rests_double_until_a_call_is_answered() -> None:
    health, rests = Health(), []
    for _ in range(12):
        now = max(0.0, health.rests_until)
        health.failed(now)
        rests.append(max(0.0, health.rests_until - now))
    assert rests == [0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]
    health.well(200.0, 200.0)
    assert not health.rests(200.0)


def sick(rests: int) -> Health:
    """The health of an endpoint that was ejected `rests` times in a row. The last ejection began at second 100."""
    health, now = Health(), 0.0
    while health._rests < rests:
        health.failed(now := 100.0 if health._rests == rests - 1 else max(now, health.rests_until))
    return health


def test_after_a_rest_one_call_tries_the_endpoint_and_until_it_is_answered_no_other_goes_there() -> None:
    health = sick(1)
    assert (health.rests(100.9), health.rests(101.0)) == (True, False)
    health.sent(101.0)
    assert health.rests(101.0)
    assert (health.rests(130.9), health.rests(131.0)) == (True, False)  # no answer for 30 s: another may try
    health.well(101.0, 102.0)
    assert not health.rests(102.0)


def test_a_call_that_was_to_try_the_endpoint_and_was_not_sent_leaves_that_to_the_next() -> None:
    health = sick(1)
    health.sent(101.0)
    health.unused()
    assert not health.rests(101.0)


def test_a_call_that_goes_to_a_resting_endpoint_because_all_rest_is_no_trial() -> None:
    health = sick(1)
    health.sent(100.5)
    assert not health.rests(101.0)


@pytest.mark.parametrize(("rests", "outage"), [(0, False), (OUTAGE - 1, False), (OUTAGE, True)])
def test_the_first_answer_after_an_outage_ends_it(rests: int, outage: bool) -> None:
    health = sick(rests)
    assert not health.well(99.0, 100.5)  # this call went before
    assert health.well(101.0, 102.0) == outage
    assert not health.well(102.0, 103.0)


class Pool:
    """Several servers behind one transport; `sick` ones fail at once."""

    def __init__(self, sick: dict[str, HttpReply | Exception]) -> None:
        self.sick = sick
        self.log: list[tuple[float, str]] = []

    async def send(self, request: HttpRequest) -> HttpReply:
        if request.method == "GET":
            return HttpReply(404, b"", lambda name: None)
        host = request.url[7]
        self.log.append((virtual.now(), host))
        if (fault := self.sick.get(host)) is not None:
            await asyncio.sleep(0.001)
            if isinstance(fault, Exception):
                raise fault
            return fault
        await asyncio.sleep(1.0)
        return answer()

    async def close(self) -> None:
        pass


def share_of_the_sick(sick: dict[str, HttpReply | Exception]) -> tuple[float, float]:
    """(share of the calls that went to `a`, virtual seconds for 800 calls, 16 in flight)."""
    transport = Pool(sick)

    async def main() -> float:
        async with Client("m", url=["http://a", "http://b"], transport=transport, concurrency=16) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(800)))
        return virtual.now()

    took = virtual.run(main())
    return sum(host == "a" for _, host in transport.log) / len(transport.log), took


def test_a_dead_endpoint_takes_no_calls_from_the_living() -> None:
    for fault in (errors.NeverSent("refused"), HttpReply(502, b"", lambda name: None)):
        share, took = share_of_the_sick({"a": fault})
        assert share < 0.07  # the first wave is most of it
        assert took < 50 * 1.1 + 2


def test_two_that_are_well_share() -> None:
    share, took = share_of_the_sick({})
    assert 0.45 < share < 0.55
    assert took == pytest.approx(50 + CANARY_SECONDS)


def test_one_that_rested_is_tried_with_a_single_call() -> None:
    said: list[str] = []
    health = Health(lambda now, why: said.append(why))
    for _ in range(3):
        health.failed(0.0)
    assert health.rests(0.5)
    assert not health.rests(1.0)
    health.sent(1.0)
    assert health.rests(1.1)  # the call that tries it is on its way
    health.failed(1.2)
    assert health.rests(3.1)
    health.sent(3.2)
    health.well(3.3, 3.3)
    assert not health.rests(3.3)
    assert said == [
        "to be left alone for 1 s: 3 calls in a row failed",
        "to be left alone for 2 s: 4 calls in a row failed",
        "it answers again",
    ]


def test_a_call_that_tries_it_and_never_comes_back_is_not_waited_for_for_ever() -> None:
    health = Health()
    for _ in range(3):
        health.failed(0.0)
    health.sent(1.0)
    assert health.rests(20.0)
    assert not health.rests(32.0)


def test_one_that_fails_every_other_call_rests_too() -> None:
    health = Health()
    for n in range(200):
        health.failed(0.0)
        if n % 2:
            health.well(0.0, 0.0)
    assert health.rests(0.5)


def test_one_failure_in_ten_is_no_illness() -> None:
    health = Health()
    for n in range(1000):
        if n % 10:
            health.well(0.0, 0.0)
        else:
            health.failed(0.0)
        assert not health.rests(0.0)
