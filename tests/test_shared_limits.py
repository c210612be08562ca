"""What the driver of several workers divides among them, from their reports."""

from manycall.client.leases import EndpointReport
from manycall.cluster.shared_limits import SharedLimits
from manycall.cluster.worker_messages import Report
from manycall.control.amounts import AmountUse


def seen(
    *, refused: int = 0, in_flight: int = 1, bound: bool = False, ejected: bool = False, disabled: str | None = None
) -> EndpointReport:
    return EndpointReport(0, 10, refused, refused, in_flight, None, bound, ejected, disabled)


def report(serial: int, refused: int = 0, used: float = 0.0, answers: int = 0) -> Report:
    return Report(serial, answers, endpoints={"a": seen(refused=refused)}, used=[AmountUse(used, 0.0, 1.0)])


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


def limits_without_the_third(last_of_the_third: EndpointReport, **others: EndpointReport) -> SharedLimits:
    """Three workers have used endpoint a and these others; then the third has ended."""
    limits = SharedLimits(None, [])
    for worker in (1, 2, 3):
        limits.record(worker, Report(1, endpoints={"a": last_of_the_third if worker == 3 else seen(), **others}))
    limits.update(0.0, (1, 2, 3))
    limits.remove(3, [])
    return limits


def record(limits: SharedLimits, now: float, *reports: EndpointReport, **others: EndpointReport) -> None:
    """Let workers 1 and 2 report this of endpoint a, and the same of the others."""
    for worker, each in enumerate(reports, 1):
        limits.record(worker, Report(2, endpoints={"a": each, **others}))
    limits.update(now, (1, 2))


def test_an_endpoint_that_all_workers_have_ejected_is_unusable_although_one_that_has_ended_had_not() -> None:
    limits = limits_without_the_third(seen(), b=seen())
    record(limits, 1.0, seen(ejected=True), seen(ejected=True), b=seen())
    assert [limits.shares(worker, 1)["b"].share for worker in (1, 2)] == [0.5, 0.5]


def test_a_worker_that_has_ended_does_not_keep_the_others_from_sharing_an_endpoint_again() -> None:
    limits = limits_without_the_third(seen(in_flight=5))
    active = []
    for second in range(1, 13):
        record(limits, second, seen(refused=1, bound=True), seen(in_flight=0))
        active.append(limits.active)
    assert (active[0], active[-1]) == ({1}, {1, 2})


def test_refusals_count_although_a_worker_with_more_of_them_has_ended() -> None:
    limits = limits_without_the_third(seen(refused=50))
    record(limits, 1.0, seen(bound=True), seen(bound=True))
    record(limits, 12.0, seen(bound=True), seen(bound=True))
    assert limits.active == {1, 2}
    record(limits, 13.0, seen(refused=1), seen())
    assert limits.active == {1}


def test_an_endpoint_stays_disabled_after_the_worker_that_has_found_it_out_has_ended() -> None:
    limits = limits_without_the_third(seen(disabled="key refused"))
    record(limits, 1.0, seen(), seen())
    assert limits.shares(1, 1)["a"].disabled_reason == "key refused"


def test_no_more_workers_share_an_endpoint_that_has_refused_calls_after_a_time_without_workers() -> None:
    limits = limits_without_the_third(seen())
    record(limits, 1.0, seen(refused=1), seen())
    for worker in (1, 2):
        limits.remove(worker, [])
    limits.update(20.0, ())
    record(limits, 21.0, seen(in_flight=0), seen(in_flight=0))
    assert limits.active == {1}
