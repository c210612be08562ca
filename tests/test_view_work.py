"""Slow answers of `manycall view`, from child processes; one row's prompt and calls; the addresses it listens on."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from manycall.errors import UsageError
from manycall.option_flags import spelled_as_flags
from manycall.providers import openai
from manycall.records import Request
from manycall.store.journal_line import request_hash
from manycall.view import background_work
from manycall.view.background_work import _Child, _start
from manycall.view.serve import THREADS
from manycall.view.tail import FileStamps
from manycall.view.web_server import _listeners
from view_client import HEADERS, ViewClient
from view_runs import json_lines, write_run

PROMPT = "Write about {{ topic }}."
MESSAGES = [{"role": "user", "content": "Write about tea."}]
KEY = request_hash("chat", openai.encode(Request("chat", "m", MESSAGES, {"max_tokens": 9})))
CALL = {
    "id": "a#1", "key": KEY, "nth": 1, "at": 5.0, "seconds": 1.5, "attempts": 2, "waited": 3.5, "statuses": [429],
    "body": '{"usage":{"prompt_tokens":4,"completion_tokens":2},"choices":[{"finish_reason":"length"}]}',
}  # fmt: skip
ROW = {"id": "a#1", "topic": "tea", "text": "Tea.", "text_finish_reason": "stop"}
SETTINGS = {"prompt": PROMPT, "params": {"max_tokens": 9}}


def finished(client: ViewClient, path: str) -> Any:
    for _ in range(600):
        reply = client.get(path)
        if reply["state"] != "working":
            return reply
        time.sleep(0.05)
    raise AssertionError("The work did not end.")


def test_the_calls_of_a_row_are_found_in_the_journal(tmp_path: Path) -> None:
    other = {**CALL, "id": 'x"{"id":"a#1",'}
    write_run(tmp_path / "out.jsonl", [ROW], settings=SETTINGS, calls=[other, CALL, other])
    with ViewClient(tmp_path) as client:
        found = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}/rows/0/calls")
    (call,) = found["calls"]
    assert found["complete"]
    assert (call["n"], call["attempts"], call["waited"], call["statuses"]) == (1, 2, 3.5, [429])
    assert (call["finish_reason"], call["prompt_tokens"], call["completion_tokens"]) == ("length", 4, 2)


def test_calls_in_a_segment_of_a_worker_have_no_line_in_the_journal(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out.jsonl", [ROW], settings=SETTINGS, calls=[{**CALL, "id": "other"}, CALL])
    segment = out.with_name("out.jsonl.run") / "segments" / "000001"
    segment.mkdir(parents=True)
    (segment / "calls.jsonl").write_bytes(json_lines([{**CALL, "at": 9.0}]))
    with ViewClient(tmp_path) as client:
        calls = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}/rows/0/calls")["calls"]
    assert [(call["at"], call["n"]) for call in calls] == [(5.0, 1), (9.0, None)]


def test_a_prompt_is_known_if_a_journaled_call_has_its_hash(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [ROW, {**ROW, "topic": "milk"}], settings=SETTINGS, calls=[CALL])
    with ViewClient(tmp_path) as client:
        base = f"/api/runs/{client.run_ids()['out.jsonl']}/rows"
        assert client.get(f"{base}/0/prompt") == {
            "known": True,
            "messages": MESSAGES,
            "note": "The hash equals that of a journaled call: this is exactly what was sent.",
        }
        assert not client.get(f"{base}/1/prompt")["known"]


@pytest.mark.parametrize(
    "prompt", ["{% for i in range(10**9) %}{{ i }}{% endfor %}", "{{ ''.__class__ }}", "secret.txt"]
)
def test_a_hostile_template_ends_and_reads_no_file(
    tmp_path: Path, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("a secret")
    write_run(tmp_path / "out.jsonl", [ROW], settings={**SETTINGS, "prompt": prompt})
    with ViewClient(tmp_path) as client:
        found = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}/rows/0/prompt")
    assert found["messages"] is None
    assert "a secret" not in found["note"]


def test_slow_answers_are_those_of_the_commands_or_their_refusals(tmp_path: Path) -> None:
    rows = [{**ROW, "id": str(n), "text": "The same." if n % 2 else f"Text {n}."} for n in range(6)]
    out = write_run(tmp_path / "out.jsonl", rows, settings=SETTINGS, rejected=[{"id": "9", "reason": "judge: bad"}])
    with ViewClient(tmp_path) as client:
        base = f"/api/runs/{client.run_ids()['out.jsonl']}"
        data = finished(client, f"{base}/data")
        assert data["result"]["duplicates"] == 2
        assert data["result"]["groups"] == [{"n": [1, 3, 5], "count": 3, "text": "The same."}]
        assert data["result"]["rejects"] == [{"reason": "judge", "count": 1}]
        assert client.get(f"{base}/data") == data  # kept
        append(out)
        assert finished(client, f"{base}/data")["result"]["duplicates"] == 3
        refused = finished(client, f"{base}/scores")
        assert refused["state"] == "refused"
        assert "--scorer" in refused["error"]


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write('{"id": "7", "text": "The same.", "text_finish_reason": "stop"}\n')


def test_a_client_that_waits_gets_an_answer_while_the_run_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, started = write_run(tmp_path / "out.jsonl", [ROW], settings=SETTINGS), list[bytes]()

    def write_and_start(key: bytes, stamp: FileStamps) -> _Child:
        started.append(key)
        append(out)
        return _start(key, stamp)

    monkeypatch.setattr(background_work, "_start", write_and_start)
    with ViewClient(tmp_path) as client:
        path = f"/api/runs/{client.run_ids()['out.jsonl']}/data"
        first = finished(client, path)
        assert (first["state"], first["is_older"], first["result"]["rows"]) == ("done", True, 2)
        assert len(started) == 1
        assert finished(client, path)["result"]["rows"] == 3  # a later request starts the work again
        assert len(started) == 2


def test_an_older_answer_is_not_kept_for_a_client_that_comes_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_work, "AWAITED_SECONDS", 0.0)
    out = write_run(tmp_path / "out.jsonl", [ROW], settings=SETTINGS)
    with ViewClient(tmp_path) as client:
        path = f"/api/runs/{client.run_ids()['out.jsonl']}/data"
        assert client.get(path)["state"] == "working"
        append(out)
        found = finished(client, path)
    assert ("is_older" in found, found["result"]["rows"]) == (False, 2)


def test_the_server_listens_on_loopback_only() -> None:
    listeners = _listeners(0)
    try:
        assert {listener.getsockname()[0] for listener in listeners} <= {"127.0.0.1", "::1"}
        with spelled_as_flags(), pytest.raises(UsageError, match="Choose another --port"):
            _listeners(listeners[0].getsockname()[1])
    finally:
        for listener in listeners:
            listener.close()
    assert socket.has_ipv6 or len(listeners) == 1


async def settled(is_so: Callable[[], bool]) -> None:
    """Wait until something is so, for at most five seconds."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.005)


async def open_and_close_tabs(client: ViewClient, paths: list[str], tabs: int) -> tuple[int, int, int]:
    """Serve real sockets. Return how many connections, tasks and streams are left after all clients have gone."""
    server = uvicorn.Server(uvicorn.Config(client.app, log_level="critical", lifespan="off", ws="none"))
    connections, streams = server.server_state.connections, client.routes.context.streams
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await settled(lambda: server.started)
        before = len(asyncio.all_tasks())
        for _ in range(tabs):
            opened = [await asyncio.open_connection(*listener.getsockname()) for _ in paths]
            for path, (reader, writer) in zip(paths, opened, strict=True):
                writer.write(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
                assert b" 200 " in await reader.readline()
            for _, writer in opened:
                writer.transport.abort()
            await settled(lambda: not streams.open)
        await settled(lambda: not connections and len(asyncio.all_tasks()) == before)
        left = len(connections), len(asyncio.all_tasks()) - before, streams.open
        server.should_exit = True
        await serving
    return left


def test_fifty_tabs_that_are_opened_and_closed_leave_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [ROW] * 3, timeline=[{"time": 1.0, "total_ended": 1}])

    def view_threads() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name.startswith(("view_", "index of"))]

    with ViewClient(tmp_path) as client:
        base = f"/api/runs/{client.run_ids()['out.jsonl']}"
        paths = ["/", "/static/main.js", "/api/runs", f"{base}/rows", f"{base}/events"]
        assert asyncio.run(open_and_close_tabs(client, paths, 50)) == (0, 0, 0)
        assert view_threads().count("index of out.jsonl") == 1
        assert len(view_threads()) <= 1 + THREADS
    assert view_threads() == []
