"""What the driver of several workers divides among them, from their reports."""

from manycall.client.leases import EndpointReport
from manycall.cluster.shared_limits import SharedLimits
from manycall.cluster.worker_messages import Report
from manycall.control.amounts import AmountUse


def report(serial: int, refused: int = 0, used: float = 0.0, answers: int = 0) -> Report:
    endpoint = EndpointReport(0, 10, refused, refused, 1, None, False, False, None)
    return Report(serial, answers, endpoints={"a": endpoint}, used=[AmountUse(used, 0.0, 1.0)])


def limits_of(*workers: int, concurrency: int | None = None) -> SharedLimits:
    limits = SharedLimits(concurrency, [100.0])
    for worker in workers:
        limits.record(worker, report(1))
    limits.update(0.0, workers)
    return limits


def shares(limits: SharedLimits, *workers: int, serial: int = 1) -> list[float]:
    return [round(limits.shares(worker, serial)["a"].share, 3) for worker in workers]


def test_a_worker_that_gets_no_more_rows_keeps_a_share_until_it_has_finished_its_rows() -> None:
    limits = limits_of(0, 1)
    assert (limits.active, shares(limits, 0, 1)) == ({0, 1}, [0.5, 0.5])
    limits.record(1, report(2, refused=3, answers=1))
    limits.update(1.0, (0, 1), busy=[0, 1])
    assert (limits.active, shares(limits, 0, 1, serial=2)) == ({0}, [0.5, 0.5])
    limits.update(2.0, (0, 1), busy=[0])
    assert shares(limits, 1, 0, serial=3) == [0.0, 0.5]  # until worker 1 has confirmed it
    limits.record(1, report(3, refused=3, answers=3))
    assert shares(limits, 0, serial=4) == [1.0]


def test_without_workers_nothing_is_divided() -> None:
    limits = limits_of(0, concurrency=2)
    limits.remove(0, [0.0])
    limits.update(1.0, ())
    assert (limits.active, limits.changed()) == (set(), set())


def test_no_more_workers_get_rows_than_calls_may_be_in_flight() -> None:
    limits = limits_of(0, 1, 2, concurrency=2)
    assert limits.active == {0, 1}
    assert [limits.concurrency(worker, 1) for worker in (0, 1, 2)] == [1, 1, 0]


def test_the_allowance_of_a_silent_worker_counts_as_used_until_it_is_known_to_have_ended() -> None:
    limits = limits_of(0, 1)
    assert limits.allowances(1, 1) == [25.0]
    limits.remove(1, None)
    assert limits.allowances(0, 1) == [37.5]  # half of 75
    limits.remove(1, [5.0])
    assert limits.allowances(0, 2) == [47.5]
