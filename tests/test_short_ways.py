"""The usual case of a row takes a short way. It must give the same bytes, counters and journal as the general way."""

import asyncio
import random
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from endpoints import endpoint_at
from fakes import FakeTransport, SoloClient, answer, calls_of, refusal
from manycall import errors
from manycall.client.job_client import JobClient
from manycall.client.limit_headers import FIRST_ANSWERS
from manycall.control.concurrency_window import ConcurrencyWindow
from manycall.control.regression import MonitorInterval
from manycall.data.prompt_template import PromptTemplate
from manycall.data.row_source import RowSource
from manycall.dataset.duplicates import Duplicates
from manycall.dataset.normalize import SHORT_TEXT, normalize
from manycall.ids import IdTable
from manycall.limits import CallCost
from manycall.providers import openai
from manycall.records import Request, Row, Secret
from manycall.run.scheduler import Scheduler
from manycall.sim import virtual_time
from manycall.store.disk import Disk
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpResponse, no_header

TEXTS = st.text(st.characters(codec="ascii"), max_size=40)
REPLIES: list[HttpResponse | Exception] = [
    answer("fine"),
    answer("<think>hm</think>18", "length"),
    answer("", "length"),
    answer("", "content_filter"),
    answer("with fields", id="x", usage={"prompt_tokens": "many"}),
    HttpResponse(200, b'{"choices": [{"message": {"content": ["a"]}}]}', no_header),
    HttpResponse(200, b'\xef\xbb\xbf{"choices": [{"text": "on"}], "usage": null}', no_header),
    HttpResponse(200, b'{"error": {"message": "overloaded"}}', no_header),
    HttpResponse(200, b"<html>", no_header),
    HttpResponse(200, b"\xff\xfe", no_header),
    refusal(400),
    refusal(429),
    refusal(500, headers={"retry-after": "2"}),
    errors.ConnectError("refused"),
    errors.AttemptTimeout("late"),
]


class Outcome(msgspec.Struct, frozen=True):
    """What a run has sent, counted and written."""

    sent: list[bytes]
    counters: dict[str, Any]
    files: dict[str, list[Any]]


def outcome_of(replies: list[HttpResponse | Exception], *, shielded: bool) -> Outcome:
    """Process eight rows at an endpoint that gives these replies in turn, with calls in tasks of their own or not."""
    waiting = list(replies)

    def reply(body: dict[str, Any]) -> HttpResponse | Exception:
        return waiting.pop(0) if waiting else answer(body["messages"][0]["content"])

    async def ask(row: Row, llm: Any) -> dict[str, Any]:
        return {"text": (await llm.chat(row.fields["q"])).text}

    transport = FakeTransport(reply)
    client = SoloClient("m", base_url="http://h", transport=transport, concurrency=1, rng=random.Random(1))

    async def main(folder: Path) -> None:
        run = RunFolder(folder / "out.jsonl", Manifest("0", {}))
        client.counters.had_success = True
        try:
            async with client:
                calls = calls_of(client, run, finish_cancelled_calls=shielded)
                rows = [{"id": f"r{n}", "q": f"question {n}"} for n in range(8)]
                await Scheduler(calls, run, ask).run(RowSource(rows).pending_rows(run.ids))
        finally:
            run.close()

    with TemporaryDirectory() as folder:
        virtual_time.run_virtual(main(Path(folder)))
        names = ("out.jsonl", "out.jsonl.run/calls.jsonl", "out.jsonl.run/failures.jsonl")
        files = {name: [msgspec.json.decode(line) for line in lines_of(Path(folder) / name)] for name in names}
    return Outcome([each.body for each in transport.requests], asdict(client.counters), files)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(REPLIES), max_size=12))
@example([*[HttpResponse(200, b"<html>", no_header)] * 6, errors.ConnectError("refused")])  # the endpoint is ejected
def test_a_call_without_a_task_of_its_own_sends_counts_and_writes_the_same(
    replies: list[HttpResponse | Exception],
) -> None:
    assert outcome_of(replies, shielded=False) == outcome_of(replies, shielded=True)


class RecordingWindow(ConcurrencyWindow):
    """Records how many calls were in flight at each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def record_answer(
        self, interval: MonitorInterval, seconds: float, tokens: int, now: float, in_flight: int = 0
    ) -> None:
        self.seen.append(in_flight)
        super().record_answer(interval, seconds, tokens, now, in_flight)


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("shielded", [False, True])
@pytest.mark.parametrize("calls", [1, 3])
def test_the_calls_in_flight_at_an_answer_include_its_own(calls: int, shielded: bool, size: int) -> None:
    window = RecordingWindow()

    async def main() -> None:
        transport = FakeTransport(lambda body: answer(size * "x"))
        async with SoloClient("m", base_url="http://h", transport=transport) as client:
            await client.chat("the first call")
            job = JobClient(client.pool, "m", {}, finish_cancelled_calls=shielded)
            client.pool.endpoints[0].window = window
            await asyncio.gather(*(job.chat("hi") for _ in range(calls)))

    virtual_time.run_virtual(main())
    assert window.seen[0] == calls


@given(TEXTS)
def test_an_ascii_text_has_the_same_normal_form_beside_another_character(text: str) -> None:
    beside, plain = normalize(f"{text} é"), normalize(text)
    if len(beside) >= SHORT_TEXT:
        assert beside == normalize(f"{text} {'x' * SHORT_TEXT}").replace("x" * SHORT_TEXT, "é")
    else:
        assert beside == (f"{plain} é" if any(map(str.isalnum, text)) else "é")


@given(st.text("aB1 .,\n-é", max_size=40), st.sampled_from([" ", "\n\n", ", "]))
def test_in_a_long_text_only_letters_digits_and_their_order_count(text: str, sign: str) -> None:
    long = f"{text} {'word ' * 20}"
    assert normalize(long) == normalize(long.replace(" ", sign)) == "".join(filter(str.isalnum, long.lower()))


@given(st.lists(st.text("aB1 .,\n-é", max_size=4), max_size=60))
def test_a_duplicate_is_a_text_with_the_normal_form_of_an_earlier_one(texts: list[str]) -> None:
    seen = set[str]()
    duplicates = Duplicates()
    for text in texts:
        assert duplicates.add(text) == (normalize(text) in seen)
        seen.add(normalize(text))
    assert duplicates.count == len(texts) - len(seen)


@given(st.text(max_size=60), st.sampled_from(["stop", "length", None, "eos"]), st.booleans())
def test_a_text_is_read_as_one_part_of_a_list_is(text: str, finish: str | None, is_thinker: bool) -> None:
    def read(content: Any) -> Any:
        choice = {"message": {"content": content}, "finish_reason": finish}
        body = msgspec.json.encode({"choices": [choice]})
        try:
            reply = openai.decode("chat", body, is_thinker=is_thinker)
        except errors.InvalidResponse as error:
            return type(error), str(error)
        return msgspec.structs.replace(reply, body=b"")

    assert read(text) == read([{"type": "text", "text": text}])


@given(st.one_of(st.text(max_size=20), st.integers(), st.booleans()), st.sampled_from(["", " ", "\n"]))
def test_a_template_of_one_name_renders_as_within_other_text(value: Any, space: str) -> None:
    row = Row("r", {"x": value})
    (alone,) = PromptTemplate(f"{space}{{{{ x }}}}").messages(row)
    (within,) = PromptTemplate(f"{space}{{{{ x }}}}.").messages(row)
    assert alone["content"] + "." == within["content"]


def test_rows_of_a_prompt_alone_are_those_of_a_list_of_numbers() -> None:
    async def rows(source: RowSource) -> list[Row]:
        return [row async for row in source.pending_rows(IdTable())]

    async def main() -> None:
        for limit in (None, 3):
            numbered = RowSource(None, samples=5, limit=limit)
            listed = RowSource([{"id": n} for n in range(5)], limit=limit)
            assert await rows(numbered) == await rows(listed)
            assert (numbered.total, numbered.first_row) == (listed.total, listed.first_row)

    asyncio.run(main())


@pytest.mark.parametrize("params", [{}, {"seed": 1}, {"stop": ["x"], "a": None}])
def test_a_body_without_parameters_is_encoded_like_one_with_them(params: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": 'é"\n'}]
    expected = msgspec.json.encode({"model": "m", "messages": messages, **dict(sorted(params.items()))})
    assert openai.encode(Request("chat", "m", messages, params)) == expected


LIMIT = {"x-ratelimit-limit-tokens": "100000", "x-ratelimit-remaining-tokens": "90000"}


def test_tokens_are_estimated_until_eight_answers_have_advertised_no_limit() -> None:
    endpoint = endpoint_at("http://h", Secret("k"))
    for n in range(FIRST_ANSWERS):
        assert endpoint.may_count_tokens()
        endpoint.record_response(refusal(500), 0.0, float(n))  # such a response says nothing about limits
        endpoint.record_response(answer(), 0.0, float(n))
    assert not endpoint.may_count_tokens()


def test_a_limit_that_is_advertised_late_is_obeyed() -> None:
    async def main() -> None:
        endpoint = endpoint_at("http://h", Secret("k"))
        for n in range(FIRST_ANSWERS):
            endpoint.record_response(answer(), 0.0, n / 100)
        assert endpoint.earliest(CallCost(1.0, 1e9), 1.0) == float("-inf")
        endpoint.record_response(HttpResponse(200, b"{}", LIMIT.get), 0.0, 1.0)
        assert endpoint.may_count_tokens()
        endpoint.reserve(CallCost(1.0, 50_000.0), 1.0)
        assert endpoint.earliest(CallCost(1.0, 50_000.0), 1.0) > 10.0

    asyncio.run(main())


def test_a_line_is_written_whole_although_the_disk_takes_a_part_of_it(tmp_path: Path) -> None:
    class Small(Disk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            return super().write(fd, data[:7])

    run = RunFolder(tmp_path / "out.jsonl", Manifest("0", {}), disk=Small())
    run.journal.append("r", "key", 1, b'{"choices": []}', at=1.0, seconds=1.0)
    run.close()
    (line,) = lines_of(tmp_path / "out.jsonl.run" / "calls.jsonl")
    assert msgspec.json.decode(line)["body"] == '{"choices": []}'
