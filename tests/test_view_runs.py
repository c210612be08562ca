"""The list of runs and the live data of `manycall view`: states, timelines, streams; runs that grow and start over."""

import asyncio
import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from manycall import clock
from manycall.store.lock_holder import WritingProcess
from manycall.view import run_summary
from manycall.view.listed_runs import ListedRuns
from manycall.view.run_list import RunList
from manycall.view.run_state import Progress, run_state
from manycall.view.tail import read_new_lines
from manycall.view.time_left import time_left
from manycall.view.timeline_buckets import bucket_timeline, decode_timeline, limiting_reason
from view_client import HEADERS, ViewClient
from view_runs import FINISHED, figures, json_lines, write_run

NOW = 2000.0
RUNNING = {"started_at": 1000.0, "outcome": "not finished"}


@pytest.mark.parametrize(
    ("outcome", "updated_at", "failed", "ended", "exists", "state"),
    [
        ("not finished", NOW - 1, 0, 5, True, "running"),
        ("not finished", NOW - 9, 0, 5, True, "silent"),
        ("not finished", NOW - 9, 0, 5, False, "killed"),
        ("not finished", NOW - 9, 0, 5, None, "silent"),
        ("401: the key was refused", NOW, 0, 5, False, "stopped"),
        ("finished", NOW, 2, 10, False, "partial"),
        ("finished", NOW, 0, 9, False, "partial"),
        ("finished", NOW, 0, 10, False, "finished"),
    ],
)
def test_the_state_follows_from_what_is_on_disk(
    outcome: str, updated_at: float, failed: int, ended: int, exists: bool | None, state: str
) -> None:
    session = {"started_at": 1000.0, "outcome": outcome}
    process = WritingProcess(exists, "gpu1")
    assert run_state(session, Progress(ended, failed, 10, updated_at), process, NOW).state == state


def test_a_process_that_writes_the_output_is_recognised(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out.jsonl", [], sessions=[RUNNING])
    lock = tmp_path / "out.jsonl.run" / "lock"
    with ViewClient(tmp_path) as client:
        lock.write_text(f"process {2**22 + 1} on {socket.gethostname()}\n")  # above the largest process id
        assert client.get("/api/runs")["runs"][0]["state"] == "killed"
        lock.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        assert client.get("/api/runs")["runs"][0]["state"] == "silent"
    assert out.exists()


def test_a_run_of_another_machine_is_silent_and_names_the_machine(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [], sessions=[{**RUNNING, "started_at": clock.wall_time() - 60}])
    (tmp_path / "out.jsonl.run" / "lock").write_text("process 1 on gpu1\n")
    with ViewClient(tmp_path) as client:
        run = client.get("/api/runs")["runs"][0]
    assert run["state"] == "silent"
    assert run["state_text"] == "No update for 1m00s; it runs on gpu1."
    assert run["remedy"].startswith("If its process has ended there")


def test_the_list_shows_first_what_needs_attention(tmp_path: Path) -> None:
    write_run(tmp_path / "done.jsonl", [{"id": 1}], timeline=[figures(1009.0, 1, 1)])
    write_run(tmp_path / "sub" / "key.jsonl", [], sessions=[{**FINISHED, "outcome": "401: key refused"}])
    write_run(tmp_path / ".hidden" / "x.jsonl", [])
    (tmp_path / "other.run").mkdir()
    (tmp_path / "plain.jsonl").write_bytes(json_lines([{"id": 1}]))
    sample = {"doc_id": 0, "doc": {}, "target": "1", "filtered_resps": ["1"], "resps": [["1"]], "filter": "none"}
    (tmp_path / "samples_x_2026-01-01T00-00-00.jsonl").write_bytes(json_lines([sample]))
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "done.jsonl")
    with ViewClient(tmp_path) as client:
        runs = client.get("/api/runs")["runs"]
    assert [run["name"] for run in runs[:2]] == ["sub/key.jsonl", "done.jsonl"]
    assert {run["name"]: run["kind"] for run in runs[2:]} == {
        "plain.jsonl": "file",
        "samples_x_2026-01-01T00-00-00.jsonl": "lm-eval",
    }
    assert runs[0]["state_text"] == "401: key refused"


@pytest.mark.parametrize("endpoints", [100, 1000])
def test_a_finished_run_with_many_endpoints_is_finished_in_the_list(tmp_path: Path, endpoints: int) -> None:
    urls = [f"http://10.0.{number >> 8}.{number & 255}:8000/v1" for number in range(endpoints)]
    last = figures(1009.0, 1, 1, usage=[{"endpoint": url, "calls": 7, "prompt_tokens": 7} for url in urls])
    health = [{"time": 1009.0, "health": True, "endpoint": url, "in_flight": 3} for url in urls]
    write_run(tmp_path / "out.jsonl", [{"id": 1}], timeline=[figures(1008.0, 0, 1), last, *health])
    with ViewClient(tmp_path) as client:
        (run,) = client.get("/api/runs")["runs"]
    assert (run["state"], run["ended"]) == ("finished", 1)


def test_a_timeline_without_figures_is_read_back_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_summary, "MAX_TAIL_BYTES", 4 * run_summary.LIST_TAIL_BYTES)
    event = {"time": 1005.0, "endpoint": "http://a/v1", "event": "window 8 → 16"}
    write_run(tmp_path / "out.jsonl", [{"id": 1}], timeline=[figures(1009.0, 1, 1), *[event] * 5000])
    with ViewClient(tmp_path) as client:
        (run,) = client.get("/api/runs")["runs"]
    assert run["ended"] is None


def test_a_run_is_read_again_only_if_its_files_changed(tmp_path: Path) -> None:
    out = write_run(tmp_path / "a.jsonl", [{"id": "1"}], timeline=[figures(1.0, 1, 1)])
    write_run(tmp_path / "b.jsonl", [], sessions=[RUNNING])
    runs, listed = RunList([tmp_path]), ListedRuns()
    first, again = ({run["name"]: run for run in listed.summaries(runs.scan())} for _ in range(2))
    assert again["a.jsonl"] is first["a.jsonl"]
    assert again["b.jsonl"] is not first["b.jsonl"]  # its state depends on the time
    timeline = out.with_name("a.jsonl.run") / "timeline.jsonl"
    timeline.write_bytes(json_lines([figures(2.0, 7, 9)]))
    assert {run["ended"] for run in listed.summaries(runs.scan())} == {7, None}


def test_commands_name_a_run_as_seen_from_the_folder_of_the_user(tmp_path: Path) -> None:
    out = write_run(tmp_path / "my runs" / "out.jsonl", [{"id": 1}])
    (tmp_path / "my runs" / "out.jsonl.run" / "manifest.json").write_bytes(b"{")

    def command(start: Path | None) -> str:
        (run,) = ListedRuns().summaries(RunList([out.parent], start).scan())
        assert run["remedy"] == f"manycall repair {run['argument']}"
        return str(run["argument"])

    assert command(tmp_path) == "'my runs/out.jsonl'"
    assert command(out.parent) == "out.jsonl"
    assert command(tmp_path / "elsewhere") == f"'{out}'"
    assert command(None) == "out.jsonl"  # an exported page


def test_an_id_survives_a_run_that_is_started_over(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out.jsonl", [{"id": 1}])
    with ViewClient(tmp_path) as client:
        run_id = client.run_ids()["out.jsonl"]
        out.rename(tmp_path / "out.jsonl.old")
        (tmp_path / "out.jsonl.run").rename(tmp_path / "out.jsonl.old.run")
        write_run(out, [])
        assert client.get(f"/api/runs/{run_id}")["name"] == "out.jsonl"


def test_a_damaged_manifest_is_reported_with_its_remedy(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [{"id": 1}])
    (tmp_path / "out.jsonl.run" / "manifest.json").write_bytes(b'{"settings": ')
    with ViewClient(tmp_path) as client:
        detail = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}")
    assert detail["damage"][0]["hint"] == "manycall repair out.jsonl"
    assert detail["state"] == "none"


def test_a_run_shows_health_events_and_failures(tmp_path: Path) -> None:
    health = {"time": 1005.0, "health": True, "endpoint": "http://a/v1", "in_flight": 3}
    event = {"time": 1006.0, "endpoint": "http://a/v1", "event": "window 8 → 16"}
    failure = {"id": "7", "kind": "invalid", "error": "no verdict", "row": {"text": "large"}}
    lines = [figures(1005.0, 1, 2), health, event, figures(1009.0, 2, 2, note="score 0.5")]
    write_run(tmp_path / "out.jsonl", [{"id": 1}], timeline=lines, failures=[failure])
    with ViewClient(tmp_path) as client:
        detail = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}")
    assert detail["endpoints"] == [health]
    assert detail["events"] == [event]
    assert detail["failures"][0]["error"] == "no verdict"
    assert "row" not in detail["failures"][0]
    assert detail["note"] == "score 0.5"


def test_of_the_last_five_failures_the_newest_comes_first(tmp_path: Path) -> None:
    failures = [{"id": str(n), "kind": "invalid", "error": "no verdict", "row": {}} for n in range(8)]
    write_run(tmp_path / "out.jsonl", [{"id": 1}], failures=failures)
    with ViewClient(tmp_path) as client:
        detail = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}")
    assert [each["id"] for each in detail["failures"]] == ["7", "6", "5", "4", "3"]


def test_a_timeline_becomes_columns_with_rates_of_counters() -> None:
    lines = [figures(1000.0 + n, n, 100, http_429=2 * n, limited_by="window 8") for n in range(10)]
    lines += [figures(1010.0 + n, n, 100, http_429=n, limited_by="quota 60 rpm") for n in range(10)]
    lines.append({"time": 1003.5, "endpoint": "http://a/v1", "event": "window 8 → 16"})
    columns = bucket_timeline(decode_timeline(json_lines(lines).splitlines()), None, None, 5)
    assert len(columns["time"]) == 5
    ended = columns["series"]["total_ended"]
    assert (ended["min"][0], ended["max"][0]) == (0, 3)
    assert columns["series"]["http_429_per_s"]["mean"][0] == 2.0
    assert min(value for value in columns["series"]["http_429_per_s"]["min"] if value is not None) == 0.0
    assert [each["reason"] for each in columns["limited_by"]] == ["window", "quota"]
    assert columns["events"][0]["event"] == "window 8 → 16"


def test_a_long_timeline_has_at_most_one_limiting_factor_for_each_point() -> None:
    texts = ["quota 60 rpm", *["window 8", "window 9"] * 2]
    lines = [figures(1000.0 + n, n, 9000, limited_by=texts[n % 5]) for n in range(5000)]
    lines += [figures(6000.0 + n, n, 9000, limited_by="this machine: CPU 99 %") for n in range(5000)]
    spans = bucket_timeline(decode_timeline(json_lines(lines).splitlines()), None, None, 100)["limited_by"]
    assert [(each["reason"], each["text"]) for each in spans] == [
        ("window", "window 9"), ("machine", "this machine: CPU 99 %"),
    ]  # fmt: skip
    assert (spans[0]["from"], spans[1]["to"]) == (1000.0, 10999.0)
    assert spans[0]["to"] == spans[1]["from"] == pytest.approx(6000, abs=100)


def test_latencies_come_from_the_journal_as_it_grows(tmp_path: Path) -> None:
    def calls(minute: int, *durations: float) -> list[dict[str, Any]]:
        return [
            {"id": '"at":1,"seconds":9', "at": 60.0 * minute + 1, "seconds": each, "body": ""} for each in durations
        ]

    lines = [figures(60.0 * minute + 30, 1, 9) for minute in (1, 2, 3)]
    write_run(tmp_path / "out.jsonl", [], timeline=lines, calls=calls(1, *[1.0] * 90, *[8.0] * 10))
    with ViewClient(tmp_path) as client:
        path = f"/api/runs/{client.run_ids()['out.jsonl']}/timeline"
        series = client.get(path)["series"]
        assert series["latency_p50"]["mean"] == [pytest.approx(1.0, rel=0.2), None, None]
        assert series["latency_p95"]["mean"][0] == pytest.approx(8.0, rel=0.2)
        with (tmp_path / "out.jsonl.run" / "calls.jsonl").open("ab") as file:
            file.write(json_lines(calls(3, 0.25)))
        assert client.get(path)["series"]["latency_p50"]["mean"][2] == pytest.approx(0.25, rel=0.2)


def test_a_timeline_can_be_limited_to_a_span_and_may_be_empty() -> None:
    lines = [figures(1000.0 + n, n, 100) for n in range(100)]
    columns = bucket_timeline(decode_timeline(json_lines(lines).splitlines()), 1010.0, 1019.0, 600)
    assert len(columns["time"]) == 10
    assert bucket_timeline([], None, None, 600)["time"] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("limited by this machine: CPU 100 %", "machine"), ("-j 8, server at capacity", "concurrency"),
        ("window 8, server at capacity", "server"), ("learned quota 60 rpm", "quota"), ("refusals (429)", "quota"),
        ("window 8", "window"), ("claude-judge: window 30; main: window 12", "window"), ("", "other"),
    ],
)  # fmt: skip
def test_the_limiting_factor_has_a_short_name(text: str, reason: str) -> None:
    assert limiting_reason(text) == reason


def test_the_time_left_has_a_range_and_needs_twenty_seconds() -> None:
    steady = [(float(t), 10 * t) for t in range(120)]
    left = time_left(steady, 2190)
    assert left is not None
    assert left.low == pytest.approx(100, rel=0.01) == left.seconds == pytest.approx(left.high)
    assert time_left(steady[:15], 2190) is None
    assert time_left(steady, None) is None
    slower = [(float(t), 10 * min(t, 60) + max(0, t - 60)) for t in range(120)]
    left = time_left(slower, 1000)
    assert left is not None
    assert left.low < left.seconds < left.high


def test_new_lines_are_read_from_a_cursor(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl"
    assert read_new_lines(path, "0").lines == []
    path.write_bytes(b"one\ntwo\nthr")
    first = read_new_lines(path, "0")
    assert first.lines == [b"one", b"two"]
    path.write_bytes(b"one\ntwo\nthree\n")  # the same file
    assert read_new_lines(path, first.cursor).lines == [b"three"]
    assert read_new_lines(path, first.cursor, max_bytes=1).lines == [b"three"]
    other = tmp_path / "other"
    other.write_bytes(b"another\nfile\nwhich is longer\n")
    other.replace(path)
    replaced = read_new_lines(path, first.cursor)
    assert replaced.was_replaced
    assert read_new_lines(path, replaced.cursor).lines[0] == b"another"
    assert read_new_lines(path, "5").was_replaced  # in the middle of a line
    path.unlink()
    assert read_new_lines(path, first.cursor).was_replaced


def events(pieces: Iterable[bytes]) -> list[tuple[str, Any]]:
    """Return (name, data) of server-sent events."""
    found = []
    for block in b"".join(pieces).decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_a_stream_follows_a_run_that_grows_and_starts_over(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [], sessions=[RUNNING], timeline=[figures(1.0, 1, 9)])
    timeline = tmp_path / "out.jsonl.run" / "timeline.jsonl"

    async def follow(client: ViewClient, run_id: str) -> list[tuple[str, Any]]:
        async with client.stream(f"/api/runs/{run_id}/events") as pieces:
            found = events([await pieces.get(), await pieces.get()])
            with timeline.open("ab") as file:
                file.write(json_lines([figures(2.0, 2, 9)]))
            found += events([await pieces.get()])
            timeline.with_name("new").write_bytes(json_lines([figures(3.0, 0, 9)]))
            timeline.with_name("new").replace(timeline)
            while found[-1][0] != "lines" or found[-1][1][0]["time"] != 3.0:
                found += events([await asyncio.wait_for(pieces.get(), 5)])
        return found

    with ViewClient(tmp_path) as client:
        found = asyncio.run(follow(client, client.run_ids()["out.jsonl"]))
    names = [name for name, _ in found]
    assert names[:3] == ["lines", "state", "lines"]
    assert "reset" in names
    assert found[2][1][0]["total_ended"] == 2


def test_a_stream_goes_on_after_the_last_event_that_came(tmp_path: Path) -> None:
    timeline = [figures(float(n), n, 2000, note="x" * 500) for n in range(1000)]
    write_run(tmp_path / "out.jsonl", [], timeline=timeline)

    async def first_lines(client: ViewClient, path: str) -> tuple[str, list[dict[str, Any]]]:
        """Return the id and the lines of the first event with lines."""
        async with client.stream(path) as pieces:
            while (piece := await asyncio.wait_for(pieces.get(), 5)).find(b"event: lines") < 0:
                pass
        return piece.decode().partition("\n")[0].removeprefix("id: "), events([piece])[0][1]

    with ViewClient(tmp_path) as client:
        path, cursor, seen = f"/api/runs/{client.run_ids()['out.jsonl']}/events?from=", "0", list[dict[str, Any]]()
        for _ in range(20):
            if len(seen) < len(timeline):
                cursor, lines = asyncio.run(first_lines(client, path + cursor))
                assert len(lines) < 500
                seen += lines
    assert seen == timeline


def test_a_fifth_stream_is_refused_and_closed_streams_leave_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [], timeline=[figures(1.0, 1, 9)])

    async def open_streams(client: ViewClient, path: str) -> tuple[int, int]:
        async with asyncio.timeout(10):
            streams = [client.stream(path) for _ in range(4)]
            for stream in streams:
                await (await stream.__aenter__()).get()
            refused = (await client.ask_within(path, HEADERS, "GET")).status
            for stream in streams:
                await stream.__aexit__(None, None, None)
            for _ in range(50):
                async with client.stream(path) as pieces:
                    await pieces.get()
            return refused, len(asyncio.all_tasks())

    with ViewClient(tmp_path) as client:
        path = f"/api/runs/{client.run_ids()['out.jsonl']}/events"
        assert asyncio.run(open_streams(client, path)) == (503, 1)


def test_clients_that_poll_get_the_same_lines(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [], timeline=[figures(1.0, 1, 9), figures(2.0, 2, 9)])
    with ViewClient(tmp_path) as client:
        base = f"/api/runs/{client.run_ids()['out.jsonl']}"
        first = client.get(f"{base}/lines?from=0")
        assert len(first["lines"]) == 2
        assert client.get(f"{base}/lines?from={first['cursor']}")["lines"] == []
        assert client.get(f"{base}/timeline")["cursor"] == first["cursor"]
