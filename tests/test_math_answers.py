"""Mathematical answers: boxes and LaTeX as lm-eval reads them, and comparisons in processes that can be killed."""

from pathlib import Path

import pytest

from manycall.errors import UsageError
from manycall.evals.scoring.latex_answers import dollar_or_box, equal_latex, hendrycks_box, normalize_latex
from manycall.evals.scoring.math_equality import (
    MATH_PREFIX,
    TIMED_OUT,
    equal_by_sympy,
    equal_expressions,
    verify_response,
)
from manycall.evals.scoring.minerva_answers import INVALID_ANSWER, equal_minerva, final_answer, normalize_answer
from manycall.evals.scoring.scorer_process import ScorerNotLoaded, ScorerProcesses, ScorerTooSlow
from manycall.evals.scoring.text_answers import UNPARSED, after_thinking
from manycall.evals.tasks.aime import boxed_integer
from manycall.evals.tasks.cmath import boxed_value
from manycall.evals.tasks.extras import require_extra


@pytest.mark.parametrize(
    ("right", "responses"),
    [
        (True, [r"\boxed{33}", r"\boxed{ 33 }", r"\boxed{N = 33}", r"\boxed{33^\circ}", "n=33", "$33$", r"\boxed 33$"]),
        (True, [r"<think>\boxed{3}</think> \boxed{33}", "33"]),
        (
            False,
            [r"\boxed{033}", r"\boxed{33.0}", r"\boxed{\text{33}}", r"\fbox{33}", r"\boxed{33", r"\boxed{33}\boxed"],
        ),
        (False, ["33.", "The answer is 33", "x is $3$ so $n=33$", "abc=33", r"\boxed {33}"]),
    ],
)
def test_answers_to_aime_are_read_and_compared_as_lm_eval_does(right: bool, responses: list[str]) -> None:
    assert {response: equal_latex(dollar_or_box(response), "33") for response in responses} == dict.fromkeys(
        responses, float(right)
    )


def test_latex_is_normalised_and_what_cannot_be_is_compared_as_it_is() -> None:
    assert normalize_latex(r"x = \dfrac12") == normalize_latex("0.5") == normalize_latex("1/2") == r"\frac{1}{2}"
    assert normalize_latex(r"\sqrt3 + .5\text{ cm}") == r"\sqrt{3}+0.5"
    assert normalize_latex(r"\frac1") == r"\frac1"
    for text in (r"a\text{ b}\text{ c}", r"\sqrt", r"\frac", "a/b"):
        with pytest.raises(ValueError, match=r"two units|no argument|invalid literal"):
            normalize_latex(text)
        assert (equal_latex(text, text), equal_latex(text, f"{text} ")) == (1, 0)
    assert hendrycks_box(r"\boxed{a{b}c} d") == "a{b}c"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"so \boxed{033}", "33"),
        (r"\boxed{33.0}", "33"),
        (r"\boxed{\text{33}}", "33"),
        (r"<think>\boxed{3}</think>\boxed{33}", "33"),
        (r"<think>it may be \boxed{33}, but", UNPARSED),
        (r"\boxed{33.5}", UNPARSED),
        ("The answer is 33.", UNPARSED),
    ],
)
def test_our_variant_of_aime_reads_the_number_in_the_last_box(response: str, answer: str) -> None:
    assert boxed_integer(response) == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (r"\boxed{48元}", "48"),
        (r"\boxed{x = 4.5}", "4.5"),
        (r"\boxed{1,200.0 \text{ 元}}", "1,200.0"),
        (r"\boxed{3/4}", "3/4"),
        (r"\boxed{2小时30分}", "2小时30分"),
        ("48元", UNPARSED),
    ],
)
def test_cmath_reads_the_only_number_in_the_last_box_or_the_box(response: str, answer: str) -> None:
    assert boxed_value(response) == answer


def test_a_missing_final_answer_is_wrong_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manycall.evals.scoring.minerva_answers.equal_by_sympy", None)
    assert equal_minerva(final_answer("I cannot say."), "5") == 0.0


def test_text_after_the_thinking_is_kept() -> None:
    assert after_thinking("<think>a</think>b</think>\n c") == "c"
    assert (after_thinking("no thinking"), after_thinking("<think>unfinished")) == ("no thinking", "")


def test_final_answers_are_read_and_normalised_as_in_minerva_math() -> None:
    assert final_answer("Final Answer: The final answer is $x = 5$. I hope it is correct.") == "5"
    assert final_answer("Final Answer: The final answer is 5") == INVALID_ANSWER  # its last character is lost
    assert normalize_answer(r"5\text{ cm}") == "5"
    assert normalize_answer(r"\left(2, 3\right)") == r"\left(2,3\right)"
    assert (normalize_answer("1,000,000"), normalize_answer("0,1"), normalize_answer(r"\sqrt[3]8")) == (
        "1000000", "0,1", r"\sqrt[3]{8}",
    )  # fmt: skip


def test_comparisons_run_in_a_process_that_is_killed_when_it_takes_too_long() -> None:
    pytest.importorskip("math_verify")
    assert verify_response(r"so it is \boxed{\frac12}", "$0.5$") == (r"\frac{1}{2}", 1.0)
    assert verify_response("I cannot say.", "$0.5$") == (UNPARSED, 0.0)
    assert (equal_expressions(r"2\le x<5", "[2,5)"), equal_expressions("[2,5)", r"2\le x<5")) == (0, 1)
    assert equal_expressions(r"\frac{1}{2}(1,2)", r"\frac12") == 0, "only a part of it is right"
    assert (equal_by_sympy(r"\frac{2}{4}", "0.5"), equal_by_sympy("(", "0.5")) == (1, 0)
    processes = ScorerProcesses(MATH_PREFIX, 0.3)
    with pytest.raises(ScorerTooSlow):
        processes.grade("9^{9^{9^{9}}}", {"way": "equal_expressions", "answer": "3"})
    assert TIMED_OUT != UNPARSED
    processes.close()


def test_an_answer_is_not_wrong_when_the_comparison_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("math_verify")
    (tmp_path / "math_verify.py").write_text("raise ImportError('another version is needed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = ScorerProcesses(MATH_PREFIX, 10)
    monkeypatch.setattr("manycall.evals.scoring.math_equality._processes", lambda: broken)
    with pytest.raises(ScorerNotLoaded, match="could not be loaded: ImportError: another version is needed"):
        equal_expressions("1", "1")


def test_another_version_of_antlr_is_refused_before_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("math_verify")
    require_extra("math", "math500")
    monkeypatch.setattr("manycall.evals.tasks.extras.version", lambda package: "4.13.2")
    with pytest.raises(UsageError, match=r"math500 needs antlr4-python3-runtime 4\.11, and 4\.13\.2 is installed"):
        require_extra("math", "math500")
