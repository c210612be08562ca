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
from manycall.data.templates import BadPrompt
from manycall.engine.outcome import verdict
from manycall.engine.row import RowCalls
from manycall.records import Row
from manycall.wire.transport import HttpReply
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
    "refused prompt": refusal(400, "filtered", "content_filter"),
    "declined": HttpReply(
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
        (errors.Filtered("x"), "filtered"),
        (errors.Refused("x", status=400, code="content_filter"), "filtered"),
        (errors.Declined("x"), "refused"),
        (errors.EmptyAnswer("x"), "empty"),
        (errors.OutOfTokens("x"), "empty"),
        (errors.BadReply("x"), "invalid"),
        (errors.Refused("x", status=400), "call failed"),
        (errors.TimedOut("x"), "call failed"),
        (BadPrompt("x"), "bad prompt"),
        (KeyError("x"), "function failed"),
        (asyncio.CancelledError(), "function failed"),
    ],
)
def test_each_end_has_its_verdict(error: BaseException, said: str) -> None:
    assert verdict(error) == said


def test_each_state_is_counted_apart_and_told_by_the_exit_code() -> None:
    kinds = ["done"] * 5 + ["cut", "cut", "filtered", "refused prompt", "declined", "empty", "thinking", "invalid"]
    kinds.append("refused")
    Path("in.jsonl").write_text("".join(f'{{"id": "{n}", "kind": "{kind}"}}\n' for n, kind in enumerate(kinds)))
    words = ("generate", "-p", "{{ kind }}", "in.jsonl", "-m", "m", "-o", OUT)
    with serving(server) as url:
        first = command(*words, "-u", url, "--json")
        failed = {each["row"]["kind"]: each for each in rows(Path("out.jsonl.run/failures.jsonl"))}
        failures = {kind: each["verdict"] for kind, each in failed.items()}
        again = command(*words, "-u", url)
    report = json.loads(first.out)
    assert (first.code, report["done"], report["truncated"], report["failed"]) == (3, 7, 2, 7)
    assert (failed["declined"]["error"], failed["declined"]["attempts"]) == (
        "the model refused: I can't help with that.",
        1,
    )
    assert report["unfinished"] == {"filtered": 2, "refused": 1, "empty": 2, "invalid": 1, "call failed": 1}
    assert failures == {
        "filtered": "filtered",
        "refused prompt": "filtered",
        "declined": "refused",
        "empty": "empty",
        "thinking": "empty",
        "invalid": "invalid",
        "refused": "call failed",
    }
    assert again.code == 3
    assert (
        "7 done of 14 (2 of them truncated); 7 not: 2 empty, 2 filtered, 1 call failed, 1 invalid, 1 refused"
        in again.out
    )
    assert "2 rows were cut at max_tokens" in again.out
    assert report["maybe_billed"] == report["unanswered"] == 2 + retry.DOUBTFUL.attempts + 1 + retry.GARBLED.attempts
    assert f"{report['unanswered']} replies held none" in again.out
    assert "in doubt" not in again.out  # each had a reply


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (("-n", "5"), ("-n", "1"), "15 done of 15; 12 of these were not asked for this time"),
        (("--limit", "3"), ("--limit", "1"), "3 done of 3; 2 of these were not asked for this time"),
        (("-n", "1"), ("-n", "2"), "6 done of 6"),
    ],
)
def test_rows_that_only_an_earlier_run_was_asked_for_are_told_apart(first: Any, then: Any, said: str) -> None:
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
    async def two(row: Row, llm: RowCalls) -> dict[str, Any]:
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
    assert (scheduler._counters.answered, scheduler._counters.completion_tokens) == (1, 4)


def test_an_evaluation_shows_what_has_no_answer_beside_the_score() -> None:
    task = manycall.Task(
        name="kinds",
        rows=[{"question": kind, "answer": "fine"} for kind in ("done", "cut", "filtered", "thinking", "refused")],
        prompt="{{ question }}",
        extract=str.strip,
        score=lambda answer, target: answer == target,
    )
    with serving(server) as url:
        for _ in range(2):
            result = manycall.evaluate(task, model="m", url=url, out=OUT, progress=False)
    assert (result.rows, result.truncated, result.failed) == (2, 1, 3)
    assert result.unfinished == {"filtered": 1, "empty": 1, "call failed": 1}
    assert result.run is not None
    assert (result.run.done, result.run.truncated, result.run.failed) == (2, 1, 3)
    head, _, line = str(result).splitlines()[:3]
    cells = dict(zip(*([cell.strip() for cell in text.split("|")] for text in (head, line)), strict=True))
    assert (cells["failed"], cells["filtered"], cells["empty"], cells["call failed"]) == ("3", "1", "1", "1")
