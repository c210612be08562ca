"""What a score is a share of, when not every question got an answer."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.errors import UsageError
from manycall.evals.tasks import wordmath
from servers import http, read_request, serving
from shell import manycall as command
from shell import rows

QUESTIONS = wordmath.problems()[:20]


def reply(text: str | None, finish_reason: str = "stop") -> bytes:
    return http(200, json.dumps({"choices": [{"message": {"content": text}, "finish_reason": finish_reason}]}).encode())


FAULTS = {  # by the number of the question
    3: http(400, b'{"error":{"message":"this prompt is not to my taste"}}'),
    5: http(200, b'{"error":{"message":"out of order","code":"server_is_sad"}}'),
    7: reply(""),
    9: reply(None),
    11: reply(None, "content_filter"),
    13: reply("Let us take it step by st", "length"),
}
"""The last one is an answer, of a kind. The others are none."""


async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = json.loads((await read_request(reader))[1])["messages"][0]["content"]
    number = next(n for n, row in enumerate(QUESTIONS) if row["question"] in asked)
    said = reply(f"The answer is {QUESTIONS[number]['answer']}.")
    writer.write(FAULTS.get(number, said))
    await writer.drain()


@pytest.fixture
def result() -> manycall.results.EvalResult:
    """What comes of twenty questions, of which five get no answer and one gets half of one."""
    options: dict[str, Any] = {"model": "any", "out": "o.jsonl", "limit": 20, "progress": False}
    with serving(server) as url:
        return manycall.evaluate("wordmath", base_url=url, **options)


def test_a_failed_call_is_in_no_score_and_an_empty_answer_is_wrong(result: manycall.results.EvalResult) -> None:
    found = result.score("strict-match")
    assert (found.value, found.count) == (14 / 17, 17)
    assert (result.scored_rows, result.no_answer, result.truncated, result.failed) == (17, 2, 1, 3)
    assert result.no_answer_counts == {"empty": 2}
    assert result.failure_counts == {"call_error": 1, "content_filter": 1, "invalid": 1}
    assert found.worst_case == (14 / 20, 17 / 20)
    assert result.incomplete == ""


def test_empty_answers_can_be_excluded_from_the_score(result: manycall.results.EvalResult) -> None:
    result = manycall.score("o.jsonl", no_answer="exclude")
    found = result.score("strict-match")
    assert (found.value, found.count) == (14 / 15, 15)
    assert (result.scored_rows, result.no_answer, result.truncated, result.failed) == (15, 0, 1, 5)
    assert result.failure_counts == {"call_error": 1, "empty": 2, "content_filter": 1, "invalid": 1}
    assert found.worst_case == (14 / 20, 19 / 20)
    assert result.incomplete == ""


def test_a_score_over_no_rows_has_no_value_in_json_tables_and_reports() -> None:
    """Two models whose calls are all refused."""
    options: dict[str, Any] = {"base_url": "sim:provider=openai,fault=prompt_filtered", "limit": 5, "progress": False}
    result = manycall.evaluate("wordmath", model="any", out="o.jsonl", **options)
    assert [(score.value, score.count) for score in result.scores] == [(None, 0)] * len(result.scores)
    assert (result.best_score, result.to_dict()["scores"][0]["value"]) == (0, None)
    assert all(cells[2] == "N/A" for cells in result.tables()[0][1])
    manycall.write_report(result, "r.md")
    manycall.write_report(result, "r.html")
    assert "| N/A" in Path("r.md").read_text()
    assert "<circle" not in Path("r.html").read_text()
    suite = manycall.evaluate_all(["wordmath"], ["a", "b"], out="suite", **options)
    assert {row["score"] for row in suite} == {None}
    assert {cell for row in suite.tables()[0][1] for cell in row[2:]} == {"-"}
    manycall.write_report(suite, "suite.html")
    with pytest.raises(UsageError, match="no score in common"):
        manycall.compare("suite/a/wordmath.jsonl", "suite/b/wordmath.jsonl")


def test_a_score_over_no_rows_does_not_reach_a_threshold() -> None:
    refused = command(
        "eval", "wordmath", "-m", "a", "-u", "sim:provider=openai,fault=prompt_filtered", "--limit", "5", "-o",
        "o.jsonl", "--fail-under", "0.1", "--json",
    )  # fmt: skip
    assert refused.code == 4
    assert json.loads(refused.out)["scores"][0]["value"] is None


def test_an_export_for_lm_eval_scores_an_empty_text_0_as_lm_eval_does(result: manycall.results.EvalResult) -> None:
    paths = manycall.export_lm_eval("o.jsonl", "lm")
    figures = json.loads(paths[0].read_bytes())
    assert figures["results"]["wordmath"]["exact_match,strict-match"] == 14 / 17
    samples = [json.loads(line) for line in paths[1].read_text().splitlines()]
    empty = [sample for sample in samples if sample["resps"] == [[""]] and sample["filter"] == "strict-match"]
    assert [(sample["doc_id"], sample["exact_match"]) for sample in empty] == [(7, 0), (9, 0)]


def test_the_report_says_all_of_it(result: manycall.results.EvalResult) -> None:
    assert "| 17          | 2         | 1         | 3      | 1          | 1              | 1       |" in str(result)
    for name in ("r.md", "r.html"):
        manycall.write_report(manycall.score("o.jsonl"), name)
        page = Path(name).read_text().replace("\\_", "_")  # Markdown escapes it
        for said in (
            "17 of 20 scored (1 truncated, 2 without an answer)",
            "5 failed: 2 empty, 1 call_error, 1 content_filter, 1 invalid",
            "this prompt is not to my taste", "out of order", "Let us take it step by st", "0.7000 … 0.8500",
        ):  # fmt: skip
            assert said in page, said


def test_a_row_that_failed_and_is_done_by_now_counts_once(result: manycall.results.EvalResult) -> None:
    """A session that was killed leaves the failures of earlier ones in place, those of rows that it finished too."""
    (failure,) = [each for each in rows(Path("o.jsonl.run/failures.jsonl")) if each["kind"] == "invalid"]
    row = {**failure["row"], "id": failure["id"], "response": "I do not know.", "finish_reason": "stop"}
    with Path("o.jsonl").open("a") as output:
        output.write(json.dumps(row) + "\n")
    result = manycall.score("o.jsonl")
    assert (result.scored_rows, result.failed, result.incomplete) == (18, 2, "")
    assert result.failure_counts == {"call_error": 1, "content_filter": 1}
    assert result.score("strict-match").worst_case == (14 / 20, 16 / 20)


def test_a_done_row_that_failed_earlier_does_not_stand_for_a_missing_one(result: manycall.results.EvalResult) -> None:
    lines = Path("o.jsonl").read_text().splitlines(keepends=True)
    Path("o.jsonl").write_text("".join(lines[:-1]))
    with Path("o.jsonl.run/failures.jsonl").open("a") as failures:
        done = json.loads(lines[0])["id"]
        failures.write(json.dumps({"id": done, "kind": "call_error", "error": "", "row": {}}) + "\n")
    assert manycall.score("o.jsonl").incomplete.startswith("Incomplete: 19 of 20 rows.")


@pytest.mark.parametrize(("no_answer", "quoted"), [("wrong", False), ("exclude", True)])
def test_the_report_quotes_only_rows_without_a_score_as_such(
    result: manycall.results.EvalResult, no_answer: Any, quoted: bool
) -> None:
    manycall.write_report(manycall.score("o.jsonl", no_answer=no_answer), "r.md")
    _, _, unscored = Path("r.md").read_text().partition("Rows without a score")
    assert "out of order" in unscored
    assert (": empty" in unscored) == quoted
