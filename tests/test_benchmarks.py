"""Benchmarks with a name, benchmarks of one's own, and what a score says of rows that were not answered."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import answer, asked, refusal
from manycall.errors import UsageError
from manycall.evals.eval_result import MeanEstimate
from manycall.evals.lm_eval.results_file import lm_eval_mean
from manycall.evals.scoring.scorers import SCORERS, get_scorer
from manycall.evals.scoring.text_answers import UNPARSED
from manycall.evals.tasks import mmlu
from manycall.evals.tasks.benchmark import LM_EVAL
from manycall.evals.tasks.gsm8k_data import FewshotSampler
from manycall.evals.tasks.gsm8k_exemplars import EXEMPLARS
from manycall.evals.tasks.registry import BENCHMARKS, TASKS
from manycall.evals.tasks.task import Task
from manycall.evals.tasks.task_prompt import TaskPrompt
from manycall.records import Row
from servers import Connection, http, read_request, serving
from shell import manycall as command
from shell import rows, sim

OUT = Path("out.jsonl")
QUIET: dict[str, Any] = {"model": "m", "progress": False}


def replying(reply: Callable[[str], Any]) -> Connection:
    """A server whose reply follows from the last message."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        said = reply(asked(json.loads(body))) if body else refusal(404)
        writer.write(http(said.status, said.body))
        await writer.drain()

    return connection


def noting(heard: list[str], text: str) -> Callable[[str], Any]:
    """Say always the same, and note what was asked."""

    def say(question: str) -> Any:
        heard.append(question)
        return answer(text)

    return say


# what was not answered


def forty_questions(reply: Any, **options: Any) -> manycall.results.EvalResult:
    """Evaluate a model that answers 29 of 40 questions correctly, 10 wrongly, and one with this reply."""
    questions = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(40)]
    Path("q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))

    def say(question: str) -> Any:
        n = int(question.split(maxsplit=1)[0])
        if n == 7:
            return reply
        return answer(f"It is {n + 1 if n < 30 else n}.")

    with serving(replying(say)) as url:
        return manycall.evaluate("q.jsonl", scorer="numeric", base_url=url, out=OUT, **QUIET, **options)


@pytest.mark.parametrize(
    ("kind", "reply"),
    [("empty", answer("")), ("empty", answer(None)), ("reasoning_only", answer("", "length"))],  # type: ignore[arg-type]
)
def test_one_row_without_an_answer_is_scored_0_or_excluded(kind: str, reply: Any) -> None:
    result = forty_questions(reply)
    score = result.score("numeric")
    assert (score.value, score.count, score.failed_as_wrong, score.unparsed) == (29 / 40, 40, None, 0)
    assert (result.scored_rows, result.no_answer, result.no_answer_counts) == (40, 1, {kind: 1})
    assert (result.failed, result.failure_counts) == (0, {})
    assert f"1 (2.5%) of 40 rows have no answer (1 {kind}) and count as wrong." in str(result)
    assert ("ended while the model was thinking" in str(result)) == (kind == "reasoning_only")
    excluded = manycall.score(OUT, scorer="numeric", no_answer="exclude")
    assert (excluded.scores[0].value, excluded.scored_rows, excluded.no_answer) == (29 / 39, 39, 0)
    assert (excluded.failed, excluded.failure_counts, excluded.scores[0].worst_case) == (
        1,
        {kind: 1},
        (29 / 40, 30 / 40),
    )
    again = forty_questions(reply, no_answer="exclude")
    assert again.scores[0].value == 29 / 39


@pytest.mark.parametrize(
    ("kind", "reply", "verdict"),
    [
        ("a bad request", refusal(400, "too long"), "call_error"),
        ("200 with an error in it", refusal(200, "out of memory"), "invalid"),
        ("filtered", answer("how to", "content_filter"), "content_filter"),
    ],
)
def test_one_row_whose_call_failed_is_in_no_score(kind: str, reply: Any, verdict: str) -> None:
    result = forty_questions(reply)
    score = result.score("numeric")
    assert (score.value, score.count) == (29 / 39, 39)
    assert (result.scored_rows, result.failed, result.failure_counts) == (39, 1, {verdict: 1})
    assert score.failed_as_wrong is not None
    assert (score.failed_as_wrong.value, score.failed_as_wrong.count) == (29 / 40, 40)
    assert len(rows(OUT)) == 39
    assert [each["id"] for each in rows(OUT)].count(rows(Path("out.jsonl.run/failures.jsonl"))[0]["id"]) == 0


def test_a_truncated_answer_is_scored_as_it_stands_and_counted() -> None:
    questions = [{"question": f"{n} + 1?", "answer": str(n + 1)} for n in range(10)]
    with serving(replying(lambda q: answer("It is 1", "length") if q[0] == "3" else answer("It is 1."))) as url:
        task = Task(questions, "{{ question }}", {"last": lambda text: text[-2]}, lambda read, target: read == target)
        result = manycall.evaluate(task, base_url=url, out=OUT, **QUIET)
    assert (result.scored_rows, result.truncated, result.failed) == (10, 1, 0)
    assert (result.scores[0].value, result.scores[0].count, result.scores[0].failed_as_wrong) == (0.1, 10, None)
    assert "1 answers were truncated at max_tokens" in str(result)


# a benchmark of one's own


def test_a_file_of_ones_own_needs_one_command_and_can_be_scored_again() -> None:
    Path("mine.jsonl").write_text('{"question":"Q: 20?","answer":20}\n{"question":"Q: 1,300?","answer":"1300"}\n')
    with serving(replying(lambda question: answer(f"It may be {question[3:-1]}.00."))) as url:
        done = command("eval", "mine.jsonl", "--scorer", "numeric", "-m", "m", "-u", url, "-o", OUT, "--json")
    assert done.code == 0, done.err
    score = json.loads(done.out)["scores"][0]
    assert (score["task"], score["filter"], score["value"], score["count"]) == ("mine.jsonl", "numeric", 1, 2)
    assert json.loads(command("score", OUT, "--json").out)["scores"] == [score]
    assert json.loads(command("score", OUT, "--scorer", "exact", "--json").out)["scores"][0]["value"] == 0
    again = command("score", OUT, "--scorer", r"regex:may be ([\d,]+)", "--json")
    assert json.loads(again.out)["scores"][0]["value"] == 0.5


def test_the_prompt_is_a_template_over_a_rows_fields() -> None:
    Path("mine.csv").write_text("question,hint,answer\nWhere?,there,B\n")
    Path("p.j2").write_text("{{ question }} ({{ hint }})")
    heard = list[str]()
    with serving(replying(noting(heard, "**Answer: (B)**"))) as url:
        words = ("eval", "mine.csv", "-p", "p.j2", "--scorer", "choice", "-m", "m", "-u", url, "-o", OUT)
        assert command(*words).code == 0
    assert heard == ["Where? (there)"]
    assert rows(OUT)[0]["extracted"] == {"choice": "B"}


@pytest.mark.parametrize(
    "choices",
    [
        {"choices": ["red", "{{ blue }}"]},
        {"options": ["red", "{{ blue }}"]},
        {"choices": {"A": "red", "B": "{{ blue }}"}},
        {"A": "red", "B": "{{ blue }}"},
    ],
)
def test_without_a_prompt_a_question_of_choices_is_asked_with_its_choices(choices: dict[str, Any]) -> None:
    Path("mine.jsonl").write_text(json.dumps({"question": "Which?\n", **choices, "answer": "B"}) + "\n")
    heard = list[str]()
    with serving(replying(noting(heard, "B"))) as url:
        assert command("eval", "mine.jsonl", "--scorer", "choice", "-m", "m", "-u", url, "-o", OUT).code == 0
        assert command("export-lm-eval", OUT, "as-lm-eval").code == 0
    assert heard == ["Which?\nA. red\nB. {{ blue }}\nAnswer:"]
    (samples,) = Path("as-lm-eval").glob("*/samples_*.jsonl")
    assert heard[0] in json.loads(rows(samples)[0]["arguments"]["gen_args_0"]["arg_0"][0])[0]["content"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "mine.jsonl, line 2: --scorer choice found no choices to show. The row needs a list `choices`"),
        ({"choices": ["red"]}, "line 2: --scorer choice found no choices"),
        ({"choices": "A. red B. blue"}, "line 2: --scorer choice found no choices"),
        ({"options": ["red", "blue"]}, "line 2: the choices are not in the same fields as in the first row"),
    ],
)
def test_a_question_without_choices_to_show_is_refused(row: dict[str, Any], said: str) -> None:
    first = {"question": "a", "choices": ["red", "blue", "green"], "answer": "B"}
    lines = (first, {"question": "b", "answer": "B", **row})
    Path("mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = command("eval", "mine.jsonl", "--scorer", "choice", "-m", "m", "-u", "http://127.0.0.1:1/v1", "-o", OUT)
    assert (refused.code, said in refused.err) == (2, True), refused.err


TEN_LINES = """
import manycall

task = manycall.Task(
    rows=[{"n": n, "answer": n * n} for n in range(12)],
    prompt="What is {{ n }} squared?",
    extract=lambda response: response.split()[-1].rstrip("."),
    scorer=lambda answer, target: answer == target,
)
"""


def test_ten_lines_of_python_are_a_benchmark() -> None:
    Path("bench.py").write_text(TEN_LINES)
    with serving(replying(lambda question: answer(f"It is {int(question.split()[2]) ** 2}."))) as url:
        done = command("eval", "bench.py:task", "-m", "m", "-u", url, "-o", OUT, "--fail-under", "1")
    assert done.code == 0, done.err
    assert "| task | score  | 1.0000" in done.out
    assert command("score", OUT, "--scorer", "bench.py:task", "--fail-under", "1").code == 0
    untold = command("score", OUT)
    assert (untold.code, "--scorer FILE.py:task" in untold.err) == (2, True)


def test_functions_that_were_fixed_do_not_ask_again() -> None:
    questions = [{"question": "a", "answer": "A"}]

    def task(extract: Callable[[str], str]) -> Task:
        return Task(questions, "{{ question }}", extract, lambda answer, target: answer == target)

    heard = list[str]()
    with serving(replying(noting(heard, "a"))) as url:
        first = manycall.evaluate(task(str.strip), base_url=url, out=OUT, **QUIET)
        second = manycall.evaluate(task(str.upper), base_url=url, out=OUT, **QUIET)
    assert ([first.scores[0].value, second.scores[0].value], heard) == ([0, 1], ["a"])


def test_a_scorer_that_fails_is_one_sentence_and_costs_no_answer() -> None:
    Path("bench.py").write_text(
        TEN_LINES.replace("answer == target", "1 / 0 if target == '9' else float(target) / 121")
    )
    with serving(replying(lambda question: answer("It is 9."))) as url:
        done = command("eval", "bench.py:task", "-m", "m", "-u", url, "-o", OUT)
        assert (done.code, "1 function_error" in done.out) == (3, True)
        Path("bench.py").write_text(TEN_LINES.replace("answer == target", "float('nan') if target == '4' else 1"))
        again = command("score", OUT, "--scorer", "bench.py:task")
        assert (again.code, again.err.count("\n")) == (2, 1)
        assert "task cannot score it: ValueError: expected a score from 0 to 1, got nan" in again.err
        Path("bench.py").write_text(TEN_LINES.replace("answer == target", "1"))
        mended = command("eval", "bench.py:task", "-m", "m", "-u", url, "-o", OUT, "--fail-under", "1")
    assert (mended.code, "1 replayed from the journal" in mended.out) == (0, True)


def test_rows_whose_scorer_failed_have_an_answer_and_lm_eval_would_not_score_them_0() -> None:
    questions = [{"question": str(n), "answer": "a"} for n in range(4)]

    def extract(text: str) -> str:
        return {"0": text}[text]

    task = Task(questions, "{{ question }}", extract, lambda read, target: 1.0)
    with serving(replying(lambda question: refusal(400) if question == "1" else answer(question))) as url:
        result = manycall.evaluate(task, base_url=url, out=OUT, **QUIET)
    assert result.failure_counts == {"call_error": 1, "function_error": 2}
    assert "2 rows have an answer that could not be scored (function_error)" in str(result)
    assert "1 rows failed and are not included in the scores. Make the same call again to retry them." in str(result)
    assert (result.scores[0].failed_as_wrong, "lm-evaluation-harness" in str(result)) == (None, False)
    again = manycall.score(OUT, scorer=task)
    assert "1 rows failed and are not included in the scores.\n" in f"{again}\n"  # score makes no calls


@pytest.mark.parametrize(("found", "said"), [(None, "None"), (3.0, "3.0"), ("yes", "'yes'"), (-1, "-1")])
def test_a_value_that_is_no_score_is_reported_as_what_it_is(found: Any, said: str) -> None:
    task = Task([{"question": "a", "answer": "a"}], "{{ question }}", str.strip, lambda read, target: found)
    with serving(replying(lambda question: answer("a"))) as url:
        manycall.evaluate(task, base_url=url, out=OUT, **QUIET)
    (failure,) = rows(Path("out.jsonl.run/failures.jsonl"))
    assert failure["error"] == f"ValueError: expected a score from 0 to 1, got {said}"


def test_a_scorer_that_fails_deep_inside_is_blamed_on_its_own_line() -> None:
    task = Task([{"question": "a", "answer": "a"}], "{{ question }}", json.loads, lambda read, target: 1.0)
    inside = Task([{"question": "a", "answer": "a"}], "{{ question }}", lambda text: json.loads(text), lambda r, t: 1.0)  # noqa: PLW0108
    with serving(replying(lambda question: answer("a"))) as url:
        manycall.evaluate(task, base_url=url, out=OUT, **QUIET)
        manycall.evaluate(inside, base_url=url, out="inside.jsonl", **QUIET)
    told = [rows(Path(f"{name}.jsonl.run/failures.jsonl"))[0]["error"] for name in ("out", "inside")]
    assert told[0] == "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
    assert told[1].startswith(f"{told[0]} (test_benchmarks.py, line ")


def test_a_score_over_more_rows_than_were_asked_for_says_so() -> None:
    questions = [{"question": str(n), "answer": "a"} for n in range(4)]
    task = Task(questions, "{{ question }}", str.strip, lambda read, target: 1.0)
    with serving(replying(lambda question: answer("a"))) as url:
        whole = manycall.evaluate(task, base_url=url, out=OUT, **QUIET)
        part = manycall.evaluate(task, base_url=url, out=OUT, limit=2, **QUIET)
    assert ("earlier sessions" in str(whole), part.scores[0].count) == (False, 4)
    assert "The last session was started for 2 rows, but the output has 4 rows from earlier sessions." in str(part)


def test_the_simulated_accuracy_is_reported_only_if_all_questions_arrived() -> None:
    first, then = (
        command("eval", "wordmath", "-u", "sim:latency=0", "-m", "any", "-o", OUT, "--limit", limit)
        for limit in ("20", "30")
    )
    assert ["Expected score" in done.out for done in (first, then)] == [True, False]


def test_what_is_read_may_be_anything_that_json_has() -> None:
    task = Task(
        [{"question": "a", "answer": [1, 2]}], "{{ question }}", json.loads, lambda read, target: read == target
    )
    with serving(replying(lambda question: answer("[1, 2]"))) as url:
        result = manycall.evaluate(task, base_url=url, out=OUT, samples=2, **QUIET)
    assert (result.scores[0].value, rows(OUT)[0]["extracted"]) == (1, {"score": [1, 2]})


def test_another_prompt_is_another_benchmark() -> None:
    with serving(replying(lambda question: answer("a"))) as url:
        for prompt, refused in (("{{ question }}", False), ("{{ question }}!", True)):
            task = Task([{"question": "a", "answer": "A"}], prompt, str.strip, lambda answer, target: 1.0)
            if refused:
                with pytest.raises(manycall.errors.ManycallError, match="prompt"):
                    manycall.evaluate(task, base_url=url, out=OUT, **QUIET)
            else:
                manycall.evaluate(task, base_url=url, out=OUT, **QUIET)


@pytest.mark.parametrize("name", [{}, {"id": "q2"}], ids=["unnamed", "named"])
@pytest.mark.parametrize(
    "change", [{"answer": "b"}, {"question": "3?"}, None], ids=["a mended label", "another question", "a further row"]
)
@pytest.mark.parametrize("kind", ["file", "task with a file", "task with a list"])
def test_other_rows_are_another_benchmark(kind: str, change: dict[str, str] | None, name: dict[str, str]) -> None:
    """Else the old label would stay, or stand beside the new one, and the question be asked and scored twice."""
    first, second = {"question": "1?", "answer": "a"}, {**name, "question": "2?", "answer": "a"}

    def go_on(lines: list[dict[str, str]], **options: Any) -> manycall.results.EvalResult:
        Path("q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if kind == "file":
            return manycall.evaluate("q.jsonl", scorer="exact", out=OUT, **QUIET, **options)
        task = Task(lines if "list" in kind else "q.jsonl", "{{ question }}", str.strip, lambda read, target: 1.0)
        return manycall.evaluate(task, out=OUT, **QUIET, **options)

    heard = list[str]()
    mended = [first, {**second, **change}] if change else [first, second, {"question": "3?", "answer": "a"}]
    with serving(replying(noting(heard, "a"))) as url:
        go_on([first, second], base_url=url, limit=1)
        go_on([first, second], base_url=url)
        with pytest.raises(
            manycall.errors.ManycallError, match=r"data\n.*-2 rows, (?s:.*)Use another out=, or overwrite=True"
        ):
            go_on(mended, base_url=url)
        assert (len(heard), len(rows(OUT))) == (2, 2)
        assert go_on(mended, base_url=url, overwrite=True).scored_rows == len(mended)


def test_rows_that_can_be_read_only_once_have_no_checksum_and_are_all_asked() -> None:
    task = Task(({"question": f"{n}?", "answer": "a"} for n in range(3)), "{{ question }}", str.strip, lambda a, t: 1.0)
    with serving(replying(noting([], "a"))) as url:
        assert manycall.evaluate(task, base_url=url, out=OUT, **QUIET).scored_rows == 3


def test_a_slow_scorer_holds_no_call_up() -> None:
    """The first answer's scorer returns only when the server has heard all the other questions."""
    everybody = threading.Event()
    heard = Counter[str]()

    def say(question: str) -> Any:
        heard[question] += 1
        if len(heard) == 8:
            everybody.set()
        return answer("yes")

    questions = [{"question": str(n), "answer": "yes"} for n in range(8)]
    task = Task(questions, "{{ question }}", lambda text: str(everybody.wait(20)), lambda read, target: read == "True")
    with serving(replying(say)) as url:
        result = manycall.evaluate(task, base_url=url, out=OUT, concurrency=2, **QUIET)
    assert result.scores[0].value == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "Unknown task 'nosuch'. Run `manycall eval --list`"),
        (("gpqa", "--data", "q.jsonl"), "Unknown task 'gpqa'. Similar names: gpqa_diamond"),
        (("gsm8k,aime25",), "'gsm8k,aime25' is several tasks. Separate them with spaces: gsm8k aime25."),
        (("wordmath", "--top_p=0.9"), "--top_p is not an option. Write for example --param top_p=0.9."),
        (("nosuch.jsonl", "--scorer", "exact"), "file not found"),
        (("q.jsonl",), r"--scorer exact|numeric"),
        (("q.jsonl", "--scorer", "nosuch"), "Unknown scorer 'nosuch'. Available scorers: exact"),
        (("q.jsonl", "--scorer", "judge"), "`manycall judge OUT --rubric RUBRIC`"),
        (("q.jsonl", "--scorer", "regex:("), "not a valid regular expression"),
        (
            ("q.jsonl", "--scorer", "exact", "-p", "{{ nosuch }}"),
            "uses the field 'nosuch', which this row does not have",
        ),
        (
            ("q.jsonl", "--scorer", "exact", "--data", "q.jsonl"),
            "--data and --fewshot-data only apply to built-in tasks",
        ),
        (("wordmath", "--scorer", "exact"), "--prompt and --scorer only apply to a file of rows"),
        (("bad.jsonl", "--scorer", "exact"), "line 2: missing field 'answer'"),
        (("bench.py:nosuch",), "no task 'nosuch'"),
        (("bench.py",), "bench.py is Python: which task in it? Name it as in bench.py:task"),
        (("bench.py:manycall",), "not a manycall.Task, but module"),
        (("mmlu_generative",), "Download the authors' data.tar, unpack it into a folder, and pass --data FOLDER/test"),
        (("gsm8k_platinum",), "pass a local copy with --data"),
        (("gsm8k_platinum", "--data", "q.jsonl"), "need 6 problems, but the data has 1"),
        (("q.jsonl", "--scorer", "exact", "-n", "0"), "--samples must be at least 1"),
        (("gsm8k_platinum", "--fewshot-data", "q.jsonl"), "does not support --fewshot-data"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    Path("q.jsonl").write_text('{"question":"a","answer":"b"}\n')
    Path("bad.jsonl").write_text('{"question":"a","answer":"b"}\n{"question":"a"}\n')
    Path("bench.py").write_text(TEN_LINES)
    done = command("eval", *words, "-m", "m", "-u", "http://127.0.0.1:1/v1", "-o", OUT)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


def test_what_python_cannot_mean_is_one_sentence() -> None:
    one: Any = [{"question": "a", "answer": "b"}]
    with pytest.raises(UsageError, match=r"got list\. Use Task\(rows=…\) for rows"):
        manycall.evaluate(one, scorer="exact", out=OUT, **QUIET)
    for shot in (("user", "hi"), {"role": "user"}, "hi"):
        task = Task(one, "{{ question }}", str.strip, lambda read, target: 1.0, fewshot=[shot])  # type: ignore[list-item]
        with pytest.raises(UsageError, match="expected messages with role and content, got"):
            manycall.evaluate(task, out=OUT, **QUIET)
    OUT.write_text('{"response":"a","answer":"a"}\n')
    with pytest.raises(UsageError, match=r"Unknown score 'nosuch'\. Available scores: exact"):
        manycall.score(OUT, scorer="exact").score("nosuch")


@pytest.mark.parametrize(
    ("job", "name", "said"),
    [
        ("judge", "o.jsonl", "was written by `manycall.judge`. Make the same call again"),
        (
            "eval mine",
            "o.jsonl",
            "by mine, which is your own task. Pass your Task as scorer=. Choose a scorer with scorer=: gsm8k,",
        ),
        (
            "",
            "samples_gpqa_2026-01-02T03-04-05.678901.jsonl",
            "was written by the lm-eval task gpqa, which is not built in. Choose",
        ),
        ("", "o.jsonl", "does not record which task wrote it. Choose a scorer with scorer=: gsm8k,"),
    ],
)
def test_an_output_that_a_scorer_cannot_read_is_refused_with_the_alternatives(job: str, name: str, said: str) -> None:
    sample = {"doc_id": 0, "doc": {}, "target": "1", "filter": "none", "resps": [["1"]], "filtered_resps": ["1"]}
    Path(name).write_text(json.dumps(sample if "samples" in name else {"response": "1", "answer": "1"}) + "\n")
    if job:
        Path(f"{name}.run").mkdir()
        Path(f"{name}.run/manifest.json").write_text(json.dumps({"manycall_version": "0", "settings": {"job": job}}))
    with pytest.raises(UsageError) as told:
        manycall.score(name)
    assert said in str(told.value)
    names = "exact, numeric, choice, letter-logprob, boxed, last-integer and regex:PATTERN"
    assert job == "judge" or names in str(told.value)


@pytest.mark.parametrize(
    ("name", "response", "read", "target", "right"),
    [
        ("exact", " Paris\n", "Paris", "Paris", 1),
        ("exact", "Paris.", "Paris.", "Paris", 0),
        ("exact", "Lutetia", "Lutetia", ["Paris", "Lutetia"], 1),
        ("numeric", "3 and then -1,200.50!", "-1,200.50", "-1200.5", 1),
        ("numeric", "It is 18.", "18", "so\n#### 18", 1),
        ("numeric", "none", UNPARSED, "18", 0),
        ("numeric", "18, ", "18", 18, 1),
        ("numeric", "1, 2,3", "3", "3", 1),
        ("numeric", "so 10-4", "4", "4", 1),
        ("numeric", "a loss of −$5", "-5", "-5", 1),
        ("numeric", "at .5", ".5", "0.50", 1),
        ("numeric", "1,200,000.50 in all", "1,200,000.50", "1200000.5", 1),
        ("numeric", "16", "16", 1e16, 0),
        ("numeric", "5", "5", 1e-05, 0),
        ("numeric", "It is 10,000,000,000,000,000", "10,000,000,000,000,000", 1e16, 1),
        ("numeric", "1.5e-3", "1.5e-3", 0.0015, 1),
        ("numeric", r"6.02 \times 10^{23} of them", "6.02e23", 6.02e23, 1),
        ("numeric", "6.02×10^23", "6.02e23", "6.02E23", 1),
        ("numeric", "The area is 25 m^2.", "25", 25, 1),
        ("numeric", r"25\,\text{m}^{2}", "25", "25 m^2", 1),
        ("numeric", "it gives off 3 mol of CO2", "3", "3", 1),
        ("numeric", "答案是18元", "18", "18", 1),
        ("numeric", "零下，即-5度", "-5", -5, 1),
        ("numeric", "7", "7", [6, 7.0], 1),
        ("choice", "The answer is (C).", "C", "C", 1),
        ("choice", "**Answer:** B", "B", "B", 1),
        ("choice", r"A or B: \boxed{\text{D}}", "D", "D", 1),
        ("choice", "B", "B", "B", 1),
        ("choice", "B) because A is wrong", "B", "B", 1),
        ("choice", "I think so", UNPARSED, "I", 0),
        ("choice", "A man walks", UNPARSED, "A", 0),
        ("choice", "The answer is B, since option A is false.", "B", "B", 1),
        ("choice", "The answer is B because option A, and choice D are wrong", "B", "(B)", 1),
        ("choice", "The answer is A. Wait, no: the answer is C.", "C", "c", 1),
        ("choice", "The correct answer to this question is **(B)**", "B", "B.", 1),
        ("choice", "The correct option is D; option A is not", "D", "D", 1),
        ("choice", "The answer is option C.", "C", ["A", "C"], 1),
        ("choice", "Option A is wrong. So is B.\n\nC", "C", "C", 1),
        ("choice", "Answer: `B`", "B", "B", 1),
        ("choice", 'The answer is "B"', "B", "B", 1),
        ("choice", r"The answer is \textbf{B}", "B", "B", 1),
        ("choice", r"\boxed{\mathrm{B}}", "B", "B", 1),
        ("choice", "答案：B", "B", "B", 1),
        ("choice", "选项A不对，正确答案是（B）。", "B", "B", 1),
        ("choice", "The answer is I.", "I", "I", 1),
        ("choice", "The answer is I think B", UNPARSED, "B", 0),
        ("choice", "The answer is I'm not sure", UNPARSED, "I", 0),
        ("choice", "Option A is false, option B is true", UNPARSED, "B", 0),
        ("choice", "A. is wrong\nB. is right", UNPARSED, "B", 0),
        ("exact", "true", "true", True, 1),
        ("exact", "0.5", "0.5", 0.5, 1),
        ("regex:(true|false)", "It is true", "true", True, 1),
        ("boxed", r"\boxed{1} \boxed{\frac{1}{2}} or 3", r"\frac{1}{2}", r"\frac{1}{2}", 1),
        ("boxed", r"\boxed{1,200}", "1,200", "#### 1200", 1),
        ("boxed", r"\boxed{\$18.0}", r"\$18.0", "18", 1),
        ("boxed", r"\boxed{18", UNPARSED, "18", 0),
        ("boxed", r"\boxed{sNaN}", "sNaN", "18", 0),
        ("boxed", r"\boxed{x + 1}", "x + 1", "x+1", 1),
        ("last-integer", "1,200 eggs", "1200", "#### 1,200", 1),
        ("last-integer", "-18.5", "5", "5", 1),
        ("last-integer", "007", UNPARSED, "7", 0),
        ("last-integer", "none", UNPARSED, "none", 0),
        ("regex:([a-z]+)!", "a! b! c", "b", "b", 1),
        ("regex:x", "y", UNPARSED, "x", 0),
    ],
)
def test_each_match_reads_and_compares_in_its_way(name: str, response: str, read: str, target: Any, right: int) -> None:
    way = get_scorer(name)
    assert way.extract(response) == read
    assert way.scorer(way.extract(response), target) == right
    assert name.partition(":")[0] in {*SCORERS, "regex"}


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        (
            "numeric",
            "1/2",
            "'1/2' must contain exactly one number, but contains 2, so scorer='numeric' cannot score this row",
        ),
        ("numeric", "none", "'none' must contain exactly one number, but contains 0"),
        ("numeric", "3 h 20 min", "must contain exactly one number"),
        ("choice", 1.5, "the right answer '1.5' is not a letter, so scorer='choice' cannot score this row"),
        ("choice", "Paris", "is not a letter"),
        ("exact", None, "the right answer is null, which cannot be compared with an answer"),
        ("numeric", None, "the right answer is null"),
        ("boxed", [], r"the right answer is \[\]"),
        ("exact", ["a", None], "cannot be compared"),
        ("regex:x", {"a": 1}, "cannot be compared"),
    ],
)
def test_a_right_answer_with_which_nothing_can_be_compared_is_refused_before_any_call(
    name: str, target: Any, said: str
) -> None:
    good, bad = {"question": "a", "answer": "B 1" if name == "numeric" else "B"}, {"question": "b", "answer": target}
    lines = (json.dumps({**row, "choices": ["one", "two"]}) + "\n" for row in (good, bad))
    Path("q.jsonl").write_text("".join(lines))
    with pytest.raises(UsageError, match=f"q.jsonl, line 2: .*{said}"):
        manycall.evaluate("q.jsonl", scorer=name, base_url="http://127.0.0.1:1/v1", out=OUT, **QUIET)
    OUT.write_text(json.dumps({"answer": target, "response": "A"}) + "\n")
    with pytest.raises(UsageError, match=r"the row at byte 0: .* cannot score it"):
        manycall.score(OUT, scorer=name)


def test_answers_that_could_not_be_read_are_counted_for_each_filter() -> None:
    lines = [{"answer": "#### 1", "response": text} for text in ("#### 1", "it is 1", "who knows")]
    OUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = manycall.score(OUT, scorer="gsm8k")
    assert {score.filter: score.unparsed for score in result.scores} == {"strict-match": 2, "flexible-extract": 1}
    assert "| unparsed | rows scored |" in str(result)
    assert "unparsed" not in str(manycall.score(OUT, scorer="exact"))


# samples and votes


def test_a_vote_is_over_the_first_samples_of_each_question() -> None:
    said = {"a": "2 1 1 1 2 2 2 2", "b": "5 4 4 5 5 5 5 5", "c": "1 1 1 1 1 1 1"}
    lines = [
        {"id": f"{name}#{k}", "answer": "#### 1" if name != "b" else "#### 5", "response": f"The answer is {n}."}
        for name, texts in said.items()
        for k, n in reversed(list(enumerate(texts.split())))
    ]
    OUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = Path("out.jsonl.run")
    run.mkdir()
    identity = {"job": "eval gsm8k_cot_self_consistency", "samples": True}
    (run / "manifest.json").write_text(json.dumps({"manycall_version": "0", "settings": identity}))
    scores = {score.filter: (score.value, score.count) for score in manycall.score(OUT).scores}
    assert scores == {"score-first": (2 / 3, 3), "maj@8": (0.5, 2)}  # c has but seven; nobody has 64


@pytest.mark.parametrize(
    ("name", "options", "seeds"),
    [
        ("gsm8k_cot", {}, [1234]),
        ("gsm8k_cot", {"samples": 3}, [1234, 1235, 1236]),
        ("gsm8k_cot", {"samples": 2, "params": {"seed": 7}}, [7, 8]),
        ("gsm8k_cot", {"samples": 2, "params": {"seed": None}}, [None, None]),
        ("gsm8k_cot_self_consistency", {}, [1234] * 64),
        ("gsm8k_cot_self_consistency", {"samples": 2}, [1234, 1235]),
    ],
)
def test_each_sample_has_its_seed_unless_lm_eval_repeats_one(
    name: str, options: dict[str, Any], seeds: list[int | None]
) -> None:
    Path("t.jsonl").write_text('{"question":"1 + 1?","answer":"#### 2"}\n')
    sent = list[int | None]()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        if body:
            sent.append(json.loads(body).get("seed"))
        writer.write(http(200, answer("The answer is 2.").body))
        await writer.drain()

    with serving(connection) as url:
        manycall.evaluate(name, data="t.jsonl", base_url=url, out=OUT, concurrency=1, **QUIET, **options)
    assert sorted(sent, key=lambda seed: seed or 0) == seeds


@pytest.mark.parametrize(
    ("temperature", "texts", "said"),
    [
        (0.7, "aaaa bbbb", "For 2 of 2 questions all samples are the same text"),
        (0.7, "aaaa bbba", ""),
        (0, "aaaa bbba", "The samples were generated at temperature 0"),
        (0, "a b", ""),
    ],
)
def test_samples_that_add_no_information_cause_a_warning(temperature: float, texts: str, said: str) -> None:
    lines = [
        {"id": f"{name}#{k}", "answer": "a", "response": text}
        for name, samples in enumerate(texts.split())
        for k, text in enumerate(samples)
    ]
    OUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("out.jsonl.run").mkdir()
    identity = {"job": "eval q.jsonl", "samples": True, "params": {"temperature": temperature}}
    session = {"manycall_version": "0", "settings": identity, "sessions": [{"outcome": "finished"}]}
    Path("out.jsonl.run/manifest.json").write_text(json.dumps(session))
    remarks = manycall.score(OUT, scorer="exact").messages()
    assert [said in remark for remark in remarks] == [True] * bool(said)


# the benchmarks with a name


def test_every_named_task_says_how_it_is_asked_and_read() -> None:
    for name, each in BENCHMARKS.items():
        task = each.task
        assert task.name == name
        assert task.loader is not None
        assert task.is_fast or each.extra  # the comparisons of an extra may be slow
        assert "max_tokens" in task.params or not each.authority.startswith(LM_EVAL)


LLAMAS = ["<|eot_id|>", "<|start_header_id|>user<|end_header_id|>", "Q:", "</s>"]


@pytest.mark.parametrize(
    ("names", "temperature", "stop"),
    [
        (("gsm8k", "gsm8k_platinum"), 0, ["Question:", "</s>", "<|im_end|>"]),
        (("gsm8k_cot", "gsm8k_platinum_cot"), 0, ["Q:", "</s>", "<|im_end|>"]),
        (("gsm8k_cot_zeroshot", "gsm8k_platinum_cot_zeroshot"), 0, ["Q:", "</s>", "<|im_end|>"]),
        (("gsm8k_cot_llama", "gsm8k_platinum_cot_llama"), 0, LLAMAS),
        (("gsm8k_cot_self_consistency", "gsm8k_platinum_cot_self_consistency"), 0.2, ["Q:", "\n\n"]),
        (("mmlu_generative",), 0, ["</s>", "\n"]),
    ],
)
def test_calls_have_the_parameters_that_lm_eval_sends(
    names: tuple[str, ...], temperature: float, stop: list[str]
) -> None:
    for name in names:
        assert TASKS[name].params == {"max_tokens": 256, "temperature": temperature, "stop": stop, "seed": 1234}


def test_the_eight_exemplars_are_those_of_the_paper_and_of_lm_eval() -> None:
    turns = [turn["content"] for turn in TASKS["gsm8k_cot"].fewshot]  # type: ignore[union-attr]
    text = "".join(f"{q} {a}\n\n" for q, a in zip(turns[::2], turns[1::2], strict=True))
    assert (len(EXEMPLARS), len(text)) == (8, 2141)
    assert sha256(text.encode()).hexdigest() == "3d55795c084e26f6ebb6925833999a44f75c4280eb7ab4d66f9bb940244e4847"
    llama = json.dumps(TASKS["gsm8k_cot_llama"].fewshot)
    assert sha256(llama.encode()).hexdigest() == "e0d834303549c5c5c0a8ce4519e7c7b4077fab95db94f2d2f9a2207674220237"


def test_a_platinum_question_is_never_its_own_example() -> None:
    pool = [{"question": str(n % 9), "answer": "#### 1"} for n in range(12)]  # three stand there twice
    draws = FewshotSampler(pool, 5, exclude_self=True)
    for index, asked_row in enumerate(pool):
        assert len(draws[index]) == 5
        assert asked_row not in draws[index]


def test_mmlu_is_read_from_the_authors_files() -> None:
    Path("test").mkdir()
    Path("test/high_school_physics_test.csv").write_text('"  Two\n lines, ""so"" ",1,2,3,4,B\n')
    Path("test/anatomy_test.csv").write_text("Why?,a,b,c,d,D\n")
    Path("dev").mkdir()
    for subject in ("high_school_physics", "anatomy"):
        Path(f"dev/{subject}_dev.csv").write_text("".join(f"{subject}{n}?,a,b,c,d,A\n" for n in range(6)))
    assert mmlu.TASK.loader is not None
    task = mmlu.TASK.loader(mmlu.TASK, "test", "dev")
    assert isinstance(task.rows, list)
    assert [row["id"] for row in task.rows] == ["anatomy-0", "high_school_physics-0"]
    messages = TaskPrompt(task).messages(Row("x", dict(task.rows[1]), 1))
    assert [each["role"] for each in messages] == ["system", *["user", "assistant"] * 5, "user"]
    assert messages[0]["content"].endswith("about high school physics.\n\n")
    assert messages[1]["content"] == "high_school_physics0?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    assert messages[-1]["content"] == 'Two\n lines, "so"\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:'
    assert task.score_response("\nB", {"answer": "B"}) == {"get_response": ("", 0.0)}
    assert task.score_response(" b.\nC", {"answer": "B"}) == {"get_response": ("b.", 1.0)}
    assert task.score_response("b. ", {"answer": "B"}) == {"get_response": ("b.", 1.0)}
    assert task.score_response("The answer is B", {"answer": "B"})["get_response"][1] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Why?,a,b,c,d,E\n", "line 1: expected a question, four choices"),
        ("Why?,a,b,c,d,\n", "line 1: expected a question, four choices"),
        ("Why?,a,b,c,d,AB\n", "line 1: expected a question, four choices"),
        ("Why?,a,b,c,D\n", "line 1: expected a question, four choices"),
        ('Why?,"a,b,c,d,D\n', "line 1"),
        ("", "fewer than 5 few-shot examples for the subject anatomy"),
    ],
)
def test_files_that_are_not_mmlus_are_refused(text: str, said: str) -> None:
    Path("anatomy_dev.csv").write_text(text)
    Path("anatomy_test.csv").write_text("Why?,a,b,c,d,D\n")
    assert mmlu.TASK.loader is not None
    with pytest.raises(UsageError, match=said):
        mmlu.TASK.loader(mmlu.TASK, "anatomy_test.csv", "anatomy_dev.csv")


def test_the_simulated_endpoint_answers_every_variant_of_gsm8k() -> None:
    questions = [{"question": f"{n} pears and one?", "answer": f"So\n#### {n + 1}"} for n in range(12)]
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    with sim("--latency", "0", "--answer-key", "t.jsonl", "--accuracy", "0.75") as endpoint:
        for name in TASKS:
            if name.startswith("gsm8k"):
                shots = "t.jsonl" if name == "gsm8k" else None
                result = manycall.evaluate(
                    name, data="t.jsonl", fewshot_data=shots, samples=TASKS[name].samples and 8, base_url=endpoint.url,
                    out=f"{name}.jsonl", **QUIET,
                )  # fmt: skip
                assert {score.value for score in result.scores} == {0.75}, name


# lm-eval's samples


def test_the_samples_of_lm_eval_are_scored_again() -> None:
    lines = [
        {
            "doc_id": n, "doc": {"question": "q", "answer": f"#### {n}"}, "target": f"#### {n}", "arguments": {},
            "resps": [[f"#### {n}" if n else ""]], "filtered_resps": ["x"], "filter": name, "exact_match": 0.0,
        }
        for name in ("strict-match", "flexible-extract")
        for n in range(4)
    ]  # fmt: skip
    path = Path("samples_gsm8k_2026-01-02T03-04-05.678901.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = manycall.score(path)
    assert [(s.filter, s.value, s.count) for s in result.scores] == [
        ("strict-match", 0.75, 4),
        ("flexible-extract", 0.75, 4),
    ]
    assert (result.failed, result.no_answer_counts) == (0, {"empty": 1})
    excluded = manycall.score(path, no_answer="exclude")
    assert (excluded.failed, excluded.failure_counts, excluded.scores[0].value) == (1, {"empty": 1}, 1)
    assert excluded.scores[0].failed_as_wrong is not None
    assert excluded.scores[0].failed_as_wrong.value == 0.75
    assert "lm-evaluation-harness would score them as 0 and report strict-match 0.7500 ±0.2500," in str(excluded)
    assert manycall.score(path, scorer="numeric").scores[0].value == 0.75
    done = command("score", path, "--report", "page.html")
    assert (done.code, "gsm8k" in Path("page.html").read_text()) == (0, True)
    assert command("score", path, "--no-answer", "exclude").code == 3
    path.write_text(json.dumps({**lines[0], "resps": [[["-1.5", "True"]]]}) + "\n")
    with pytest.raises(UsageError, match="contains no generated text"):
        manycall.score(path)


def test_an_output_is_written_as_lm_eval_would_have_and_read_again(gsm8k: Path) -> None:
    words = ("--data", gsm8k / "test.jsonl", "--fewshot-data", gsm8k / "train.jsonl")
    with sim("--latency", "0", "--answer-key", str(gsm8k / "test.jsonl"), "--accuracy", "0.7") as endpoint:
        done = command("eval", "gsm8k", *words, "-u", endpoint.url, "-m", "a/b", "-o", OUT, "--limit", "20")
    assert done.code == 0, done.err
    made = command("export-lm-eval", OUT, "lm", *words)
    assert made.code == 0, made.err
    results, samples = map(Path, made.out.split())
    assert results.parent == Path("lm/a__b")
    said, first = json.loads(results.read_bytes()), rows(samples)[0]
    score = manycall.score(OUT).score("strict-match")
    assert said["results"]["gsm8k"]["exact_match,strict-match"] == score.value
    assert said["results"]["gsm8k"]["exact_match_stderr,strict-match"] == pytest.approx(score.stderr, rel=1e-15)
    assert (said["n-shot"], said["n-samples"]) == ({"gsm8k": 5}, {"gsm8k": {"original": 1319, "effective": 20}})
    assert [row["doc_id"] for row in rows(samples)] == [*range(20)] * 2
    assert json.loads(first["arguments"]["gen_args_0"]["arg_0"][0])[-1]["content"].startswith("Question: Janet")
    again = manycall.score(samples)
    assert [(s.filter, s.value, s.count) for s in again.scores] == [
        (s.filter, s.value, s.count) for s in manycall.score(OUT).scores
    ]


def test_a_group_is_written_with_its_subtasks_under_the_names_of_lm_eval() -> None:
    task = TASKS["mmlu_generative"]
    assert task.loader is not None
    table: Any = task.loader(task, "sample").rows
    Path("m.jsonl.run").mkdir()
    settings = {"job": "eval mmlu_generative", "samples": False, "made_up_rows": True}
    Path("m.jsonl.run/manifest.json").write_text(json.dumps({"manycall_version": "0", "settings": settings}))
    answered = [row for row in table if row["subject"] != "sociology" and row["id"] != "nutrition-2"]
    Path("m.jsonl").write_text("".join(json.dumps({**row, "response": "A"}) + "\n" for row in answered))
    results, *samples = manycall.export_lm_eval("m.jsonl", "lm")
    said = json.loads(results.read_bytes())
    names = [f"mmlu_{subject}_generative" for subject in ("anatomy", "nutrition", "philosophy")]
    assert [path.name.partition("_2")[0] for path in samples] == [f"samples_{name}" for name in names]
    assert [row["doc_id"] for row in rows(samples[1])] == [0, 1]
    assert sorted(said["results"]) == sorted(said["n-samples"]) == names
    assert said["results"][names[0]] == {
        "name": names[0], "alias": "anatomy", "sample_len": 3, "exact_match,get_response": 1 / 3,
        "exact_match_stderr,get_response": pytest.approx(1 / 3),
    }  # fmt: skip
    assert said["group_subtasks"] == {
        "mmlu_generative": [f"mmlu_generative::{group}" for group in ("stem", "other", "humanities")],
        **{f"mmlu_generative::{g}": [n] for g, n in zip(("stem", "other", "humanities"), names, strict=True)},
    }
    whole = said["groups"]["mmlu_generative"]
    assert (whole["sample_len"], whole["exact_match,get_response"]) == (8, pytest.approx(1 / 8))
    pooled = 2 * (1 / 9) * 3 / 5 / 8  # lm-eval's pooled_sample_stderr of ±1/3, ±0 and ±0 with 3, 2 and 3 rows
    assert whole["exact_match_stderr,get_response"] == pytest.approx(pooled**0.5)


def test_the_mean_of_parts_is_weighted_by_their_number() -> None:
    assert lm_eval_mean([1, 0.5, 0], [1, 2, 3]) == MeanEstimate(2 / 6, None, 3)


def test_ones_own_output_is_exported_by_its_manifest_and_without_what_failed() -> None:
    Path("mine.jsonl").write_text("".join(f'{{"question":"{n}?","answer":{n}}}\n' for n in range(9)))
    with serving(
        replying(lambda question: refusal(400) if question == "4?" else answer(f"{question} {question}"))
    ) as url:
        done = command("eval", "mine.jsonl", "--scorer", "numeric", "-m", "m", "-u", url, "-o", OUT, "-n", "2")
    assert done.code == 3, done.err
    assert "numeric 1.000 ·" in command("status", OUT).out  # no standard error: the samples are not independent
    results, samples = map(Path, command("export-lm-eval", OUT, "lm").out.split())
    assert [row["doc_id"] for row in rows(samples)] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert rows(samples)[0]["resps"] == [["0? 0?", "0? 0?"]]
    said = json.loads(results.read_bytes())
    assert said["results"]["mine.jsonl"]["score,numeric"] == 1
    assert (said["n-samples"]["mine.jsonl"]["original"], said["manycall"]["failed"]) == (9, 2)


def test_of_several_samples_lm_eval_scores_the_first() -> None:
    Path("mine.jsonl").write_text("".join(f'{{"question":"{n}?","answer":{n}}}\n' for n in range(4)))
    times = Counter[str]()

    def reply(question: str) -> Any:
        times[question] += 1
        return answer(f"{int(question[:-1]) if times[question] == 1 else -1}")

    with serving(replying(reply)) as url:
        done = command(
            "eval", "mine.jsonl", "--scorer", "numeric", "-m", "m", "-u", url, "-o", OUT, "-n", "2", "-j", "1"
        )
    assert done.code == 0, done.err
    assert manycall.score(OUT).scores[0].value == 0.5
    results, _ = map(Path, command("export-lm-eval", OUT, "lm").out.split())
    said = json.loads(results.read_bytes())
    assert (said["results"]["mine.jsonl"]["score,numeric"], said["n-samples"]["mine.jsonl"]["effective"]) == (1, 4)


def test_what_an_evaluation_costs_can_be_known_before() -> None:
    Path("mine.jsonl").write_text("".join(f'{{"question":"{n}?","answer":{n}}}\n' for n in range(9)))
    words = ("eval", "mine.jsonl", "--scorer", "numeric", "-m", "m", "-u", "sim", "-o", OUT, "-n", "10", "--dry-run")
    done = command(*words, "--fail-under", "0.5", "--report", "page.html", "--json")
    said = json.loads(done.out)
    assert (done.code, said["scores"], said["run"]["calls"], said["run"]["total_rows"]) == (0, [], 90, 90)
    assert said["run"]["requests"][0]["messages"] == [{"role": "user", "content": "0?"}]
    assert not OUT.exists()
    assert not Path("page.html").exists()
    assert "Dry run: no calls were made." in command(*words).out
