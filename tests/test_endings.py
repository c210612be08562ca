"""Every ending with every way to call, once; `make torture` draws many more."""

from pathlib import Path

import pytest

from endings import ENDINGS, SHAPES, Case, check, possible


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_ends_loses_nothing_and_can_be_resumed(shape: str, ending: str, tmp_path: Path) -> None:
    if not possible(shape, ending):
        pytest.skip("nothing would end it")
    assert check(Case(shape, ending, seed=0), tmp_path) == []
