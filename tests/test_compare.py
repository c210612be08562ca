"""Two runs over the same rows."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import manycall
from manycall.comparison.compare_runs import compare
from manycall.errors import UsageError
from manycall.evals.stats.paired_tests import paired_difference, weighted_difference
from manycall.evals.tasks.task import Filter, Task
from manycall.judging import verdict_format
from manycall.judging.judge_result import read_judge_result
from shell import manycall as command
from shell import rows


def run(name: str, scores: Sequence[float | None], *, samples: bool = False, failed: int = 0, **identity: Any) -> Path:
    """The output of an eval, and what stands beside it."""
    folder = Path(f"{name}.jsonl.run")
    folder.mkdir()
    lines = [
        {
            "id": f"q{n // 2}#{n % 2}" if samples else f"q{n}",
            "question": f"Q{n // 2 if samples else n}?",
            "answer": "1",
            "response": f"{name} says {value}",
            "finish_reason": "length" if n == 0 else "stop",
            "extracted": {"numeric": "of another day"},
            "score": {"numeric": 1 - value},  # as a scorer had it that was mended since
        }
        for n, value in enumerate(scores)
        if value is not None
    ]
    Path(f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = {
        "job": "eval t.jsonl",
        "data": "abc",
        "samples": samples,
        "model": f"model-{name}",
        "params": {"max_tokens": 9},
    }
    manifest = {
        "manycall_version": "1",
        "settings": {**known, **identity},
        "source": {"count": len(scores)},
        "sessions": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "failures.jsonl").write_text('{"id":"x","kind":"call_error"}\n' * failed)
    return Path(f"{name}.jsonl")


def standing(name: str, scores: Mapping[str, Any], **identity: Any) -> Path:
    """An output with nothing but scores in its rows."""
    run(name, [], job="eval mine", **identity)
    lines = (json.dumps({"id": row, "score": {"mine": score}}) + "\n" for row, score in scores.items())
    Path(f"{name}.jsonl").write_text("".join(lines))
    return Path(f"{name}.jsonl")


def test_the_second_run_is_compared_with_the_first_on_the_rows_that_both_have() -> None:
    a = run("a", [0, 0, 1, 1, 1, None], failed=1)
    b = run("b", [1, 1, 0, 1, None, 1], params={"max_tokens": 2048})
    found = compare(a, b)
    (versus,) = found.differences
    assert (versus.metric, versus.difference.value, versus.difference.count) == ("numeric", 0.25, 4)
    assert (versus.difference.wins, versus.difference.losses, versus.difference.ties) == (2, 1, 1)
    assert (versus.only_first, versus.only_other) == (1, 1)
    assert [score.value for side in found.runs for score in side.scores] == [0.6, 0.8]
    assert found.setting_differences == ["model: model-a | model-b", "params.max_tokens: 9 | 2048"]
    said = str(found)
    assert "| 1   | a.jsonl | model-a | 0.6000  | 5           | 1         | 1      |" in said
    assert "| 2 - 1      | numeric | 0.5000 | 0.7500 | +0.2500 |" in said
    assert "4 questions compared. 1 have a score only in run 1, 1 only in run 2." in said
    assert "b.jsonl: Incomplete: 5 of 6 rows." in said


def test_a_question_without_an_answer_is_wrong_on_both_sides_or_excluded_on_both() -> None:
    a, b = run("a", [1, 1, None]), run("b", [1, None, 1])
    for name, question in (("a", 2), ("b", 1)):
        failed = {
            "id": f"q{question}",
            "kind": "reasoning_only",
            "row": {"question": f"Q{question}?", "answer": "1", "text": "input"},
        }
        Path(f"{name}.jsonl.run/failures.jsonl").write_text(json.dumps(failed) + "\n")
    found = compare(a, b, out="changed.jsonl")
    (versus,) = found.differences
    assert (versus.difference.count, versus.difference.wins, versus.difference.losses) == (3, 1, 1)
    assert [(side.rows, side.no_answer, side.failed) for side in found.runs] == [(3, 1, 0), (3, 1, 0)]
    assert "| rows scored | no answer |" in str(found)
    changed = {row["id"]: (row["scores"], row["responses"]) for row in rows(Path("changed.jsonl"))}
    assert changed == {"q1": ([1, 0], ["a says 1", ""]), "q2": ([0, 1], ["", "b says 1"])}
    excluded = compare(a, b, no_answer="exclude")
    assert (excluded.differences[0].difference.count, [side.failed for side in excluded.runs]) == (1, [1, 1])


def test_the_rows_that_changed_are_written_with_both_answers() -> None:
    found = compare(run("a", [0, 1, 1]), run("b", [1, 1, 0]), out="changed.jsonl")
    assert [(row["id"], row["scores"]) for row in rows(Path("changed.jsonl"))] == [("q0", [0, 1]), ("q2", [1, 0])]
    assert rows(Path("changed.jsonl"))[0] == {
        "id": "q0", "run": 2, "metric": "numeric", "scores": [0.0, 1.0], "question": "Q0?", "answer": "1",
        "extracted": ["0", "1"], "responses": ["a says 0", "b says 1"], "runs": ["a.jsonl", "b.jsonl"],
    }  # fmt: skip
    assert (found.changed_count, len(found.changed_examples)) == (2, 2)


def test_samples_of_a_question_are_meaned_before_they_are_paired() -> None:
    sampled = run("a", [0, 1, 1, 1, 0, 0], samples=True)
    (versus,) = compare(run("b", [1, 1, 0]), sampled).differences
    assert versus.difference.count == 3
    assert versus.difference.value == pytest.approx((-0.5 + 0 + 0) / 3)
    assert versus.difference.test == "Student's t of the differences"


def varied(name: str, samples: Sequence[int], right: str = "A") -> Path:
    """The output of a task in which each sample of a question has its choices in another order."""
    path = run(name, [], samples=True)
    lines = (
        {"id": f"q0#{n}", "question": "Q?", "answer": right if n == 0 else "ABCD"[n], "response": "A"} for n in samples
    )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_runs_whose_samples_differ_are_compared_in_any_order_and_with_another_number_of_samples() -> None:
    first = varied("a", (0, 1, 2))
    for name, samples in (("b", (2, 0, 1)), ("c", (1, 0)), ("d", (3, 1))):
        (versus,) = compare(first, varied(name, samples), scorer="choice").differences
        assert versus.difference.count == 1
    with pytest.raises(UsageError, match="has a different question or answer"):
        compare(first, varied("e", (1, 0), right="B"), scorer="choice")


def test_a_task_with_votes_is_compared_by_the_scores_that_it_reports() -> None:
    """Self-consistency: the score of the first sample, and of the majority answer."""
    for name, said in (("a", ("1", "2", "2")), ("b", ("2", "1", "1"))):
        path = run(name, [], samples=True)
        lines = ({"id": f"q{q}#{n}", "answer": "1", "response": said[n]} for q in range(2) for n in (2, 0, 1))
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = Task([], "", {"first": str.strip}, lambda answer, target: answer == target, votes={"maj@3": 3, "maj@9": 9})
    found = compare("a.jsonl", "b.jsonl", scorer=task)
    assert [(score.filter, score.value) for score in found.runs[0].scores] == [("first", 1), ("maj@3", 0)]
    scored = manycall.score("b.jsonl", scorer=task).scores
    assert [(score.filter, score.value) for score in found.runs[1].scores] == [(s.filter, s.value) for s in scored]
    (versus,) = compare("a.jsonl", "b.jsonl", scorer=task, metric="maj@3").differences
    assert (versus.metric, versus.difference.value) == ("maj@3", 1)


def test_a_message_says_that_questions_with_fewer_samples_count_as_much_as_the_others() -> None:
    found = compare(run("a", [0, 1, 1, None], samples=True), run("b", [1, 1]))
    assert found.runs[0].scores[0].value == 0.75
    assert "the scores of a single run count each sample once" in str(found)
    assert "single run" not in str(compare(run("c", [0, 1, 1, 1], samples=True), run("d", [1, 1])))


def test_a_score_with_weights_is_compared_by_its_weighted_means() -> None:
    task = Task(
        [], "", {"parts": Filter(lambda text, fields: (text, float(text.split()[-1])), weight=lambda row: row["n"])},
        lambda answer, target: 0.0,
    )  # fmt: skip
    paths = []
    for name, scores in (("a", [0, 1, 0.5, 0]), ("b", [1, 1, 0, 0])):
        paths.append(run(name, scores))
        lines = [{**row, "n": 1 + 2 * number} for number, row in enumerate(rows(paths[-1]))]
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = compare(*paths, scorer=task)
    (versus,) = found.differences
    assert [side.scores[0].value for side in found.runs] == [5.5 / 16, 4 / 16]
    assert [side.scores[0].stderr for side in found.runs] == [None, None]
    paired, change = versus.difference, -1.5 / 16
    assert (paired.first, paired.second, paired.value) == pytest.approx((5.5 / 16, 4 / 16, change))
    assert (paired.wins, paired.losses, paired.ties) == (1, 1, 2)
    residuals = [n * (d - change) / 4 for n, d in ((1, 1), (3, 0), (5, -0.5), (7, 0))]
    assert paired.stderr == pytest.approx((sum(r * r for r in residuals) / 3 / 4) ** 0.5)
    assert paired.test == "Student's t of the differences"
    equal = weighted_difference([(0, 1), (1, 0), (0.5, 0)], [2, 2, 2])
    assert equal.stderr == pytest.approx(paired_difference([(0, 1), (1, 0), (0.5, 0)], binary=False).stderr)


def test_scores_whose_weights_are_all_0_are_0() -> None:
    found = weighted_difference([(0, 1), (1, 1)], [0, 0])
    assert (found.first, found.second, found.value, found.wins) == (0, 0, 0, 1)


def test_the_order_in_which_samples_finished_is_no_difference() -> None:
    tenths = {f"q0#{n}": n / 10 for n in (1, 2, 3)}
    a = standing("a", tenths, samples=True)
    b = standing("b", dict(reversed(tenths.items())), samples=True)
    found = compare(a, b, metric="mine")
    assert (found.differences[0].difference.ties, found.changed_count) == (1, 0)


@pytest.mark.parametrize(("labels", "test"), [("right=1,wrong=0", "McNemar's, exact"), ("0=0,1=1,2=2", "Student's t")])
def test_the_scale_of_a_judge_says_which_test_it_is_not_the_verdicts_that_came(labels: str, test: str) -> None:
    judge: dict[str, Any] = {"job": "judge", "labels": list(verdict_format.parse_labels(labels).items()), "model": "j"}
    for name, scores in (("a", (0, 0, 1)), ("b", (1, 0, 1))):
        lines = ({"id": str(n), "judge": {"verdict": "x", "score": score}} for n, score in enumerate(scores))
        run(name, [], **judge).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert compare("a.jsonl", "b.jsonl").differences[0].difference.test.startswith(test)


def test_several_runs_are_each_compared_with_the_first_and_every_one_of_them_is_shown() -> None:
    scores = {"a": [0] * 12, "b": [1] * 12, "c": [0] * 11 + [1]}
    found = compare(*(run(name, each) for name, each in scores.items()))
    assert [(v.run, v.difference.wins) for v in found.differences] == [(2, 12), (3, 1)]
    assert found.changed_count == 12
    assert [(c.id, c.run) for c in found.changed_examples[:3]] == [("q0", 2), ("q11", 3), ("q1", 2)]
    assert len(found.changed_examples) == 10
    said = str(found)
    assert "| q11         | 3 - 1      |" in said
    assert "12 questions changed. To write all changes to a file: out='FILE'." in said
    manycall.write_report(found, "r.md")
    assert "Changed questions: 10 of 12" in Path("r.md").read_text()


def test_p_is_corrected_for_all_the_tests_that_were_made() -> None:
    found = compare(*(run(name, each) for name, each in {"a": [0] * 12, "b": [1] * 12, "c": [0] * 12}.items()))
    p = 2 * 0.5**12
    assert [(v.difference.p_value, v.p_value_holm) for v in found.differences] == [
        (pytest.approx(p), pytest.approx(2 * p)),
        (1, 1),
    ]
    assert "p (Holm): adjusted for 2 tests." in str(found)
    assert "Holm" not in str(compare("a.jsonl", "b.jsonl"))


# what scores them


def strictly(answer: str, target: str) -> float:
    return float(answer == target)


def loosely(answer: str, target: str) -> float:
    return float(target in answer)


def test_scorers_of_another_file_are_asked_for_and_then_score_all_runs() -> None:
    a, b = run("a", [0, 1, 1], job="eval mine"), run("b", [1, 1, 1], job="eval mine")
    with pytest.raises(
        UsageError, match=r"a\.jsonl was scored by a task that is not stored with it\. Pass your Task as scorer=\."
    ):
        compare(a, b)
    for score, first, other in ((strictly, 0, 0), (loosely, 2 / 3, 1)):
        task = manycall.Task(rows=(), prompt="", extract=str.strip, scorer=score)
        (versus,) = compare(a, b, scorer=task).differences
        assert versus.difference.first == pytest.approx(first)
        assert versus.difference.second == other
    (versus,) = compare(a, b, metric="numeric").differences  # as they stand
    assert versus.difference.second == 0


def test_another_scorer_is_named_for_all_runs() -> None:
    a, b = run("a", [0, 1]), run("b", [1, 1])
    (versus,) = compare(a, b, scorer="exact").differences
    assert (versus.metric, versus.difference.ties) == ("exact", 2)
    done = command("compare", a, b, "--scorer", "regex:says (.*)", "--json")
    assert json.loads(done.out)["changed_examples"][0]["extracted"] == ["0", "1"]


def test_samples_of_lm_eval_are_compared() -> None:
    for model, right in (("a", 1), ("b", 2)):
        lines = [
            {
                "doc_id": n, "doc": {"question": f"Q{n}"}, "target": "#### 18", "arguments": {},
                "filter": "strict-match", "resps": [[f"So it is #### {18 if n < right else 17}"]],
                "filtered_resps": ["18"], "exact_match": 1.0,
            }
            for n in range(3)
        ]  # fmt: skip
        Path(model).mkdir()
        path = Path(f"{model}/samples_gsm8k_2026-01-31T12-00-00.000000.jsonl")
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = compare(*sorted(Path().glob("?/samples_*.jsonl")), metric="strict-match")
    assert (found.differences[0].difference.wins, found.differences[0].difference.ties) == (1, 2)
    assert found.changed_examples[0].responses == ["So it is #### 17", "So it is #### 18"]
    manycall.write_report(found, "r.html")


# what may be compared


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (
            {"job": "eval other.csv"},
            r"settings \(job: eval t\.jsonl and eval other\.csv\)\. To compare them anyway: allow_different='job'\.",
        ),
        ({"data": "xyz"}, r"different settings \(data: abc and xyz\)"),
        ({"fewshot": 3}, r"different settings \(fewshot: null and 3\)"),
        ({"job": "judge", "rubric": "r"}, r"different settings"),
    ],
)
def test_different_protocols_are_refused_unless_one_says_so(identity: dict[str, Any], said: str) -> None:
    a, b = run("a", [0, 1]), run("b", [1, 1], **identity)
    with pytest.raises(UsageError, match=said):
        compare(a, b)
    assert compare(a, b, metric="score.numeric", force=True).differences[0].difference.value == -0.5


def test_what_one_wants_to_compare_may_differ_and_the_questions_may_not() -> None:
    a, b = run("a", [0, 1]), run("b", [1, 1], prompt="Think!")
    with pytest.raises(UsageError, match="prompt: null and Think!"):
        compare(a, b)
    assert compare(a, b, allow_different="prompt").setting_differences == [
        "model: model-a | model-b",
        "prompt: null | Think!",
    ]
    assert command("compare", a, b, "--allow-different", "prompt").code == 0
    with pytest.raises(UsageError, match="prompt: null and Think!"):
        compare(a, b, allow_different=["fewshot"])
    b.write_text(b.read_text().replace("Q0?", "Q9?"))
    with pytest.raises(UsageError, match="different question"):
        compare(a, b, allow_different=["prompt"])


def test_the_models_of_a_run_may_differ_but_not_the_judges() -> None:
    judge: dict[str, Any] = {"job": "judge", "output_field": "score", "rubric": "r", "answers": {"model": "x"}}
    a, b = run("a", [0, 1], **judge, model="j"), run("b", [1, 1], **judge | {"answers": {"model": "y"}}, model="j")
    assert compare(a, b).setting_differences == ['answers: {"model":"x"} | {"model":"y"}']
    with pytest.raises(UsageError, match="model: j and k"):
        compare(a, run("c", [1, 1], **judge, model="k"))
    assert compare(a, "c.jsonl", allow_different="model").setting_differences == ["model: j | k"]


def test_a_file_that_does_not_say_how_it_was_made_is_refused_unless_one_says_so() -> None:
    a = run("a", [0, 1])
    Path("plain.jsonl").write_text('{"id": "q0", "score": {"numeric": true}}\n{"id": "q1", "score": {"numeric": 1}}\n')
    with pytest.raises(UsageError, match=r"plain\.jsonl has no run folder"):
        compare(a, "plain.jsonl")
    assert compare(a, "plain.jsonl", force=True).differences[0].difference.value == 0.5


def test_any_number_in_the_rows_can_be_compared() -> None:
    for name, value in (("a", 2), ("b", 4)):
        Path(f"{name}.jsonl").write_text(
            json.dumps({"id": 7, "score": 1, "judge": {"score": value, "verdict": "x"}, "cost": {"usd": value}}) + "\n"
        )
    found = compare("a.jsonl", "b.jsonl", force=True)
    assert [(v.metric, v.difference.value) for v in found.differences] == [("score", 0), ("judge", 2)]
    found = compare("a.jsonl", "b.jsonl", metric="cost.usd", force=True)
    assert found.differences[0].difference.value == 2
    assert found.runs[0].scores[0].interval is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.jsonl",), "at least two runs"),
        (("a.jsonl", "none.jsonl"), r"none\.jsonl: file not found"),
        (
            ("a.jsonl", "b.jsonl", "--metric", "nosuch"),
            r"--metric nosuch is not a number in the rows of a\.jsonl and b\.jsonl",
        ),
        (("a.jsonl", "c.jsonl"), r"no id in common \('q0', 'z'\)"),
        (("a.jsonl", "d.jsonl"), "'q0' has a different question or answer in d.jsonl than in a.jsonl"),
        (("a.jsonl", "e.jsonl"), r"e\.jsonl is corrupt at byte 0"),
        (("a.jsonl", "f.jsonl"), "the field .id., by which rows are paired, is missing"),
        (("a.jsonl", "b.jsonl", "-o", "a.jsonl"), r"a\.jsonl is the output of a run and cannot be overwritten"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    for name in "abcdef":
        run(name, [0, 1])
    Path("c.jsonl").write_text('{"id": "z", "response": "1", "answer": "1", "score": {"numeric": 0}}\n')
    Path("d.jsonl").write_text(Path("b.jsonl").read_text().replace("Q0?", "Other?"))
    Path("e.jsonl").write_text("{no json\n")
    Path("f.jsonl").write_text('{"score": {"numeric": 1}}\n')
    before = Path("a.jsonl").read_bytes()
    done = command("compare", *words)
    assert done.code == (4 if "corrupt" in said else 2)
    assert re.search(said, done.err), done.err
    assert done.err.count("\n") == 1
    assert Path("a.jsonl").read_bytes() == before


def test_the_command_prints_tables_or_json() -> None:
    run("a", [0, 1, 1]), run("b", [1, 1, 1])
    done = command("compare", "a.jsonl", "b.jsonl", "-o", "changed.jsonl")
    assert (done.code, len(rows(Path("changed.jsonl")))) == (0, 1)
    assert "| q0          | 2 - 1      | numeric | 0 0   | 1 1   |" in done.out
    found = json.loads(command("compare", "a.jsonl", "b.jsonl", "--json").out)
    assert found["differences"][0]["difference"]["wins"] == 1


def test_what_models_say_gives_the_terminal_no_orders() -> None:
    path = run("a", [0, 1])
    path.write_text(path.read_text().replace('"numeric": "0"', '"numeric": "\\u001b]0;x\\u0007|\\n|"'))
    manifest = Path("a.jsonl.run/manifest.json")
    manifest.write_text(manifest.read_text().replace('"sessions": []', '"sessions": [{"outcome": "\\u001b]0;x"}]'))
    path.write_text(path.read_text().splitlines()[0])
    said = str(manycall.compare(path, run("b", [1, 1], model="\x1b[2J")))
    assert "Incomplete" in said
    assert "\x1b" not in said


KEYS = st.sampled_from(["score", "verdict", "replies", "reasked", "a"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.just(10**400)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=5,
)
FIELDS = ("id", "question", "answer", "response", "finish_reason", "extracted", "score", "judge")


@settings(max_examples=400)
@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON), max_size=3), st.sampled_from(["score", "judge.score"]))
def test_any_value_in_a_row_is_compared_or_refused_in_one_sentence(found: list[Any], by: str) -> None:
    lines = (json.dumps({"id": n, **row}) for n, row in enumerate(found))
    Path("x.jsonl").write_text("".join(line + "\n" for line in lines))
    Path("y.jsonl").write_text('{"id": "", "score": 1, "judge": {"verdict": "x", "score": 2}}\n')
    for other in ("x.jsonl", "y.jsonl"):
        with refused_or_not("score in common|is not a number|id in common|'id', by which"):
            manycall.write_report(compare("x.jsonl", other, metric=by, force=True, out="changed.jsonl"), "r.html")
    with refused_or_not("no verdict in 'judge'"):
        manycall.write_report(read_judge_result(Path("x.jsonl"), "judge"), "r.md")


@contextmanager
def refused_or_not(said: str) -> Iterator[None]:
    refusals = []
    try:
        yield
    except UsageError as error:
        refusals.append(str(error))
    assert all(re.search(said, refusal) and "\n" not in refusal for refusal in refusals), refusals
