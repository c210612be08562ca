"""What the timeline says of an endpoint that several workers use."""

import math
from typing import Any

from fakes import FakeTransport, SoloClient
from manycall import clock
from manycall.client.leases import EndpointShare, apply_shares
from manycall.cluster.group_health import GroupHealth
from manycall.run.endpoint_health import EndpointHealth
from manycall.sim.virtual_time import run_virtual


def line(**changes: Any) -> dict[str, Any]:
    return {
        "time": 5.0, "health": True, "endpoint": "http://a/v1", "in_flight": 0, "window": 8, "calls_per_s": 0.0,
        "errors": 0, "ejected_for": 0.0, "is_ejected": False, "queue": None, "limited_by": "", **changes,
    }  # fmt: skip


def merged(*lines: dict[str, Any], ended: int | None = None) -> dict[str, Any]:
    """The line about workers 0, 1, ... that have said this. One of them has ended."""
    health = GroupHealth()
    for worker, each in enumerate(lines):
        health.record(worker, each)
    if ended is not None:
        health.deactivate(ended)
    (found,) = health.new_lines()
    assert list(health.new_lines()) == []
    return found


def test_calls_rates_errors_and_windows_of_all_workers_are_added() -> None:
    assert merged(
        line(in_flight=3, calls_per_s=1.5, errors=2, time=4.0, queue=7, limited_by="quota"),
        line(in_flight=2, calls_per_s=0.25, errors=1, window=4, queue=None, limited_by="window"),
    ) == line(in_flight=5, calls_per_s=1.75, errors=3, window=12, queue=7, limited_by="quota")


def test_an_endpoint_is_ejected_if_all_workers_with_a_share_have_ejected_it() -> None:
    ejected, without_share = line(is_ejected=True, ejected_for=9.0), line(is_ejected=True, has_share=False)
    assert merged(line(), without_share) == line()
    assert not merged(ejected, line())["is_ejected"]
    assert merged(ejected, without_share) == ejected
    assert not merged(without_share, without_share)["is_ejected"]


def test_of_a_worker_that_has_ended_only_the_errors_count() -> None:
    found = merged(line(in_flight=3, calls_per_s=1.5, errors=2), line(is_ejected=True, in_flight=1, errors=1), ended=0)
    assert found == line(is_ejected=True, in_flight=1, errors=3)


def test_a_worker_says_that_it_has_no_share_of_an_endpoint() -> None:
    async def main() -> list[bool]:
        async with SoloClient("m", base_url="http://a/v1", api_key="", transport=FakeTransport(str)) as client:
            health = EndpointHealth(client.pool.endpoints)
            found = []
            for share in (1.0, 0.0, 1.0):
                apply_shares(client, {"http://a/v1": EndpointShare(share)}, math.inf)
                (said,) = health.lines(clock.now())
                found.append(said.get("has_share", True))
            client.pool.endpoints[0].disable("no such key")
            (said,) = health.lines(clock.now())
            return [*found, said.get("has_share", True)]

    assert run_virtual(main()) == [True, False, True, True]


def test_each_endpoint_has_a_line() -> None:
    health = GroupHealth()
    for worker, endpoint in enumerate(("a", "b", "a")):
        health.record(worker, line(endpoint=endpoint, in_flight=1))
    assert [(each["endpoint"], each["in_flight"]) for each in health.new_lines()] == [("a", 2), ("b", 1)]
