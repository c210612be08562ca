"""The three jobs as Python calls, on real sockets."""

import asyncio
import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import manycall
import manycall.steps
from manycall.results import RunResult
from shell import sim

QUESTIONS = [{"q": n} for n in range(3)]
OPTIONS: dict[str, Any] = {"model": "any", "progress": False}


def test_generate_map_and_evaluate_return_what_came_out() -> None:
    with sim("--latency", "0") as endpoint:
        options = {**OPTIONS, "base_url": endpoint.url}
        report = manycall.generate("About {{ t }}", [{"t": "tea"}, {"t": "茶"}], samples=2, out="g.jsonl", **options)
        assert (report.done, report.failed, report.total_rows) == (4, 0, 4)
        assert {row["t"] for row in report.rows()} == {"tea", "茶"}

        async def double(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
            return {"two": [(await llm.chat(row["t"])).text for _ in range(2)]}

        report = manycall.map(double, [{"t": "x", "id": 7}], out="m.jsonl", **options)
        (row,) = report.rows()
        assert (row["id"], len(row["two"])) == (7, 2)
    result = manycall.evaluate("wordmath", limit=40, base_url="sim:latency=0,accuracy=1", out="e.jsonl", **OPTIONS)
    assert result.score("strict-match").value == 1.0
    assert manycall.score("e.jsonl").scores == result.scores
    assert "Expected score from the simulated endpoint: 40 of 40 correct" in str(result)


def test_the_jobs_work_inside_a_running_loop() -> None:
    async def notebook() -> int:
        return manycall.generate("x", samples=3, base_url="sim", out="g.jsonl", **OPTIONS).done

    assert asyncio.run(notebook()) == 3


def test_a_task_of_ones_own_is_a_value() -> None:
    task = manycall.Task(
        name="parity",
        rows=[{"question": str(n), "answer": "odd" if n % 2 else "even"} for n in range(10)],
        prompt="{{ question }}",
        extract=lambda text: "odd",
        scorer=lambda answer, target: answer == target,
    )
    with sim("--latency", "0") as endpoint:
        assert manycall.evaluate(task, base_url=endpoint.url, out="e.jsonl", **OPTIONS).scores[0].value == 0.5


def test_a_run_that_stops_raises_one_sentence() -> None:
    with pytest.raises(manycall.errors.RunStopped, match=r"127\.0\.0\.1:1/v1: connection failed"):
        manycall.generate("x", base_url="http://127.0.0.1:1", out="g.jsonl", **OPTIONS)
    with pytest.raises(manycall.errors.UsageError, match="must be an async function"):
        manycall.map(print, [{"a": 1}], base_url="sim", out="m.jsonl", **OPTIONS)  # type: ignore[arg-type]
    with pytest.raises(manycall.errors.UsageError, match="the field 'x', which"):
        manycall.generate("{{ x }}", [{"y": 1}], base_url="sim", out="g.jsonl", **OPTIONS)
    with pytest.raises(TypeError, match="temprature"):
        manycall.generate("x", base_url="sim", out="g.jsonl", temprature=0.2, **OPTIONS)  # type: ignore[call-arg]
    with pytest.raises(manycall.errors.UsageError, match="Missing model"):
        manycall.generate("x", base_url="sim", out="g.jsonl")


def test_memory_does_not_grow_with_the_rows() -> None:
    """20,000 rows with a kilobyte each would be 20 MB if they were kept."""
    peaks: list[int] = []

    def rows() -> Iterator[dict[str, Any]]:
        for n in range(20_000):
            if n in (5_000, 19_999):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
            yield {"n": n, "ballast": "x" * 1000}

    with sim("--latency", "0", "--token-latency", "0", "--tokens", "10") as endpoint:
        report = manycall.generate("{{ n }}", rows(), base_url=endpoint.url, out="g.jsonl", **OPTIONS)
    assert report.done == 20_000
    assert (peaks[1] - peaks[0]) / 1024 < 8


def truncated_steps(count: int) -> RunResult:
    step = manycall.steps.Generate("x {{ q }}", params={"max_tokens": 5})
    return manycall.run_steps([step], QUESTIONS[:count], base_url="sim:latency=0", out="o.jsonl", **OPTIONS)


def truncated_choices(count: int) -> RunResult:
    params = {"n": 2, "max_tokens": 5}
    options = {**OPTIONS, "base_url": "sim:latency=0", "params": params}
    return manycall.generate("x {{ q }}", QUESTIONS[:count], out="o.jsonl", **options)


def truncated_batch(count: int) -> RunResult:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    lines = [{"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(3)]
    Path("b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manycall.run_batch("b.jsonl", limit=count, base_url="sim:latency=0", out="o.jsonl", progress=False)


@pytest.mark.parametrize("run", [truncated_steps, truncated_choices, truncated_batch])
def test_truncated_rows_of_earlier_sessions_are_counted(run: Callable[[int], RunResult]) -> None:
    assert [(result.done, result.truncated) for result in map(run, (1, 3, 3))] == [(1, 1), (3, 3), (3, 3)]


def test_the_timeline_and_the_manifest_say_what_happened() -> None:
    manycall.generate("x", samples=30, concurrency=5, base_url="sim:latency=0.25", out="g.jsonl", **OPTIONS)
    folder = Path("g.jsonl.run")
    import msgspec

    lines = [msgspec.json.decode(line) for line in (folder / "timeline.jsonl").read_bytes().splitlines()]
    events = [line for line in lines if "done" in line]  # the others describe an endpoint
    assert [event["done"] for event in events] == sorted(event["done"] for event in events)
    assert (events[-1]["done"], events[-1]["window"]) == (30, 5)
    (session,) = msgspec.json.decode((folder / "manifest.json").read_bytes())["sessions"]
    assert (session["outcome"], session["done"], session["calls"]) == ("finished", 30, 30)


class ZMQInteractiveShell:
    """What rich takes for a notebook: a class of this name."""


def test_a_result_is_text_in_a_notebook_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = manycall.results.RunResult(job="generate", out=Path("<b>.jsonl"), total_rows=1, done=1, failed=0)
    as_text = str(report)
    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    assert str(report) == as_text
    print(report)
    assert capsys.readouterr().out == as_text + "\n"
    assert "1 of 1 done" in as_text
    assert "&lt;b&gt;.jsonl" in report._repr_html_()


@pytest.mark.parametrize("name", manycall.results.__all__)
def test_every_public_result_shows_itself_in_a_notebook(name: str) -> None:
    assert hasattr(getattr(manycall.results, name), "_repr_html_")


def test_a_client_opens_with_its_first_call_and_again_after_it_was_closed() -> None:
    async def calls() -> list[str]:
        llm = manycall.Client("m", base_url="sim")
        before = (await llm.chat("hi")).text
        async with llm:
            inside = (await llm.chat("hi")).text
        after = (await llm.chat("hi")).text
        await llm.aclose()
        return [before, inside, after]

    assert all(asyncio.run(calls()))
