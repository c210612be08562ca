"""What a task may need beyond a reader of responses: the row, weights, samples that differ, means of subtasks."""

import json
import operator
import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import answer
from manycall.errors import UsageError
from manycall.evals.eval_result import Score
from manycall.evals.grouped_scores import subtask_group_scores
from manycall.evals.rescore import score
from manycall.evals.scoring.scorer_process import grade_function
from manycall.evals.stats.group_means import SubtaskMean, mean_by_rows, mean_by_subtasks
from manycall.evals.tasks.task import Filter, SubtaskGroup, Task, row_filter
from manycall.evals.tasks.task_prompt import TaskPrompt
from servers import serving
from test_benchmarks import replying

OUT = Path("out.jsonl")


def share_passed(response: str, fields: dict[str, Any]) -> tuple[list[bool], float]:
    """A response passes each check whose word it contains."""
    passed = [word in response for word in fields["checks"]]
    return passed, sum(passed) / len(passed)


CHECKED = Task(
    rows=(),
    prompt="{{ question }}",
    extract={
        "all": Filter(lambda response, fields: ("", all(word in response for word in fields["checks"]))),
        "each": Filter(share_passed, weight=lambda fields: len(fields["checks"])),
        "last": row_filter(lambda response, fields: fields["checks"][-1] in response, operator.eq),
    },
    scorer=lambda read, target: 0.0,
    target="checks",
)


def write_rows(rows: Iterable[dict[str, Any]]) -> Path:
    """An output with these rows."""
    OUT.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return OUT


def test_a_filter_sees_the_row_and_a_weighted_mean_counts_what_it_weighs() -> None:
    rows = [
        {"id": 1, "checks": ["a", "b", "c"], "answer": True, "response": "a b"},
        {"id": 2, "checks": ["d"], "answer": True, "response": "d"},
    ]
    result = score(write_rows(rows), scorer=CHECKED)
    by_name = {each.filter: each for each in result.scores}
    assert (by_name["all"].value, by_name["each"].value, by_name["last"].value) == (1 / 2, 3 / 4, 1 / 2)
    assert (by_name["each"].stderr, by_name["each"].interval, by_name["each"].count) == (None, None, 2)
    assert by_name["all"].stderr == 0.5
    assert "| N/A" in str(result)
    assert grade_function(CHECKED)("a b", rows[0])["each"] == ([True, True, False], 2 / 3)


def test_a_filter_that_returns_no_score_fails_the_row() -> None:
    task = Task((), "", {"f": Filter(lambda response, fields: ("x", 2))}, lambda read, target: 0.0)
    with pytest.raises(ValueError, match="expected a score from 0 to 1, got 2"):
        task.score_response("", {})


def test_the_means_of_groups_are_those_of_lm_eval() -> None:
    parts = [SubtaskMean(0.5, (1 / 12) ** 0.5, 4), SubtaskMean(2 / 3, (4 / 15 / 6) ** 0.5, 6)]  # 0011 and 001111
    weighted = mean_by_rows(parts)
    assert (round(weighted.value, 9), round(weighted.stderr or 0, 6), weighted.rows) == (0.6, 0.170783, 10)
    plain = mean_by_subtasks(parts)
    assert (plain.value, plain.stderr) == pytest.approx((7 / 12, (1 / 12 + 4 / 90) ** 0.5 / 2))
    assert mean_by_rows([SubtaskMean(1, None, 1), SubtaskMean(0, 0.1, 3)]).stderr is None


def test_subtasks_and_their_groups_are_reported_without_being_asked_for() -> None:
    task = Task(
        (), "", str.strip, lambda read, target: read == target, subtask="subject",
        groups=(
            SubtaskGroup("science", frozenset({"physics", "biology"}), "subtasks"),
            SubtaskGroup("everything"),
            SubtaskGroup("none of them", frozenset({"law"})),
        ),
    )  # fmt: skip
    said = [("physics", "A"), ("physics", "B"), ("biology", "A"), ("art", "B"), ("art", "B"), ("art", "A")]
    rows = [{"id": n, "subject": subject, "answer": "A", "response": text} for n, (subject, text) in enumerate(said)]
    result = score(write_rows([*rows, {"id": 9, "answer": "A", "response": "A"}]), scorer=task)
    assert {name: scores[0].count for name, scores in result.groups.items()} == {"art": 3, "biology": 1, "physics": 2}
    found = {name: (scores[0].value, scores[0].count) for name, scores in result.aggregates.items()}
    assert found == {"science": (0.75, 3), "everything": (pytest.approx(0.5), 6)}
    assert "| science        | score  | 0.7500 | N/A" in str(result)
    assert score(OUT, scorer=task, group_by="answer").aggregates == {}


def test_a_group_has_the_votes_that_all_its_subtasks_have() -> None:
    """A subtask whose questions have three samples has no vote of four."""
    vote = Score("t", "maj@4", 1.0, None, 2)
    subtasks = {"a": [Score("t", "first", 1.0, None, 2), vote], "b": [Score("t", "first", 0.0, None, 2)]}
    ((_, scores),) = subtask_group_scores([SubtaskGroup("all")], subtasks)
    assert [(each.filter, each.value) for each in scores] == [("first", 0.5)]


def test_a_task_without_a_filter_is_refused() -> None:
    with pytest.raises(UsageError, match="has no filter"):
        manycall.evaluate(Task([{"answer": 1}], "?", {}, operator.eq), model="m", base_url="sim", out=OUT)


async def score_later(answer: str, target: str) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ({"scorer": "numeric"}, r"Task\(scorer='numeric'\): expected a function\. .*scorer='numeric'"),
        ({"extract": "numeric"}, r"Task\(extract='numeric'\): expected a function"),
        ({"extract": {"a": str.strip, "b": 3}}, r"Task\(extract=\.\.\.\): expected a function, got int"),
        ({"extract": Filter("numeric")}, r"Task\(extract='numeric'\)"),  # type: ignore[arg-type]
        ({"scorer": score_later}, r"Task\(scorer=\.\.\.\): the function is async"),
        ({"scorer": partial(score_later, target="a")}, "the function is async"),
    ],
)
def test_a_task_whose_functions_cannot_be_called_is_refused_when_it_is_made(
    functions: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Task(**{"rows": (), "prompt": "?", "extract": str.strip, "scorer": operator.eq, **functions})


def shuffled(fields: dict[str, Any], sample: int) -> dict[str, Any]:
    """The row with its choices in an order that depends on the sample."""
    choices = random.Random(sample).sample(fields["choices"], len(fields["choices"]))
    return {**fields, "choices": choices, "answer": "ABCD"[choices.index("yes")]}


def test_each_sample_has_its_own_fields_in_the_prompt_the_output_and_the_score() -> None:
    rows = [{"id": "q", "choices": ["yes", "no", "never", "perhaps"]}, {"id": "r", "choices": ["yes", "no"]}]
    task = Task(
        rows, "{{ choices | join(' ') }}", str.strip, lambda read, target: read == target, samples=3, vary=shuffled,
        is_fast=True,
    )  # fmt: skip
    with serving(replying(lambda question: answer("ABCD"[question.split().index("yes")]))) as url:
        result = manycall.evaluate(task, base_url=url, model="m", out=OUT, progress=False)
    assert (result.scores[0].value, result.scores[0].count) == (1, 6)
    written = {row["id"]: row for row in map(json.loads, OUT.read_text().splitlines())}
    assert {row_id: row["answer"] for row_id, row in written.items()} == {
        f"{row['id']}#{n}": shuffled(row, n)["answer"] for row in rows for n in range(3)
    }
    assert len({row["answer"] for row in written.values()}) > 1
    assert score(OUT, scorer=task).scores[0].value == 1
    assert TaskPrompt(task)  # the prompt itself needs no sample
