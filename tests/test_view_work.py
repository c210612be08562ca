"""Slow answers of `manycall view`, from child processes; one row's prompt and calls; the addresses it listens on."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from manycall.errors import UsageError
from manycall.option_flags import spelled_as_flags
from manycall.providers import openai
from manycall.records import Request
from manycall.store.journal_line import request_hash
from manycall.view.web_server import _listeners
from view_client import ViewClient
from view_runs import write_run

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
        with out.open("a") as file:
            file.write('{"id": "7", "text": "The same.", "text_finish_reason": "stop"}\n')
        assert finished(client, f"{base}/data")["result"]["duplicates"] == 3
        refused = finished(client, f"{base}/scores")
        assert refused["state"] == "refused"
        assert "--scorer" in refused["error"]


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
