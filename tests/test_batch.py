"""OpenAI Batch files: the same file in, the same shape out; checked against the SDK's own types."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.shared import ErrorObject

import manycall as package
from disks import Files, Recovered, Refusing, Remembering, crashes
from manycall.batch.batch_file import BATCH_LAYOUT
from manycall.ids import decode_row_id
from manycall.providers.batch_lines import parse_request
from manycall.records import Failure, Row, Success
from manycall.store.disk import Disk
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from servers import http, read_request, serving
from shell import manycall, rows, sim, start

BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"model": "m1", "messages": [{"role": "user", "content": "你好"}], "max_tokens": 50}),
    ("/v1/completions", {"model": "m2", "prompt": "Once", "temperature": 0.5}),
    ("/v1/embeddings", {"model": "m3", "input": ["a", "b"]}),
]


def line(name: Any, url: str, body: Any, method: str = "POST") -> dict[str, Any]:
    return {"custom_id": name, "method": method, "url": url, "body": body}


def write(*lines: Any, path: str = "batch.jsonl") -> Path:
    Path(path).write_text("".join(json.dumps(each) + "\n" for each in lines))
    return Path(path)


def many(count: int) -> Path:
    return write(*(line(f"request-{n}", *BODIES[n % 3]) for n in range(count)))


@contextmanager
def server(answers: dict[str, list[bytes]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """One that gives, to a prompt that holds this word, these replies in turn; yields its URL, and what it was sent."""
    met: list[dict[str, Any]] = []

    async def connection(reader: Any, writer: Any) -> None:
        _, body = await read_request(reader)
        if body:  # else somebody asks for its gauges
            met.append(json.loads(body))
            left = answers[met[-1]["messages"][0]["content"]]
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()

    with serving(connection) as url:
        yield url, met


def said(text: str, finish: str = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return http(200, json.dumps({"id": "chat-1", "choices": [choice]}).encode())


def ask(name: str, word: str) -> dict[str, Any]:
    return line(name, "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": word}]})


REFUSED = http(400, b'{"error":{"message":"too hot","code":"bad_value"}}')
EMPTY = said("", "content_filter")


def test_every_line_is_sent_as_it_stands_and_answered_in_openais_shape() -> None:
    many(30)
    with sim("--latency", "0") as endpoint:
        done = manycall("run-batch", "batch.jsonl", "-u", endpoint.url, "-o", "out.jsonl")
    assert (done.code, done.err.count("Traceback")) == (0, 0)
    out = {row["custom_id"]: row for row in rows(Path("out.jsonl"))}
    assert out.keys() == {f"request-{n}" for n in range(30)}
    for n in range(30):
        row = out[f"request-{n}"]
        assert row.keys() == {"id", "custom_id", "response", "error"}
        assert row["error"] is None
        assert row["response"].keys() == {"status_code", "request_id", "body"}
        assert row["response"]["status_code"] == 200
        assert row["response"]["body"]["model"] == BODIES[n % 3][1]["model"]


def test_parameters_of_the_command_are_for_lines_that_do_not_say_otherwise() -> None:
    own = ask("own", "x")
    own["body"] |= {"temperature": 0.0, "n": 2, "stream": False}
    bare = ask("bare", "x")
    del bare["body"]["model"]
    write(own, bare)
    with server({"x": [said("yes")]}) as (url, met):
        options = ("-m", "mine", "--temperature", "0.7", "--param", "top_p=0.5")
        assert manycall("run-batch", "batch.jsonl", "-u", url, "-o", "out.jsonl", *options).code == 0
    sent = {body["model"]: body for body in met}
    assert (sent["m"]["temperature"], sent["m"]["top_p"], sent["m"]["n"]) == (0.0, 0.5, 2)
    assert (sent["mine"]["temperature"], sent["mine"]["top_p"]) == (0.7, 0.5)


@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_a_line_replaces_that_of_the_command_under_either_name(given: str, name: str) -> None:
    own = ask("own", "x")
    own["body"][name] = 5
    write(own, ask("bare", "x"))
    with server({"x": [said("yes")]}) as (url, met):
        assert manycall("run-batch", "batch.jsonl", "-u", url, "-o", "out.jsonl", "--param", f"{given}=9").code == 0
    limits = [{key: value for key, value in body.items() if key.startswith("max_")} for body in met]
    assert sorted(limits, key=str) == sorted([{name: 5}, {given: 9}], key=str)


def test_errors_are_in_their_place_and_are_tried_again_by_the_same_command() -> None:
    write(ask("fine", "fine"), ask("hot", "hot"), ask("cut", "cut"))
    answers = {"fine": [said("yes")], "hot": [REFUSED, said("now")], "cut": [EMPTY]}
    with server(answers) as (url, met):
        command = ("run-batch", "batch.jsonl", "-u", url, "-o", "out.jsonl", "--no-progress")
        assert manycall(*command).code == 3
        first = {row["custom_id"]: row for row in rows(Path("out.jsonl"))}
        assert first["fine"]["error"] is None
        assert first["hot"]["error"] is None
        assert first["hot"]["response"]["status_code"] == 400
        assert first["hot"]["response"]["body"] == {"error": {"message": "too hot", "code": "bad_value"}}
        assert first["cut"]["error"]["code"] == "content_filter"
        assert first["cut"]["response"]["body"]["choices"][0]["finish_reason"] == "content_filter"
        assert manycall(*command).code == 3
    second = [row["custom_id"] for row in rows(Path("out.jsonl"))]
    assert sorted(second) == ["cut", "fine", "hot"]
    assert {row["custom_id"]: row for row in rows(Path("out.jsonl"))}["hot"]["response"]["status_code"] == 200
    words = [body["messages"][0]["content"] for body in met]
    assert (words.count("fine"), words.count("hot"), words.count("cut")) == (1, 2, 2)


def test_a_request_without_a_reply_has_an_error_and_no_response() -> None:
    write(ask("lost", "lost"), ask("fine", "fine"))
    with server({"fine": [said("yes")], "lost": [b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]}) as (url, _):
        assert manycall("run-batch", "batch.jsonl", "-u", url, "-o", "out.jsonl").code == 3
    (lost,) = [row for row in rows(Path("out.jsonl")) if row["custom_id"] == "lost"]
    assert lost["response"] is None
    assert lost["error"]["code"] == "call_error"
    assert lost["error"]["message"]


CHAT, EMBED = BODIES[0], BODIES[2]
BAD: list[tuple[Any, str]] = [
    (line(7, *CHAT), "custom_id must be a string, got 7"),
    ({"url": CHAT[0], "body": CHAT[1]}, "custom_id must be a string, got None"),
    (line("b", *CHAT, method="GET"), "method must be POST, got 'GET'"),
    (line("b", "/v1/responses", {}), "url must be one of /v1/chat/completions, /v1/completions, /v1/embeddings"),
    (line("b", CHAT[0], "text"), "body must be an object"),
    (line("b", CHAT[0], {"model": "m"}), "body.messages must be a list of messages, got None"),
    (line("b", CHAT[0], {"messages": CHAT[1]["messages"]}), "body.model is missing, and model= is not set"),
    (line("b", CHAT[0], {**CHAT[1], "stream": True}), "body.stream is not supported"),
    (line("b", CHAT[0], {**CHAT[1], "api_key": "x"}), "'api_key' is not a parameter"),
    (line("b", EMBED[0], {**EMBED[1], "encoding_format": "base64"}), "body.encoding_format must be float"),
    (line("a", *CHAT), "duplicate id 'a'"),
    ([1], "expected an object with fields, got list"),
]


@pytest.mark.parametrize(("bad", "sentence"), BAD, ids=[sentence[:30] for _, sentence in BAD])
def test_a_bad_line_is_one_sentence_with_its_number_before_any_call(bad: Any, sentence: str) -> None:
    write(line("a", *CHAT), bad)
    with pytest.raises(package.errors.UsageError) as told:
        package.run_batch("batch.jsonl", base_url="http://127.0.0.1:9/v1", out="out.jsonl", progress=False)
    assert str(told.value).startswith("batch.jsonl, line 2: ")
    assert sentence in str(told.value)
    assert not Path("out.jsonl").exists()


def test_the_advice_about_max_tokens_is_also_for_requests_that_set_it_themselves() -> None:
    thinking = {"role": "assistant", "content": "", "reasoning": "Hm."}
    reply = {"choices": [{"index": 0, "message": thinking, "finish_reason": "length"}]}
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "w"}]}
    write(line("a", "/v1/chat/completions", body))
    with server({"w": [http(200, json.dumps(reply).encode())]}) as (url, _):
        done = manycall("run-batch", "batch.jsonl", "-u", url, "-o", "out.jsonl")
    assert "Raise --max-tokens, or max_tokens in a request that sets it itself." in done.out
    assert "raise --max-tokens, or max_tokens in requests that set it themselves, or lower --thinking" in done.out


def test_a_killed_batch_goes_on_where_it_was() -> None:
    many(200)
    with sim("--latency", "0.02", "--slots", "4") as endpoint:
        command = ("run-batch", "batch.jsonl", "-u", endpoint.url, "-o", "out.jsonl", "-j", "4")
        first = start(*command)
        while not Path("out.jsonl").exists() or len(Path("out.jsonl").read_bytes().splitlines()) < 20:
            assert first.poll() is None
        first.kill()
        first.communicate()
        assert manycall(*command).code == 0
        assert endpoint.stats["finished"] <= 204
    assert sorted(row["custom_id"] for row in rows(Path("out.jsonl"))) == sorted(f"request-{n}" for n in range(200))


def open_run(folder: Path, disk: Disk) -> RunFolder:
    return RunFolder(folder / "out.jsonl", Manifest("0", {"job": "batch"}), layout=BATCH_LAYOUT, disk=disk)


def one_of_two_fails(folder: Path, disk: Disk) -> None:
    run = open_run(folder, disk)
    answer = {"custom_id": "a", "response": {"status_code": 200, "request_id": "a", "body": {}}, "error": None}
    if not run.ids.state("a"):
        run.write_row(Success(Row("a", {"body": "long"}), answer))
    run.failures.append(Failure(Row("b", {"body": "long"}), "call_error", "it broke"))
    run.ended = True
    run.close()


def test_failed_lines_are_no_done_rows_when_the_output_is_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        one_of_two_fails(tmp_path, Refusing())
        out = (tmp_path / "out.jsonl").read_bytes().splitlines()
        assert [decode_row_id(each) for each in out] == ["a", "b"]
        assert b"long" not in out[0]
    run = open_run(tmp_path, Refusing())
    assert (bool(run.ids.state("a")), bool(run.ids.state("b"))) == (True, False)
    run.close()  # not ended: whoever is not done is not told of
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 1


FOLDER = Path("/folder")


def a_session(disk: Remembering, failing: str) -> None:
    """Three requests, of which some fail."""
    run = open_run(FOLDER, disk)
    for name in "abc":
        if name in failing:
            run.failures.append(Failure(Row(name, {}), "call_error", "it broke"))
        elif not run.ids.state(name):
            answer = {
                "custom_id": name,
                "response": {"status_code": 200, "request_id": name, "body": {}},
                "error": None,
            }
            run.write_row(Success(Row(name, {}), answer))
            disk.note("done", name.encode())
    run.ended = True
    run.close()
    disk.note("durable")


def recover(files: Files) -> set[str]:
    """Open what a crash has left, go on to the end, and return the requests that were done."""
    disk = Remembering(files)
    run = open_run(FOLDER, disk)
    found = {name for name in "abc" if run.ids.state(name)}
    run.close()
    a_session(disk, "c")
    lines = [json.loads(each) for each in disk.files[FOLDER / "out.jsonl"].splitlines()]
    assert sorted((each["id"], each["error"] is None) for each in lines) == [("a", True), ("b", True), ("c", False)]
    return found


def test_after_a_crash_at_any_moment_each_request_has_one_line_in_the_end() -> None:
    disk, recovered = Remembering(), Recovered(recover)
    for failing in ("bc", "c"):
        a_session(disk, failing)
    states = 0
    for end in range(len(disk.log) + 1):
        for crash in crashes(disk, end):
            last = (
                end
                if crash.how == "killed"
                else max((n for n in range(end) if disk.log[n].kind == "durable"), default=0)
            )
            done = {op.data.decode() for op in disk.log[:last] if op.kind == "done"}
            assert done <= recovered(crash.files), (end, crash.how)
            states += 1
    assert states > 500


def test_the_lines_of_failed_requests_are_there_after_a_power_cut_once_the_run_has_ended() -> None:
    disk = Remembering()
    a_session(disk, "bc")
    for crash in crashes(disk, len(disk.log)):
        lines = crash.files[FOLDER / "out.jsonl"].splitlines()
        assert [json.loads(each)["id"] for each in lines] == ["a", "b", "c"], crash.how


def objects(each: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = "custom_id url body model messages prompt input stream n".split()
    return st.dictionaries(st.sampled_from(names), each)


@given(st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda each: st.lists(each) | objects(each)))
def test_any_line_is_a_request_or_one_sentence(value: Any) -> None:
    for fields in (
        value if isinstance(value, dict) else {},
        {**ask("a", "x"), "body": value},
        {"custom_id": "a", "url": value},
    ):
        with suppress(package.errors.UsageError):
            assert parse_request(fields, "m").model


SDK: dict[str, type[pydantic.BaseModel]] = {
    "chat/completions": ChatCompletion,
    "completions": Completion,
    "embeddings": CreateEmbeddingResponse,
}


def test_the_openai_sdk_takes_the_responses_for_its_own() -> None:
    many(30)
    bad = {f"bad-{n}": {**BODIES[0][1], "max_tokens": -n} for n in range(5)}
    write(*rows(Path("batch.jsonl")), *(line(name, BODIES[0][0], body) for name, body in bad.items()))
    asked = {row["custom_id"]: row for row in rows(Path("batch.jsonl"))}
    assert manycall("run-batch", "batch.jsonl", "-u", "sim:latency=0", "-o", "out.jsonl").code == 3
    for row in rows(Path("out.jsonl")):
        response, kind = row["response"], SDK[asked.pop(row["custom_id"])["url"].removeprefix("/v1/")]
        if row["custom_id"] in bad:
            assert (response["status_code"], row["error"]) == (400, None)
            ErrorObject.model_validate(response["body"]["error"], strict=True)
        else:
            kind.model_validate(response["body"], strict=True)
    assert not asked
