"""The trials of `make torture`, in short: real processes, real kills, real full disks."""

from pathlib import Path

import pytest

from torture import TRIALS, Plan


@pytest.mark.parametrize("name", TRIALS)
def test_nothing_is_lost_and_nothing_comes_twice(name: str, tmp_path: Path) -> None:
    result = TRIALS[name](Plan(tmp_path, seed=0, kills=6, long=False))
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.violations == []
    assert result.faults == result.survived > 0
