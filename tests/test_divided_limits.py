"""How limits, budgets and rows are divided among workers: the rules that need no messages."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.control.amounts import AmountUse, DividedAmount
from manycall.control.share_holders import GROWTH_SECONDS, EndpointDemand, HolderLimit, active_workers, assign_holders
from manycall.control.shares import DividedLimit, share_out
from manycall.control.work_units import MAX_UNIT_ROWS, RowsReport, WorkUnits, unit_rows
from manycall.control.worker_leases import DRIVER_PAUSE_SECONDS, LEASE_SECONDS, HeldLease, WorkerLeases

# leases


@given(
    worker_drift=st.sampled_from([-0.01, 0.01]),
    driver_drift=st.sampled_from([-0.01, 0.01]),
    delay=st.floats(0, 8),
    return_delay=st.floats(0, 8),
)
def test_a_worker_stops_before_the_driver_gives_its_share_away_although_clocks_differ(
    worker_drift: float, driver_drift: float, delay: float, return_delay: float
) -> None:
    held, leases = HeldLease(), WorkerLeases()
    held.record_report(1, 0.0)
    leases.renew(7, delay * (1 + driver_drift))
    held.record_grant(1)  # after `return_delay`, which makes no difference
    stops = held.until / (1 + worker_drift)
    moments = [delay + n / 100 for n in range(1200)]
    ends = next(at for at in moments if leases.expire(at * (1 + driver_drift)))
    assert stops < ends <= delay + 1.1 * LEASE_SECONDS


def test_a_worker_without_a_grant_makes_no_call() -> None:
    assert HeldLease().until == -math.inf


def test_an_old_grant_does_not_shorten_a_lease() -> None:
    held = HeldLease()
    held.record_report(1, 0.0)
    held.record_report(2, 5.0)
    held.record_grant(2)
    held.record_grant(1)
    assert held.until == 5.0 + LEASE_SECONDS


def test_a_driver_that_was_delayed_first_reads_the_reports_that_have_arrived() -> None:
    leases = WorkerLeases()
    leases.renew(1, 0.0)
    assert leases.expire(1.0) == []
    assert leases.expire(60.0) == []  # it was frozen for a minute
    assert leases.expire(60.0 + DRIVER_PAUSE_SECONDS) == [1]
    assert not leases.renew(1, 63.0)


# shares


@given(
    total=st.integers(1, 1000),
    demands=st.dictionaries(st.integers(0, 20), st.integers(0, 1500), max_size=8),
    minimum=st.integers(1, 50),
)
def test_all_of_a_limit_is_given_to_those_who_want_it_and_no_part_is_too_small(
    total: int, demands: dict[int, int], minimum: int
) -> None:
    parts = share_out(total, demands, minimum)
    wanting = [worker for worker, wanted in demands.items() if wanted]
    assert sum(parts.values()) == (total if wanting and total >= minimum else 0)
    assert all(part == 0 or (part >= minimum and demands[worker]) for worker, part in parts.items())
    served = [worker for worker in wanting if parts[worker]]
    assert len(served) == min(len(wanting), total // minimum)
    for worker in served:  # whoever has less than another one has at least what it wants
        assert parts[worker] >= demands[worker] or parts[worker] >= max(parts.values()) - len(served) - minimum


def test_a_limit_of_concurrent_calls_is_divided_without_a_rest() -> None:
    assert share_out(40, {0: 40, 1: 40, 2: 40}) == {0: 13, 1: 13, 2: 14}
    assert share_out(2, dict.fromkeys(range(4), 2)) == {0: 1, 1: 1, 2: 0, 3: 0}
    assert share_out(100, {0: 10, 1: 100}) == {0: 10, 1: 90}


def test_a_share_grows_only_after_another_one_has_shrunk() -> None:
    limit = DividedLimit(100)
    limit.set_demands({0: 100})
    assert limit.grant(0, 1) == 100
    limit.acknowledge(0, 1)
    limit.set_demands({0: 100, 1: 100})
    assert limit.changed() == [0]
    assert (limit.grant(0, 2), limit.grant(1, 1)) == (50, 0)
    assert limit.changed() == []
    limit.acknowledge(0, 2)
    assert limit.changed() == [1]
    assert limit.grant(1, 2) == 50
    limit.remove(0)
    limit.set_demands({1: 100})
    assert limit.grant(1, 3) == 100


# holders


def test_a_known_limit_has_as_many_holders_as_their_bursts_allow() -> None:
    def holders(rpm: float) -> int:
        return HolderLimit().update(0, 30, rate=rpm / 60, was_refused=False, is_client_bound=True)

    assert [holders(rpm) for rpm in (60, 600, 6000, 60_000, 600_000)] == [1, 1, 2, 20, 30]


def test_an_unknown_limit_has_one_holder_after_a_refusal_and_more_only_while_the_cpu_is_the_bottleneck() -> None:
    limit = HolderLimit()

    def update(now: float, *, refused: bool = False, bound: bool = False) -> int:
        return limit.update(now, 8, rate=None, was_refused=refused, is_client_bound=bound)

    assert update(0, bound=True) == 8
    assert update(1, refused=True, bound=True) == 1
    assert update(100) == 1
    assert update(101, bound=True) == 2
    assert update(101 + GROWTH_SECONDS / 2, bound=True) == 2
    assert update(102 + GROWTH_SECONDS, bound=True) == 3
    assert update(103 + GROWTH_SECONDS, refused=True) == 1


def test_each_replica_belongs_to_one_worker_and_keeps_it_when_another_worker_is_replaced() -> None:
    replicas = {f"gpu{n}": EndpointDemand(3) for n in range(5)}
    before = assign_holders([replicas], [0, 1, 2])
    assert before == {"gpu0": (0,), "gpu1": (1,), "gpu2": (2,), "gpu3": (0,), "gpu4": (1,)}
    after = assign_holders([replicas], [0, 7, 2])
    assert {name for name in before if before[name] != after[name]} == {"gpu1", "gpu4"}


def test_workers_share_an_endpoint_if_there_are_too_few_and_it_permits_several() -> None:
    pool = {"a": EndpointDemand(8), "b": EndpointDemand(2)}
    assert assign_holders([pool], [0, 1, 2, 3]) == {"a": (0, 2), "b": (1, 3)}
    assert assign_holders([{"a": EndpointDemand(2)}], [0, 1, 2, 3]) == {"a": (0, 1)}


def test_a_worker_holds_a_share_in_each_pool_or_in_none() -> None:
    writer = {"writer": EndpointDemand(8)}
    judges = {"judge1": EndpointDemand(1), "judge2": EndpointDemand(1)}
    assert assign_holders([writer, judges], [0, 1, 2]) == {"writer": (0, 1), "judge1": (0,), "judge2": (1,)}


def test_a_worker_whose_replica_does_not_answer_shares_another_one_and_keeps_its_own() -> None:
    pool = {"a": EndpointDemand(2), "b": EndpointDemand(2, is_usable=False)}
    assert assign_holders([pool], [0, 1]) == {"a": (0, 1), "b": (1,)}


def test_a_key_with_one_holder_goes_to_the_worker_that_has_none_left() -> None:
    pool = {"a": EndpointDemand(1), "b": EndpointDemand(1, is_usable=False), "c": EndpointDemand(1)}
    assert assign_holders([pool], [0, 1]) == {"a": (1,), "b": (1,), "c": (0,)}


def test_a_worker_that_gets_no_more_rows_keeps_a_share_until_those_that_have_begun_have_ended() -> None:
    pool = {"a": EndpointDemand(1)}
    assert assign_holders([pool], [0, 1, 2], begun=[0, 2]) == {"a": (0, 2)}
    assert active_workers([pool], [0, 1, 2]) == [0]


DEMANDS = st.builds(EndpointDemand, st.integers(1, 4), st.booleans())


@given(
    st.lists(st.dictionaries(st.sampled_from("abcdef"), DEMANDS, min_size=1), min_size=1, max_size=3), st.integers(1, 6)
)
def test_each_worker_with_rows_can_call_every_pool_and_no_endpoint_has_too_many_holders(
    pools: list[dict[str, EndpointDemand]], workers: int
) -> None:
    named = [{f"{number}{name}": each for name, each in pool.items()} for number, pool in enumerate(pools)]
    holders = assign_holders(named, range(workers))
    active = {*active_workers(named, range(workers))}
    for pool in named:
        usable = {name for name, each in pool.items() if each.is_usable} or set(pool)
        assert {worker for name in usable for worker in holders[name]} == active
        for name in usable:
            assert 1 <= len(holders[name]) <= pool[name].max_holders
            assert len({*holders[name]}) == len(holders[name])


# amounts


def test_near_the_end_a_budget_is_with_one_worker() -> None:
    amount = DividedAmount(100.0)
    for worker in range(4):
        amount.record_use(worker, AmountUse(used=23.0, per_call=10.0, is_waiting=worker == 2))
    allowed = [amount.grant(worker, 1) for worker in range(4)]
    assert allowed == [23.0, 23.0, 31.0, 23.0]
    assert amount.changed() == []
    amount.record_use(2, AmountUse(used=31.0, per_call=10.0, is_waiting=True))
    assert amount.used == 100.0


def test_a_worker_that_waits_for_its_budget_gets_more_at_once() -> None:
    amount = DividedAmount(1000.0)
    amount.record_use(0, AmountUse(per_call=1.0))
    first = amount.grant(0, 1)
    assert first == 500.0
    amount.record_use(0, AmountUse(used=first, per_call=1.0, is_waiting=True))
    assert amount.changed() == [0]
    assert amount.grant(0, 2) == 750.0


def test_a_silent_worker_is_taken_to_have_used_its_allowance() -> None:
    amount = DividedAmount(100.0)
    amount.record_use(0, AmountUse(used=10.0, per_call=1.0))
    allowed = amount.grant(0, 1)
    amount.remove(0)
    assert amount.used == allowed > 10.0
    amount.remove(0, 12.0)  # its process has ended, and its journal shows what it has used
    assert amount.used == 12.0


# rows


@pytest.mark.parametrize(
    ("rate", "rows_left", "workers", "rows"),
    [
        (0, math.inf, 4, 64),
        (100, math.inf, 4, 2000),
        (8000, math.inf, 4, MAX_UNIT_ROWS),
        (100, 16_000, 4, 1000),
        (100, 100, 4, 16),
        (0.1, 10, 1, 16),
    ],
)
def test_a_unit_lasts_twenty_seconds_and_less_near_the_end(
    rate: float, rows_left: float, workers: int, rows: int
) -> None:
    assert unit_rows(rate, rows_left, workers) == rows


def test_rows_are_given_out_in_order_and_those_of_a_lost_worker_first() -> None:
    units = WorkUnits()
    units.offer(map(str, range(100)))
    first = units.assign(0, rate=0.0, unread=math.inf, workers=2)
    assert [*first] == [str(n) for n in range(64)]
    units.record_done(["0", "1"])
    assert units.remove(0) == 62
    assert units.assign(1, rate=0.0, unread=math.inf, workers=2)[0] == "2"


def test_a_worker_gets_no_rows_until_it_has_begun_half_of_its_unit() -> None:
    units = WorkUnits()
    units.offer(map(str, range(1000)))
    units.assign(0, rate=0.0, unread=math.inf, workers=1)
    units.record_report(0, RowsReport(last_unit=1, not_begun=33))
    assert not units.assign(0, rate=0.0, unread=math.inf, workers=1)
    units.record_report(0, RowsReport(last_unit=1, not_begun=32))
    assert len(units.assign(0, rate=0.0, unread=math.inf, workers=1)) == 32


def test_a_worker_without_rows_gets_half_of_those_that_another_one_has_not_begun() -> None:
    units = WorkUnits()
    units.offer(map(str, range(10)))
    units.assign(0, rate=0.0, unread=0.0, workers=1)
    assert units.steal_for(1) is None  # they are still on their way
    units.record_report(0, RowsReport(last_unit=1, not_begun=8))
    assert units.steal_for(1) == 0
    request = units.orders(0).give_back
    assert request is not None
    assert request.rows == 4
    assert units.steal_for(1) is None  # one request at a time
    answer = RowsReport(last_unit=1, not_begun=4, last_return=1, returned=("6", "7", "8", "9"))
    units.record_report(0, answer)
    assert [*units.assign(1, rate=0.0, unread=0.0, workers=2)] == ["6", "7", "8", "9"]
    units.record_report(0, answer)  # again: they are with the other one
    assert units.assigned(1) == ["6", "7", "8", "9"]


def test_a_row_that_two_workers_have_done_is_done_once() -> None:
    units = WorkUnits()
    units.offer(["a", "b"])
    units.assign(0, rate=0.0, unread=0.0, workers=1)
    units.remove(0)
    units.record_done(["a"])  # by the first worker, after its lease was over
    assert [*units.assign(1, rate=0.0, unread=0.0, workers=1)] == ["b"]
    units.record_done(["a", "b"])
    assert units.is_finished
