"""`extract`: the groups of a regular expression become fields, and no expression can block the run."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import answer
from manycall.errors import UsageError
from manycall.transport.messages import HttpResponse
from servers import http, read_request, serving
from shell import manycall as command
from shell import rows

OUT = Path("out.jsonl")
NOWHERE = "http://127.0.0.1:9/v1"
Connection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


def server(replies: list[HttpResponse], asked: list[Any]) -> Connection:
    """Give these replies in turn, and the last one again and again."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(json.loads((await read_request(reader))[1]))
        writer.write(http(200, (replies.pop(0) if len(replies) > 1 else replies[0]).body))
        await writer.drain()

    return connection


def generate(pattern: str, *replies: str | HttpResponse, asked: list[Any] | None = None, **how: Any) -> Any:
    given = [answer(each) if isinstance(each, str) else each for each in replies]
    source = how.pop("source", [{"id": "1", "n": 1}])
    with serving(server(given, [] if asked is None else asked)) as url:
        return manycall.generate(
            "x {{ n }}", source, extract=pattern, model="m", base_url=url, out=OUT, progress=False, **how
        )


@pytest.mark.parametrize(
    ("pattern", "text", "fields"),
    [
        (r"Answer: (\w+)", "Answer: a. No, Answer: b", {"text": "b"}),
        (r"(?s)<story>(.*)</story>", "Sure!\n<story>one\ntwo</story> Good?", {"text": "one\ntwo"}),
        (r"\d+", "1 and 22", {"text": "22"}),
        (r"(.*)", "one", {"text": "one"}),
        (r"(?P<title>\w+) by (?P<author>\w+)", "Emma by Austen", {"title": "Emma", "author": "Austen"}),
        (r"(?P<a>x)|(?P<b>y)", "y", {"a": None, "b": "y"}),
    ],
)
def test_the_groups_of_the_last_match_become_fields(pattern: str, text: str, fields: dict[str, Any]) -> None:
    generate(pattern, text)
    assert rows(OUT) == [{"id": "1", "n": 1, **fields, "text_finish_reason": "stop"}]


def test_an_answer_that_does_not_match_is_asked_for_again_with_the_expression() -> None:
    asked: list[Any] = []
    result = generate(r"Answer: (\d+)", "I do not know", "Answer: 7", asked=asked)
    assert (result.done, result.counts["re-asked"], rows(OUT)[0]["text"]) == (1, 1, "7")
    assert r"it does not match the regular expression Answer: (\d+)" in asked[1]["messages"][-1]["content"]


def test_a_row_whose_answers_never_match_fails_with_its_last_text() -> None:
    result = generate(r"Answer: (\d+)", "no", reask=1)
    assert result.failure_counts == {"invalid": 1}
    (failure,) = rows(Path("out.jsonl.run/failures.jsonl"))
    assert failure["last_text"] == "no"


def test_a_plain_prompt_is_not_asked_for_again() -> None:
    async def completions(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(200, b'{"choices":[{"text":"no","finish_reason":"stop"}]}'))

    with serving(completions) as url:
        result = manycall.generate(
            "x", samples=1, extract=r"\d", api="completions", model="m", base_url=url, out=OUT, progress=False
        )
    assert (result.failed, result.calls) == (1, 1)


def test_a_truncated_answer_is_marked_and_can_be_asked_for_again() -> None:
    generate(r"(\w+)", answer("cut", "length"), max_tokens=5)
    assert rows(OUT)[0]["text_finish_reason"] == "length"
    result = generate(r"(\w+)", answer("whole", "stop"), max_tokens=50, retry="truncated")
    assert (result.retried, rows(OUT)[0]["text"]) == (1, "whole")


def test_parse_gets_what_was_extracted() -> None:
    generate(r"a(\d)", "a1", parse=lambda row, text: {"number": int(text)})
    assert rows(OUT)[0]["number"] == 1
    generate(r"a(?P<n>\d)", "a2", parse=lambda row, fields: {"number": int(fields["n"])}, overwrite=True)
    assert rows(OUT)[0]["number"] == 2


def test_a_step_extracts_too() -> None:
    given = [
        {"generate": "x {{ n }}", "extract": r"(?P<title>\w+): (?P<body>.*)"},
        {"keep": "title == 'Tea'"},
    ]
    with serving(server([answer("Tea: hot")], [])) as url:
        result = manycall.run_steps(given, [{"n": 1}], model="m", base_url=url, out=OUT, progress=False)
    assert (result.done, rows(OUT)[0]["title"], rows(OUT)[0]["body"]) == (1, "Tea", "hot")


def test_an_expression_that_would_run_for_hours_fails_its_row_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("manycall.evals.scoring.extraction.EXTRACT_SECONDS", 0.5)
    source = [{"id": str(n), "n": n} for n in range(30)]

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, body = await read_request(reader)
        if not body:  # it asks for /metrics
            writer.write(http(404, b""))
            return
        number = json.loads(body)["messages"][-1]["content"].split()[1]
        writer.write(http(200, answer("a" * (60 if number == "7" else 3) + "!").body))
        await writer.drain()

    begin = time.monotonic()
    with serving(connection) as url:
        result = manycall.generate(
            "x {{ n }}", source, extract=r"(?:a+)+$|(aaa)!", model="m", base_url=url, out=OUT, progress=False
        )
    assert (result.done, result.failed, result.calls) == (29, 1, 30)
    (failure,) = rows(Path("out.jsonl.run/failures.jsonl"))
    assert "extract= takes longer than" in failure["error"]
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"extract": "("}, "extract='\\('.* is not a valid regular expression"),
        ({"extract": "a\0"}, "is not a valid regular expression"),
        ({"extract": "(?P<id>a)"}, "group 'id'"),
        ({"extract": "a", "schema": {"type": "object"}}, "cannot be combined"),
        ({"extract": "a", "reasoning": "inline"}, "cannot be used here"),
    ],
)
def test_what_cannot_work_is_refused_before_any_call(how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        manycall.generate("x", samples=1, model="m", base_url=NOWHERE, out=OUT, progress=False, **how)


def test_the_command_line_has_the_same_option() -> None:
    with serving(server([answer("Answer: 5")], [])) as url:
        ended = command(
            "generate", "-p", "x", "-n", "1", "--extract", r"Answer: (\d+)", "--output-field", "number",
            "-m", "m", "-u", url, "-o", OUT,
        )  # fmt: skip
    assert ended.code == 0
    assert rows(OUT)[0]["number"] == "5"
