"""The decisions of the search for the knee, one interval at a time."""

from typing import Any

import pytest

from manycall.control.knee_search import (
    GROW_ELASTICITY,
    MAX_PROBE_INTERVAL,
    SHRINK_ELASTICITY,
    Observation,
    Phase,
    after_interval,
    after_no_queue,
    after_queue,
    has_long_queue,
    is_conclusive,
)
from manycall.limits import ServerLoad


def seen(phase: Phase, **known: Any) -> Observation:
    """Return an observation of a window of 100 that was 50 before."""
    return Observation(100, 1000, phase, previous_size=50)._replace(**known)


def test_slow_start_doubles_until_throughput_stops_growing() -> None:
    first = after_interval(Observation(8, 1000, Phase.SLOW_START))
    assert first is not None
    assert (first.size, first.reason, first.phase) == (16, "", Phase.SLOW_START)
    growing = after_interval(seen(Phase.SLOW_START, elasticity=0.9))
    assert growing is not None
    assert (growing.size, growing.reason, growing.phase) == (200, "throughput grew 1.87×", Phase.SLOW_START)
    flat = after_interval(seen(Phase.SLOW_START, elasticity=GROW_ELASTICITY / 2))
    assert flat is not None
    assert (flat.size, flat.phase) == (100, Phase.STEADY)


def test_slow_start_returns_to_the_calls_that_do_not_queue_but_not_below_the_window_before() -> None:
    for queue, size in ((0.4, 100 * 0.6 * 1.06 + 1), (0.9, 50)):
        resize = after_interval(seen(Phase.SLOW_START, elasticity=0.6, queue=queue))
        assert resize is not None
        assert resize.size == pytest.approx(size)
        assert resize.phase is Phase.STEADY


def test_slow_start_ends_at_the_largest_size() -> None:
    resize = after_interval(seen(Phase.SLOW_START, elasticity=0.9, max_size=100))
    assert resize is not None
    assert (resize.size, resize.phase) == (100, Phase.STEADY)


def test_a_steady_window_with_an_unknown_queue_probes_down_and_up_in_turn() -> None:
    assert after_interval(seen(Phase.STEADY, intervals_waited=1)) is None
    down = after_interval(seen(Phase.STEADY, intervals_waited=2, last_direction=1))
    up = after_interval(seen(Phase.STEADY, intervals_waited=2, last_direction=-1))
    assert down is not None
    assert up is not None
    assert (down.size < 100, down.phase) == (True, Phase.STEPPED_DOWN)
    assert (up.size > 100, up.phase) == (True, Phase.STEPPED_UP)


def test_a_steady_window_probes_sooner_the_less_its_queue_is_in_order() -> None:
    for queue, waited, phase in (
        (0.5, 4, Phase.STEPPED_DOWN),
        (0.0, 8, Phase.STEPPED_UP),
        (0.1, 32, Phase.STEPPED_UP),
    ):
        early = after_interval(seen(Phase.STEADY, queue=queue, probe_interval=8, intervals_waited=waited - 1))
        due = after_interval(seen(Phase.STEADY, queue=queue, probe_interval=8, intervals_waited=waited))
        assert early is None
        assert due is not None
        assert due.phase is phase


def test_a_larger_window_is_kept_and_enlarged_again_only_if_throughput_grew() -> None:
    better = after_interval(seen(Phase.STEPPED_UP, elasticity=0.5, probe_interval=4))
    same = after_interval(seen(Phase.STEPPED_UP, elasticity=GROW_ELASTICITY, probe_interval=4))
    assert better is not None
    assert same is not None
    assert (better.size, better.phase, better.probe_interval) == (140, Phase.STEPPED_UP, 1)
    assert (same.size, same.phase, same.probe_interval) == (50, Phase.STEADY, 8)


def test_a_smaller_window_is_kept_if_throughput_is_the_same() -> None:
    same = after_interval(seen(Phase.STEPPED_DOWN, previous_size=140, elasticity=SHRINK_ELASTICITY / 2))
    worse = after_interval(seen(Phase.STEPPED_DOWN, previous_size=140, elasticity=0.5, probe_interval=4))
    assert same is not None
    assert worse is not None
    assert (same.size, same.probe_interval) == (100, 1)
    assert (worse.size, worse.probe_interval) == (140, 8)


def test_probes_without_effect_become_rarer_up_to_a_limit() -> None:
    resize = after_interval(seen(Phase.STEPPED_DOWN, elasticity=0.5, probe_interval=MAX_PROBE_INTERVAL))
    assert resize is not None
    assert resize.probe_interval == MAX_PROBE_INTERVAL


def test_an_interval_is_conclusive_if_the_elasticity_is_precise_or_clearly_large() -> None:
    assert is_conclusive(seen(Phase.STEPPED_UP))
    assert is_conclusive(seen(Phase.STEPPED_UP, elasticity=0.5, elasticity_stderr=0.09))
    assert not is_conclusive(seen(Phase.STEPPED_UP, elasticity=0.9, elasticity_stderr=0.2))
    assert is_conclusive(seen(Phase.SLOW_START, elasticity=0.9, elasticity_stderr=0.2))
    assert not is_conclusive(seen(Phase.SLOW_START, elasticity=0.4, elasticity_stderr=0.2))


def test_without_a_queue_the_window_grows_unless_growing_did_not_help() -> None:
    flat = seen(Phase.METRICS_DRIVEN, elasticity=0.0, elasticity_stderr=0.01)
    assert after_no_queue(flat, 150, is_measured=False).size == 150
    assert after_no_queue(seen(Phase.METRICS_DRIVEN, elasticity=0.8), 150, is_measured=True).size == 150
    shrunk = after_no_queue(flat, 150, is_measured=True)
    assert (shrunk.size, shrunk.phase, shrunk.probe_interval) == (50, Phase.METRICS_DRIVEN, 2)


def test_a_queue_at_the_server_reduces_the_window_to_its_share_of_the_calls_that_are_processed() -> None:
    assert not has_long_queue(ServerLoad(100, 8))
    assert has_long_queue(ServerLoad(100, 9))
    resize = after_queue(ServerLoad(100, 100), 80)
    assert resize.size == pytest.approx(1.04 * 40 + 2)
    assert resize.reason == "100 calls queue at the server"
