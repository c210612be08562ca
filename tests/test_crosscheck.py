"""Our GSM8K and MMLU beside lm-evaluation-harness's own code, on the same recorded responses.

recorded.json holds what lm-eval 0.4.13 said, as hashes; `make crosscheck` writes it, and runs far more. Where lm-eval
is at hand (LM_EVAL_PYTHON, or the environment that `make crosscheck` makes), it is asked again.
"""

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from crosscheck import __main__ as check
from crosscheck import in_parts, ours, over_http, tasks, variants
from crosscheck.compared import ENOUGH, Comparison, note, noted
from crosscheck.task_cases import CASES
from crosscheck.variant_cases import VARIANT_CASES, Graded
from manycall.evals.tasks.registry import BENCHMARKS

SAID = json.loads(check.RECORDED.read_text())
LM_EVAL = os.environ.get("LM_EVAL_PYTHON") or str(Path(__file__).parents[1] / ".venv-lmeval" / "bin" / "python")


SAID_OF_TASKS = json.loads(tasks.RECORDED.read_text())


@pytest.fixture
def lm_eval() -> str:
    """The Python that has lm-eval."""
    if not Path(LM_EVAL).exists():
        pytest.skip("lm-eval is not here: make crosscheck")
    return LM_EVAL


@pytest.mark.parametrize("name", ours.NAMES)
def test_we_send_read_and_score_as_lm_eval_did(name: str, tmp_path: Path) -> None:
    mine = check.said_by_us([name], check.made_up(tmp_path), tmp_path)
    assert check.differences(mine, {name: SAID["made-up"][name]}, SAID["adds_up"]) == []


@pytest.mark.parametrize("name", [name for name in ours.GSM8K if "self_consistency" not in name])
def test_so_it_is_over_the_real_gsm8k(name: str, gsm8k: Path, tmp_path: Path) -> None:
    files = {"gsm8k": (gsm8k / "test.jsonl", gsm8k / "train.jsonl")}
    mine = check.said_by_us([name], files, tmp_path)
    assert check.differences(mine, {name: SAID["gsm8k"][name]}, SAID["adds_up"]) == []


def test_a_difference_is_seen(tmp_path: Path) -> None:
    mine = check.said_by_us(["gsm8k"], check.made_up(tmp_path), tmp_path)
    theirs = json.loads(json.dumps(SAID["made-up"]["gsm8k"]))
    theirs["prompts"] = "another"
    theirs["filters"]["strict-match"]["stderr"] = mine["gsm8k"]["filters"]["strict-match"]["stderr"]
    theirs["filters"]["strict-match"]["stderr"] *= 1 + 1e-15
    theirs["filters"]["flexible-extract"]["read"] = "another"
    assert len(check.differences(mine, {"gsm8k": theirs}, sum(check.TENTHS))) == 3


def test_lm_eval_still_says_what_was_recorded(lm_eval: str, tmp_path: Path) -> None:
    files = check.made_up(tmp_path)
    said = check.said_by_lm_eval(lm_eval, list(ours.NAMES), files, tmp_path)
    assert (said["version"], said["tasks"]) == (SAID["version"], SAID["made-up"])
    assert check.fuzz(lm_eval, 1000, files, tmp_path) > 9000


def test_the_request_bodies_and_the_scores_over_http_are_the_same(lm_eval: str, tmp_path: Path) -> None:
    names = ["gsm8k", "gsm8k_cot", "gsm8k_cot_zeroshot", "gsm8k_cot_llama", "gsm8k_platinum", "mmlu_generative"]
    assert over_http.compare(lm_eval, names, check.made_up(tmp_path), tmp_path, 6) == []


@pytest.mark.parametrize(("names", "count"), over_http.FEWSHOT_CASES)
def test_another_number_of_examples_gives_the_same_request_bodies_and_scores(
    names: tuple[str, ...], count: int, lm_eval: str, tmp_path: Path
) -> None:
    assert over_http.compare(lm_eval, list(names), check.made_up(tmp_path), tmp_path, 6, num_fewshot=count) == []


def test_the_score_of_lm_eval_for_failed_rows_is_next_to_ours(lm_eval: str, tmp_path: Path) -> None:
    assert over_http.compare(lm_eval, ["gsm8k"], check.made_up(tmp_path), tmp_path, 30, broken=7) == []


def test_both_commands_say_the_same_of_the_simulated_endpoint(lm_eval: str, tmp_path: Path) -> None:
    assert over_http.simulated(lm_eval, check.made_up(tmp_path), tmp_path) == []


def test_every_task_sends_reads_and_scores_as_lm_eval_did(tmp_path: Path) -> None:
    names = [*CASES]
    if find_spec("math_verify") is None:
        names = [name for name in names if BENCHMARKS[name].extra != "math"]
    assert SAID_OF_TASKS.keys() == CASES.keys()
    assert tasks.recorded_now(names, tmp_path) == {name: SAID_OF_TASKS[name] for name in names}


def test_a_difference_of_a_task_is_seen(tmp_path: Path) -> None:
    case = CASES["aime25"]
    job = tasks.make_case("aime25", case, 40, tmp_path)
    mine = tasks.ask_ours("aime25", job)
    rows = tasks.write_lines(tmp_path / "said", ({"none": ["", {"exact_match": 0.0}]} for _ in mine["grades"]))
    numbers = {"exact_match,none": 0.0, "exact_match_stderr,none": 0.0}
    said = {**mine, "prompts": "another", "rows": str(rows), "numbers": numbers}
    bad = "\n".join(tasks.differences("aime25", case, mine, said, job))
    assert all(text in bad for text in ("other prompts", "rows differ", "exact_match 0.", "exact_match_stderr"))


def test_lm_eval_still_agrees_on_the_other_tasks(lm_eval: str, tmp_path: Path) -> None:
    assert tasks.compare(lm_eval, ["aime24", "mgsm_direct_zh", "mgsm_native_cot_ja"], 200, tmp_path) == []


WITHOUT_AUTHORITY = {
    ("simpleqa", "answer-in-text"): "the grade of the judge is compared",
    ("cmath", "last-number"): "our own",
}
"""Filters of tasks with an authority that are not compared, with the reason."""


def test_every_filter_of_an_authority_was_compared() -> None:
    compared = {(each.task, each.filter) for each in noted()}
    filters = {
        (name, each)
        for name, benchmark in BENCHMARKS.items()
        if benchmark.authority != "manycall" and "judge" not in benchmark.authority
        for each in ours.filters_of(name)
    }
    assert filters - compared - WITHOUT_AUTHORITY.keys() == set()
    assert {each.task for each in noted() if each.responses < ENOUGH} == set()


def test_our_variants_send_and_score_as_when_they_were_compared(tmp_path: Path) -> None:
    has_math = find_spec("math_verify") is not None
    cases = [case for case in VARIANT_CASES if has_math or BENCHMARKS[case.task].extra != "math"]
    recorded = json.loads(variants.RECORDED.read_text())
    now = {f"{case.task}/{case.filter}": variants.recorded_now(case, tmp_path) for case in cases}
    assert now == {name: recorded[name] for name in now}


def test_only_a_named_difference_explains_another_score() -> None:
    case = next(each for each in VARIANT_CASES if each.task == "cmath")
    row = {"answer": "48"}
    same = Graded(row, "\\boxed{48元}", "48", 1.0, "", 1.0)
    assert variants.reason(case, same) == variants.EQUAL
    assert variants.reason(case, same._replace(their_score=0.0)) in case.deliberate
    assert variants.reason(case, same._replace(score=0.0)) == variants.UNEXPLAINED


def test_an_interrupted_comparison_continues_after_its_last_part(tmp_path: Path, monkeypatch: Any) -> None:
    compared = list[int]()

    def compare(python: str, names: list[str], count: int, folder: Path, seed: int) -> list[str]:
        if len(compared) == 2:
            raise KeyboardInterrupt
        compared.append(seed)
        return [f"difference in part {seed}"] if seed == 1 else []

    monkeypatch.setattr(in_parts, "compare", compare)
    with pytest.raises(KeyboardInterrupt):
        in_parts.compare_in_parts("", "minerva_math500", 1500, tmp_path)
    monkeypatch.setattr(in_parts, "compare", lambda *arguments: [])
    assert in_parts.compare_in_parts("", "minerva_math500", 1500, tmp_path) == (1500, ["difference in part 1"])


def test_what_was_compared_is_noted_once_for_each_filter_and_authority(tmp_path: Path) -> None:
    path = tmp_path / "compared.json"
    note([Comparison("b", "x", "lm-eval", 500), Comparison("a", "x", "lm-eval", 500)], path)
    note([Comparison("b", "x", "lm-eval", 20_000, {"units": 3})], path)
    assert noted(path) == [Comparison("a", "x", "lm-eval", 500), Comparison("b", "x", "lm-eval", 20_000, {"units": 3})]
