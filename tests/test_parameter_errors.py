"""Error bodies about parameters: what they teach, and how a lesson changes a body."""

import json
from pathlib import Path
from typing import Any

import pytest

from manycall.providers.parameter_errors import read_parameter_errors
from manycall.providers.parameter_lesson import Body, ParameterChange, ParameterLesson, canonical_name, change_sentences

RECORDED = Path(__file__).parent / "recorded" / "parameter_errors.jsonl"
CASES = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
TO_MAX_TOKENS = ParameterLesson("max_completion_tokens", "rename", "max_tokens")


def lessons(message: Any, status: int = 400, **more: Any) -> list[ParameterLesson]:
    return read_parameter_errors(status, json.dumps({"error": {"message": message, **more}}).encode())


@pytest.mark.parametrize("case", CASES, ids=[case["case"] for case in CASES])
def test_each_recorded_error_teaches_what_it_should(case: dict[str, Any]) -> None:
    taught = read_parameter_errors(case["status"], json.dumps(case["reply"]).encode())
    assert [str(each) for each in taught] == case["expect"]


def test_a_body_that_is_not_json_teaches_nothing() -> None:
    for body in (
        b"",
        b"<html>",
        b"Unsupported parameter: 'stop' is not supported",
        b"\xff",
        b'{"error": "',
        b"[" * 9000,
    ):
        assert read_parameter_errors(400, body) == []


def test_only_the_beginning_of_a_message_counts() -> None:
    about_stop = "Unsupported parameter: 'stop' is not supported with this model."
    assert len(lessons(about_stop)) == 1
    assert lessons(f"The prompt is not allowed: {about_stop}") == []


@pytest.mark.parametrize(
    ("lesson", "body", "changed"),
    [
        (TO_MAX_TOKENS, {"max_completion_tokens": 4}, {"max_tokens": 4}),
        (ParameterLesson("seed", "omit"), {"random_seed": 7, "stop": "."}, {"stop": "."}),
        (ParameterLesson("temperature", "omit", 1), {"temperature": 1, "top_p": 1}, {"top_p": 1}),
        (ParameterLesson("temperature", "set", 1), {"temperature": 0.2}, {"temperature": 1}),
        (ParameterLesson("temperature", "set", 1), {"temperature": 1}, {"temperature": 1}),
        (ParameterLesson("max_tokens", "minimum", 16), {"max_completion_tokens": 4}, {"max_completion_tokens": 16}),
        (ParameterLesson("max_tokens", "minimum", 16), {"max_tokens": 64}, {"max_tokens": 64}),
        (ParameterLesson("max_tokens", "minimum", 16), {"max_tokens": 0}, {"max_tokens": 0}),
        (ParameterLesson("stream", "stream"), {"stop": "."}, {"stop": "."}),
    ],
)  # fmt: skip
def test_a_lesson_changes_only_its_own_parameter(lesson: ParameterLesson, body: Body, changed: Body) -> None:
    messages = {"messages": [{"role": "user", "content": "temperature"}]}
    assert lesson.apply({**messages, **body}) == {**messages, **changed}
    assert lesson.concerns(body) is (body != changed or lesson.change == "stream")


def test_names_of_other_apis_are_recognized() -> None:
    for name, known in {
        "presencePenalty": "presence_penalty", "generationConfig.topP": "top_p", "body.stop": "stop",
        "'stop_sequences'": "stop", "response_format.json_schema": "response_format", "maxOutputTokens": "max_tokens",
        "": "", "parameter.temperature": "temperature",
    }.items():  # fmt: skip
        assert canonical_name(name) == known


def test_the_changes_of_one_model_are_one_sentence() -> None:
    where = {"endpoint": "https://h/v1", "model": "m"}
    changes = [
        ParameterChange("max_tokens", "rename", "max_completion_tokens", **where),
        ParameterChange("temperature", "omit", 1, **where),
        ParameterChange("stop", "omit", endpoint="https://h/v1", model="other"),
    ]
    assert change_sentences(changes) == [
        "m at https://h/v1: sends max_completion_tokens instead of max_tokens; "
        "temperature omitted (only 1 is accepted)",
        "other at https://h/v1: stop omitted (not accepted)",
    ]
