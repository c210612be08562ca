"""Thinking text in outputs, templates and exports; scorers, judges, schemas, filters and `parse` never get it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.errors import SettingsMismatch, UsageError
from manycall.evals.tasks import wordmath
from servers import http, read_request, serving
from shell import rows

OUT = Path("out.jsonl")
THOUGHT = "Is it 99? No."
PLAIN: dict[str, Any] = {"model": "m", "progress": False}
Asked = dict[str, Any]

FORMS: dict[str, Callable[[str], dict[str, Any]]] = {
    "reasoning_content": lambda text: {"content": text, "reasoning_content": THOUGHT},
    "reasoning": lambda text: {"content": text, "reasoning": THOUGHT},
    "reasoning_details": lambda text: {
        "content": text,
        "reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}],
    },
    "<think>": lambda text: {"content": f"<think>\n{THOUGHT}\n</think>\n\n{text}"},
    "</think> only": lambda text: {"content": f"{THOUGHT}\n</think>\n\n{text}"},
}


@contextmanager
def model(
    text: Callable[[Asked], str], form: str = "reasoning_content", finish_reason: str = "stop"
) -> Iterator[tuple[str, list[Asked]]]:
    """Serve a model that thinks; yield its URL and the requests that it gets."""
    requests: list[Asked] = []

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.loads((await read_request(reader))[1])
        requests.append(body)
        choice = {"message": FORMS[form](text(body)), "finish_reason": finish_reason}
        writer.write(http(200, json.dumps({"choices": [choice]}).encode()))
        await writer.drain()

    with serving(connection) as url:
        yield url, requests


def says(text: str) -> Callable[[Asked], str]:
    return lambda _: text


def question(body: Asked) -> str:
    return str(body["messages"][-1]["content"])


def generate(prompt: str = "{{ q }}", text: str = "tea", form: str = "reasoning_content", **options: Any) -> list[Any]:
    given = [{"id": "a", "q": "Which drink?"}]
    with model(says(text), form) as (url, _):
        manycall.generate(prompt, given, base_url=url, out=OUT, **(PLAIN | options))
    return rows(OUT)


@pytest.mark.parametrize("form", FORMS)
def test_an_evaluation_gives_the_same_scores_for_all_forms_of_thinking(form: str) -> None:
    questions = wordmath.problems()[:12]

    def answer(body: Asked) -> str:
        number = next(n for n, each in enumerate(questions) if each["question"] in question(body))
        return f"The answer is {questions[number]['answer'] if number % 3 else 98}."

    with model(answer, form) as (url, _):
        result = manycall.evaluate("wordmath", base_url=url, out=OUT, limit=12, model="deepseek-r1", progress=False)
    assert [score.value for score in result.scores] == [8 / 12] * len(result.scores)
    assert manycall.score(OUT).scores == result.scores
    for row in rows(OUT):
        assert row["response_reasoning"] == THOUGHT
        assert row["response"].startswith("The answer is")


@pytest.mark.parametrize("form", FORMS)
def test_gsm8k_gives_the_same_scores_for_all_forms_of_thinking(form: str) -> None:
    data = Path("gsm8k.jsonl")
    data.write_text(
        "".join(json.dumps({"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"}) + "\n" for n in (1, 2))
    )
    with model(says("#### 2"), form) as (url, _):
        result = manycall.evaluate(
            "gsm8k", data=data, num_fewshot=0, base_url=url, out=OUT, model="qwq-32b", progress=False
        )
    assert {score.filter: score.value for score in result.scores} == {"strict-match": 0.5, "flexible-extract": 0.5}


def test_the_thinking_text_is_a_field_before_the_finish_reason() -> None:
    (row,) = generate()
    assert list(row) == ["id", "q", "text", "text_reasoning", "text_finish_reason"]
    assert (row["text"], row["text_reasoning"]) == ("tea", THOUGHT)


def test_a_model_that_is_not_known_to_think_keeps_a_lone_closing_tag_in_its_text() -> None:
    (row,) = generate(form="</think> only")
    assert row["text"] == f"{THOUGHT}\n</think>\n\ntea"
    assert "text_reasoning" not in row


@pytest.mark.parametrize(("thinking", "text"), [("on", "tea"), ("off", f"{THOUGHT}\n</think>\n\ntea")])
def test_a_template_that_is_told_to_think_may_write_the_opening_tag(thinking: str, text: str) -> None:
    with model(says("tea"), "</think> only") as (url, requests):
        Path("endpoints.toml").write_text(f'[[endpoint]]\nbase_url = "{url}"\nprovider = "vllm"\n')
        manycall.generate("Which drink?", samples=1, out=OUT, thinking=thinking, **PLAIN)
    assert requests[0]["chat_template_kwargs"]["enable_thinking"] == (thinking == "on")
    assert rows(OUT)[0]["text"] == text


def test_an_evaluation_reports_a_closing_tag_without_an_opening_one() -> None:
    with model(says("The answer is 5."), "</think> only") as (url, _):
        result = manycall.evaluate("wordmath", base_url=url, out=OUT, limit=3, **PLAIN)
    assert "3 responses contain </think> without an opening tag." in str(result)


THINKING_RESPONSES = ("<think>it is 5</think>I do not know.", "<think>maybe 5", "<think>4?</think>\n\nIt is 5.")


def test_thinking_text_in_the_file_of_another_program_is_not_scored() -> None:
    lines = [{"id": n, "response": text, "answer": "5"} for n, text in enumerate(THINKING_RESPONSES)]
    OUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = manycall.score(OUT, scorer="numeric")
    assert (result.scores[0].value, result.scored_rows) == (1 / 3, 3)
    assert result.notes == ["3 responses begin with thinking text, which is not scored."]
    assert [wrong.id for wrong in result.wrong_examples] == ["0", "1"]
    compared = manycall.compare(OUT, OUT, scorer="numeric", force=True)
    assert compared.runs[0].scores[0].value == 1 / 3


def test_a_response_of_only_thinking_text_is_wrong_whatever_the_scorer_returns() -> None:
    OUT.write_text(json.dumps({"id": "a", "response": "<think>maybe 5", "answer": "5"}) + "\n")
    lenient = manycall.Task(rows=(), prompt="", extract=str, scorer=lambda answer, target: 1)
    assert manycall.score(OUT, scorer=lenient).scores[0].value == 0


def test_inline_thinking_text_of_an_output_is_not_scored() -> None:
    generate(text="The answer is 5.", reasoning="inline", output_field="response")
    lines = [{**row, "answer": "99"} for row in rows(OUT)]
    OUT.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert manycall.score(OUT, scorer="exact").scores[0].value == 0
    assert manycall.score(OUT, scorer="regex:Is it (.*)[?]").scores[0].value == 0  # from the thinking text


def test_samples_of_lm_eval_keep_the_score_of_lm_eval_and_the_report_names_the_thinking_text() -> None:
    lines = [
        {
            "doc_id": n, "doc": {"question": "Q"}, "target": "5", "arguments": {}, "filter": "none", "resps": [[text]],
            "filtered_resps": [text],
        }
        for n, text in enumerate(THINKING_RESPONSES)
    ]  # fmt: skip
    path = Path("samples_gsm8k_2026-01-31T12-00-00.000000.jsonl")
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = manycall.score(path, scorer="numeric")
    assert result.scores[0].value == 1
    assert result.notes == ["3 responses begin with thinking text, which was scored as a part of the answer."]


def test_inline_writes_the_thinking_in_tags_and_drop_does_not_write_it() -> None:
    (row,) = generate(reasoning="inline")
    assert row["text"] == f"<think>\n{THOUGHT}\n</think>\n\ntea"
    assert "text_reasoning" not in row
    with pytest.raises(SettingsMismatch, match="reasoning"):
        generate()
    (row,) = generate(reasoning="drop", overwrite=True)
    assert list(row) == ["id", "q", "text", "text_finish_reason"]


def test_a_schema_and_parse_do_not_get_the_thinking() -> None:
    schema = {"type": "object", "properties": {"drink": {"type": "string"}}, "required": ["drink"]}
    (row,) = generate(text='{"drink": "tea"}', form="<think>", schema=schema)
    assert (row["drink"], row["drink_reasoning"]) == ("tea", THOUGHT)
    seen: list[Any] = []

    def parse(row: Any, text: Any) -> list[dict[str, Any]]:
        seen.append(text)
        return [{"word": word} for word in text.split()]

    parts = generate(text="black tea", form="<think>", parse=parse, overwrite=True)
    assert seen == ["black tea"]
    assert [(part["word"], part.get("text_reasoning")) for part in parts] == [("black", THOUGHT), ("tea", None)]


@pytest.mark.parametrize(
    "how", [{"parse": lambda row, text: {}}, {"schema": {"type": "object", "properties": {"a": {}}}}]
)
def test_inline_is_refused_where_the_text_is_read_by_a_program(how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="'inline' cannot be used here"):
        generate(reasoning="inline", **how)
    with pytest.raises(UsageError, match="scorers do not get thinking text"):
        manycall.evaluate("wordmath", base_url="sim", out=OUT, reasoning="inline", **PLAIN)


def test_a_later_step_can_use_the_thinking_and_a_filter_on_the_text_does_not_see_it() -> None:
    steps: list[dict[str, Any]] = [
        {"generate": "{{ q }}", "output_field": "answer"},
        {"keep": "'99' not in answer"},
        {"assign": {"thought": "{{ answer_reasoning }}"}},
        {"judge": "Is {{ answer }} good?"},
    ]
    text: Callable[[Asked], str] = lambda body: "4" if "good" in question(body) else "tea"  # noqa: E731
    with model(text, "<think>") as (url, requests):
        manycall.run_steps(steps, [{"q": "Which drink?"}], base_url=url, out=OUT, **PLAIN)
    (row,) = rows(OUT)
    assert (row["answer"], row["thought"], row["score"], row["score_reasoning"]) == ("tea", THOUGHT, 4, THOUGHT)
    assert THOUGHT not in question(requests[1])


def test_a_judge_does_not_see_the_thinking_and_its_own_is_kept_with_its_reply() -> None:
    generate()
    with model(says("Verdict: 5"), "<think>") as (url, requests):
        manycall.judge(OUT, "Is {{ text }} good?", base_url=url, out="judged.jsonl", **PLAIN)
    (row,) = rows(Path("judged.jsonl"))
    assert THOUGHT not in question(requests[0])
    assert row["judge"]["verdict"] == "5"
    assert row["judge"]["replies"][0]["reasoning"] == THOUGHT


@pytest.mark.parametrize("role", ["answers", "against"])
def test_a_judge_refuses_answers_that_contain_thinking_text_and_names_the_way_without_calls(role: str) -> None:
    inline, separate, judged = OUT, Path("separate.jsonl"), {"base_url": "sim", "out": "judged.jsonl", **PLAIN}
    with model(says("tea")) as (url, requests):
        given = {"prompt": "{{ q }}", "rows": [{"id": "a", "q": "Which drink?"}], "base_url": url, **PLAIN}
        manycall.generate(**given, reasoning="inline", out=inline)
        manycall.generate(**given, reasoning="separate", from_=inline, out=separate)
    assert len(requests) == 1
    answers, against = (inline, None) if role == "answers" else (separate, inline)
    rubric = "Is {{ text }} good?" if against is None else "{{ first.text }} or {{ second.text }}?"
    with pytest.raises(UsageError, match=r"out\.jsonl has thinking text in its answers \(reasoning='inline'\)"):
        manycall.judge(answers, rubric, against=against, **judged)
    manycall.judge(separate, "Is {{ text }} good?", **judged)


def test_a_row_function_gets_answer_and_thinking() -> None:
    async def ask(row: dict[str, Any], llm: Any) -> dict[str, Any]:
        reply = await llm.chat(row["q"])
        return {"text": reply.text, "thought": reply.reasoning}

    with model(says("tea"), "</think> only") as (url, _):
        manycall.map(ask, [{"q": "Which?"}], base_url=url, out=OUT, model="DeepSeek-R1-Distill-Qwen-7B", progress=False)
    assert rows(OUT)[0]["text"] == "tea"
    assert rows(OUT)[0]["thought"] == THOUGHT


@pytest.mark.parametrize(
    ("format", "reasoning", "written"),
    [
        ("messages", "separate", {"role": "assistant", "content": "tea", "reasoning_content": THOUGHT}),
        ("messages", "inline", {"role": "assistant", "content": f"<think>\n{THOUGHT}\n</think>\n\ntea"}),
        ("sharegpt", "inline", {"from": "gpt", "value": f"<think>\n{THOUGHT}\n</think>\n\ntea"}),
        ("sharegpt", "drop", {"from": "gpt", "value": "tea"}),
    ],
)
def test_an_export_writes_the_thinking_where_it_is_wanted(format: str, reasoning: Any, written: Any) -> None:
    generate()
    result = manycall.export(OUT, "kept.jsonl", format=format, reasoning=reasoning)
    (kept,) = rows(Path("kept.jsonl"))
    assert next(iter(kept.values()))[-1] == written
    assert result.reasoning == 1
    assert "text_reasoning" not in result.not_written


def test_an_export_of_thinking_rows_needs_a_decision_about_the_thinking() -> None:
    generate()
    with pytest.raises(UsageError) as told:
        manycall.export(OUT, "kept.jsonl", format="messages")
    assert "before the answer: reasoning='inline'. To leave it out: reasoning='drop'." in str(told.value)
    with pytest.raises(UsageError, match="this format has no field"):
        manycall.export(OUT, "kept.jsonl", format="alpaca", reasoning="separate")
    manycall.export(OUT, "same.jsonl")
    assert rows(Path("same.jsonl")) == rows(OUT)


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_that_ended_inside_its_thinking_is_no_answer(form: str) -> None:
    cut: dict[str, Any] = {"content": None, "reasoning_content": THOUGHT, "reasoning": THOUGHT}
    texts = {"<think>": f"<think>{THOUGHT}", "</think> only": THOUGHT}
    reply = {"message": {"content": texts[form]} if form in texts else cut, "finish_reason": "length"}

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(200, json.dumps({"choices": [reply]}).encode()))

    with serving(connection) as url:
        result = manycall.generate("Hi", samples=1, base_url=url, out=OUT, model="deepseek-r1", progress=False)
    assert result.failure_counts == {"reasoning_only": 1}
    assert "max_tokens" in result.top_errors[0][0]
    assert "1 (100.0%) rows ended while the model was thinking: raise max_tokens=, or max_tokens in requests" in str(
        result
    )
