"""How a row can end, told apart: in the files, in the report, in the exit code."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from fakes import answer, asked, no_header, refusal
from manycall import errors
from manycall.control import retry
from manycall.data.prompt_error import PromptError
from manycall.errors import FailureClass
from manycall.records import Row
from manycall.run.outcome import failure_kind
from manycall.run.row_client import RowClient
from manycall.transport.messages import HttpResponse
from servers import http, read_request, serving
from shell import manycall as command
from shell import rows
from test_scheduler import World, ask

OUT = Path("out.jsonl")
CUT = '","text_finish_reason":"length"'
REPLIES = {
    "done": answer("fine"),
    "cut": answer("fi", "length"),
    "quote": answer(f'a text {CUT} that holds it, and \\" more {CUT}'),
    "filtered": answer("how to", "content_filter"),
    "refused prompt": refusal(400, "too dangerous", "content_filter"),
    "declined": HttpResponse(
        200,
        b'{"choices":[{"message":{"content":null,"refusal":"I can\'t help\\nwith that."},"finish_reason":"stop"}]}',
        no_header,
    ),
    "empty": answer(""),
    "thinking": answer("", "length"),
    "invalid": refusal(200, "out of memory"),
    "refused": refusal(400, "too long"),
}


async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Replies as the prompt says."""
    _, body = await read_request(reader)
    reply = REPLIES[asked(json.loads(body))] if body else refusal(404)
    writer.write(http(reply.status, reply.body))
    await writer.drain()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.ContentFiltered("x"), "content_filter"),
        (errors.HttpStatusError("x", status=400).replace(failure_class=FailureClass.CONTENT_FILTER), "content_filter"),
        (errors.Declined("x"), "refused"),
        (errors.EmptyCompletion("x"), "empty"),
        (errors.ReasoningOnly("x"), "reasoning_only"),
        (errors.MaxTokensReached("x"), "reasoning_only"),
        (errors.InvalidResponse("x"), "invalid"),
        (errors.HttpStatusError("x", status=400), "call_error"),
        (errors.AttemptTimeout("x"), "call_error"),
        (PromptError("x"), "prompt_error"),
        (KeyError("x"), "function_error"),
        (asyncio.CancelledError(), "function_error"),
    ],
)
def test_each_end_has_its_verdict(error: BaseException, said: str) -> None:
    assert failure_kind(error) == said


def test_each_state_is_counted_separately_and_sets_the_exit_code() -> None:
    kinds = ["done"] * 5 + ["cut", "cut", "filtered", "refused prompt", "declined", "empty", "thinking", "invalid"]
    kinds.append("refused")
    Path("in.jsonl").write_text("".join(f'{{"id": "{n}", "kind": "{kind}"}}\n' for n, kind in enumerate(kinds)))
    words = ("generate", "-p", "{{ kind }}", "in.jsonl", "-m", "m", "-o", OUT)
    with serving(server) as url:
        first = command(*words, "-u", url, "--json")
        failed = {each["row"]["kind"]: each for each in rows(Path("out.jsonl.run/failures.jsonl"))}
        failures = {kind: each["kind"] for kind, each in failed.items()}
        again = command(*words, "-u", url)
    report = json.loads(first.out)
    assert (first.code, report["done"], report["truncated"], report["failed"]) == (3, 7, 2, 7)
    assert (failed["declined"]["error"], failed["declined"]["attempts"]) == (
        "The model refused to answer: I can't help with that.",
        1,
    )
    assert report["failure_counts"] == {
        "content_filter": 2,
        "refused": 1,
        "empty": 1,
        "reasoning_only": 1,
        "invalid": 1,
        "call_error": 1,
    }
    assert failures == {
        "filtered": "content_filter",
        "refused prompt": "content_filter",
        "declined": "refused",
        "empty": "empty",
        "thinking": "reasoning_only",
        "invalid": "invalid",
        "refused": "call_error",
    }
    assert again.code == 3
    assert (
        "7 of 14 done (2 truncated), 7 failed: 2 content_filter, 1 call_error, 1 empty, 1 invalid, "
        "1 reasoning_only, 1 refused" in again.out
    )
    assert "2 rows reached max_tokens" in again.out
    assert (
        report["possibly_billed"]
        == report["invalid_responses"]
        == 2 + retry.RULES[FailureClass.NO_ANSWER].max_attempts + 1 + retry.RULES[FailureClass.MALFORMED].max_attempts
    )
    assert f"{report['invalid_responses']} (tokens counted)" in again.out
    assert "possibly billed" not in again.out  # each had a reply


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (("-n", "5"), ("-n", "1"), "15 of 15 done, 12 of them not part of this run's input"),
        (("--limit", "3"), ("--limit", "1"), "3 of 3 done, 2 of them not part of this run's input"),
        (("-n", "1"), ("-n", "2"), "6 of 6 done"),
    ],
)
def test_rows_of_an_earlier_run_are_counted_separately(first: Any, then: Any, said: str) -> None:
    Path("in.jsonl").write_text("".join(f'{{"id": "{n}", "kind": "done"}}\n' for n in range(3)))
    words = ("generate", "-p", "{{ kind }}", "in.jsonl", "-m", "m", "-o", OUT)
    with serving(server) as url:
        command(*words, *first, "-u", url)
        ended = command(*words, *then, "-u", url)
    assert f" {said} " in ended.out


def test_truncated_rows_are_done_marked_and_counted_over_all_sessions() -> None:
    kinds = [{"kind": kind, "before": CUT} for kind in ("cut", "quote", "done")]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kinds))
    words = ("generate", "-p", "{{ kind }}", "-m", "m", "-o", OUT, "--json")
    with serving(server) as url:
        reports = [json.loads(command(*words, "in.jsonl", "-u", url, "--limit", n).out) for n in ("1", "3", "3")]
    assert [report["truncated"] for report in reports] == [1, 1, 1]
    assert [row["text_finish_reason"] for row in rows(OUT)] == ["length", "stop", "stop"]
    assert rows(OUT)[1]["text"].count(CUT) == rows(OUT)[1]["before"].count(CUT) + 1 == 2  # no text is taken for it


def test_a_row_is_truncated_if_any_of_its_answers_was_replayed_ones_too(tmp_path: Path) -> None:
    async def two(row: Row, llm: RowClient) -> dict[str, Any]:
        texts = [(await llm.chat(f"{row.id} {n}")).text for n in range(2)]
        if row.id == "r1" and not mended:
            raise ValueError("not yet")
        return {"texts": texts}

    mended = False
    world = World(tmp_path, lambda body: answer("x", "length" if asked(body) in ("r0 0", "r0 1", "r1 0") else "stop"))
    scheduler = world.go([{"id": f"r{n}"} for n in range(3)], two)
    assert (scheduler._counters.done, scheduler._counters.truncated) == (2, 1)
    mended = True
    scheduler = world.go([{"id": f"r{n}"} for n in range(3)], two)
    assert (scheduler._counters.replayed, scheduler._counters.truncated) == (2, 1)


def test_what_was_paid_for_no_answer_is_counted(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: answer("", "length") if asked(body) == "1" else answer())
    scheduler = world.go([{"q": "0"}, {"q": "1"}], ask)
    assert (scheduler._counters.calls, scheduler._counters.completion_tokens) == (1, 4)


def test_an_evaluation_shows_rows_without_an_answer_next_to_the_score() -> None:
    task = manycall.Task(
        name="kinds",
        rows=[{"question": kind, "answer": "fine"} for kind in ("done", "cut", "filtered", "thinking", "refused")],
        prompt="{{ question }}",
        extract=str.strip,
        scorer=lambda answer, target: answer == target,
    )
    with serving(server) as url:
        for _ in range(2):
            result = manycall.evaluate(task, model="m", base_url=url, out=OUT, progress=False)
    assert (result.scored_rows, result.no_answer, result.truncated, result.failed) == (3, 1, 1, 2)
    assert result.no_answer_counts == {"reasoning_only": 1}
    assert result.failure_counts == {"content_filter": 1, "call_error": 1}
    assert result.run is not None
    assert (result.run.done, result.run.truncated, result.run.failed) == (2, 1, 3)
    head, _, line = str(result).splitlines()[:3]
    cells = dict(zip(*([cell.strip() for cell in text.split("|")] for text in (head, line)), strict=True))
    names = ("rows scored", "no answer", "failed", "content_filter", "call_error")
    assert [cells[name] for name in names] == ["3", "1", "2", "1", "1"]
