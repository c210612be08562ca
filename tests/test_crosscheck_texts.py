"""IFEval, BIG-Bench Hard, SimpleQA and DROP next to their authorities' own code, on the same made-up responses.

The recorded digests are those of answers on which both agreed; `make crosscheck` compares many more.
"""

import json
import os
from pathlib import Path

import pytest

from crosscheck import graded, texts
from crosscheck.ifeval_responses import made_up_rows
from crosscheck.responses import write

LM_EVAL = os.environ.get("LM_EVAL_PYTHON") or str(Path(__file__).parents[1] / ".venv-lmeval" / "bin" / "python")
SAID = json.loads(texts.RECORDED.read_text())


@pytest.mark.parametrize("name", ["ifeval", *texts.BBH])
def test_our_readers_and_scorers_agree_with_what_lm_eval_said(name: str) -> None:
    if name == "ifeval":
        pytest.importorskip("punkt", reason="the ifeval extra is not installed: pip install -e '.[ifeval]'")
    assert texts.recorded_digest(name) == SAID[f"fuzz/{name}"]


@pytest.mark.parametrize("name", texts.BBH)
def test_what_we_send_and_report_of_bbh_is_what_lm_eval_did(name: str, tmp_path: Path) -> None:
    *_, ours = texts.whole_of(name, texts.bbh_folder(tmp_path / "data"), tmp_path)
    assert texts.digest(ours) == SAID[f"made-up/{name}"]


def test_what_we_send_and_report_of_ifeval_is_what_lm_eval_did(tmp_path: Path) -> None:
    pytest.importorskip("punkt", reason="the ifeval extra is not installed: pip install -e '.[ifeval]'")
    data = write(tmp_path / "ifeval.jsonl", made_up_rows(100, 21))
    *_, ours = texts.whole_of("ifeval", data, tmp_path)
    assert texts.digest(ours) == SAID["made-up/ifeval"]


def test_our_scores_of_drop_and_grades_of_simpleqa_agree_with_simple_evals() -> None:
    assert graded.recorded() == json.loads(graded.RECORDED.read_text())


@pytest.mark.parametrize("name", ["ifeval", *texts.BBH])
def test_lm_eval_still_agrees(name: str, tmp_path: Path) -> None:
    if not Path(LM_EVAL).exists():
        pytest.skip("lm-eval is not here: make crosscheck")
    pytest.importorskip("punkt", reason="the ifeval extra is not installed: pip install -e '.[ifeval]'")
    assert texts.compare_fuzz(LM_EVAL, name, 300, tmp_path / name)[0] == []
