"""A driver that runs every kind of job in one process and on a cluster, and compares the rows."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import manycall
from manycall.cli.user_code import load_function
from manycall.cluster import driver
from manycall.steps import Generate, Keep
from shell import rows

COUNT = 40
FUNCTION = """\
from neighbour import QUESTION

async def twice(row, llm):
    first = (await llm.chat(QUESTION + row["q"])).text
    return {"first": first, "second": (await llm.chat("More of " + first)).text}
"""
VOLATILE = {"created", "id", "request_id"}
"""Fields of a reply that differ from call to call."""


async def once(row: dict[str, Any], llm: Any) -> dict[str, str]:
    """A function that exists in this process only."""
    return {"text": (await llm.chat("Tell of " + row["q"])).text}


def questions() -> Iterator[dict[str, Any]]:
    """Yield rows, as `iter_rows` of a Ray Dataset does."""
    for number in range(COUNT):
        yield {"id": f"row {number}", "q": f"tale {number}", "answer": f"answer {number}"}


def jobs(folder: Path) -> dict[str, Callable[..., Any]]:
    """Return each kind of job, as a function of its options."""
    (folder / "function.py").write_text(FUNCTION)
    (folder / "neighbour.py").write_text("QUESTION = 'Tell of '\n")
    source, batch = folder / "in.jsonl", folder / "batch.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in questions()))
    batch.write_text("".join(json.dumps(_batch_line(row["q"])) + "\n" for row in questions()))
    function = load_function(f"{folder}/function.py:twice")
    steps = [Generate("Tell of {{ q }}"), Keep("q != 'tale 7'")]
    same: dict[str, Any] = {"temperature": 0.0}
    return {
        "generate": lambda **options: manycall.generate("Tell of {{ q }}", source, **same, **options),
        "eval": lambda **options: manycall.evaluate("wordmath", limit=COUNT, **options),
        "judge": lambda **options: manycall.judge(source, "Is {{ answer }} right?", **same, **options),
        "steps": lambda **options: manycall.run_steps(steps, source, **same, **options),
        "run": lambda **options: manycall.map(function, source, **same, **options),
        "map": lambda **options: manycall.map(once, questions(), **same, **options),
        "run-batch": lambda **options: manycall.run_batch(batch, **options),
    }


def _batch_line(question: str) -> dict[str, Any]:
    body = {"model": "any", "messages": [{"role": "user", "content": question}], "temperature": 0}
    return {"custom_id": question, "method": "POST", "url": "/v1/chat/completions", "body": body}


def lines(path: Path) -> list[str]:
    """Return the lines of an output, in an order of their own."""
    return sorted(json.dumps(_without_volatile(row) | {"id": row["id"]}, sort_keys=True) for row in rows(path))


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_volatile(each) for name, each in value.items() if name not in VOLATILE}
    return [_without_volatile(each) for each in value] if isinstance(value, list) else value


def compared(alone: Path, there: Path) -> list[str]:
    """Return what differs between two outputs, in their rows and in the number of their calls."""
    calls = [len(rows(path.with_name(f"{path.name}.run") / "calls.jsonl")) for path in (alone, there)]
    found = [f"{there.name}: the rows differ"] * (lines(alone) != lines(there) or not lines(alone))
    return found + [f"{there.name}: {calls[1]} calls, not {calls[0]}"] * (calls[0] != calls[1])


def main(url: str, address: str, folder: Path) -> int:
    """Run all jobs both ways, and print what differs."""
    found = []
    options: dict[str, Any] = {"base_url": url, "model": "any", "progress": False}
    cluster = {"cluster": address, "processes": 2}
    here = jobs(folder)
    for name, job in here.items():
        job(out=folder / f"{name}-1.jsonl", **options)
        job(out=folder / f"{name}-2.jsonl", **options, **cluster)
        found += compared(folder / f"{name}-1.jsonl", folder / f"{name}-2.jsonl")
    vars(driver)["mark_of"] = lambda folder, number: None  # as if the workers did not see the run folder
    here["generate"](out=folder / "sent.jsonl", **options, **cluster)
    found += compared(folder / "generate-1.jsonl", folder / "sent.jsonl")
    print("; ".join(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
