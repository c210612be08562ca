"""Every verb writes on a cluster what it writes in one process."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray_trials.ground import Ground, begin, end
from shell import rows, sim

COUNT = 40
FUNCTION = """\
from neighbour import QUESTION

async def three(row, llm):
    first = (await llm.chat(QUESTION + row["q"])).text
    return {"first": first, "second": (await llm.chat("More of " + first)).text}
"""
STEPS = """\
[[steps]]
generate = "Tell of {{ q }}"

[[steps]]
keep = "q != 'tale 7'"
reason = "unlucky"
"""
VOLATILE = {"created", "id", "request_id", "seconds"}
"""Fields of a reply that differ from call to call."""


def same_output(ground: Ground) -> list[str]:
    """All verbs at once, in one process and then on the cluster, which two of them find by RAY_ADDRESS."""
    with sim("--latency", "0.02", "--token-latency", "0", "--answer-key", "wordmath") as server:
        found = []
        commands = _commands(ground)
        alone = {name: _begin(words, server.url, ground.folder / f"{name}-1.jsonl") for name, words in commands.items()}
        found += [f"{name}: {each.err}" for name, process in alone.items() if (each := end(process)).code]
        before = server.stats["finished"]
        there = {}
        for number, (name, words) in enumerate(commands.items()):
            options = ("--cluster", "auto" if number < 2 else ground.nodes.address, "--processes", "2")
            out = ground.folder / f"{name}-2.jsonl"
            there[name] = _begin((*words, *options), server.url, out, RAY_ADDRESS=ground.nodes.address)
        found += [f"{name}: {each.err}" for name, process in there.items() if (each := end(process)).code]
        calls = server.stats["finished"] - before
    found += [f"{calls} calls, not {before}"] * (calls != before)
    for name in commands:
        first, second = (_lines(ground.folder / f"{name}-{number}.jsonl") for number in (1, 2))
        found += [f"{name}: the rows differ: {first[:1]} {second[:1]}"] * (first != second or not first)
    return found


def _commands(ground: Ground) -> dict[str, Sequence[str]]:
    folder = ground.folder
    questions = [{"id": f"row {n}", "q": f"tale {n}", "answer": f"answer {n}"} for n in range(COUNT)]
    batch = [
        {"custom_id": f"a-{n}", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "any", "messages": [{"role": "user", "content": f"tale {n}"}], "temperature": 0}}
        for n in range(COUNT)
    ]  # fmt: skip
    _write(folder / "in.jsonl", questions)
    _write(folder / "batch.jsonl", batch)
    (folder / "steps.toml").write_text(STEPS)
    (folder / "function.py").write_text(FUNCTION)
    (folder / "neighbour.py").write_text("QUESTION = 'Tell of '\n")
    same, source = ("-m", "any", "--temperature", "0"), str(folder / "in.jsonl")
    return {
        "generate": ("generate", "-p", "Tell of {{ q }}", source, *same),
        "eval": ("eval", "wordmath", "--limit", str(COUNT), "-m", "any"),
        "judge": ("judge", source, "--rubric", "Is {{ answer }} right?", *same),
        "steps": ("steps", str(folder / "steps.toml"), source, *same),
        "run": ("run", f"{folder}/function.py:three", source, *same),
        "run-batch": ("run-batch", str(folder / "batch.jsonl")),
    }


def _begin(words: Sequence[str], url: str, out: Path, **environment: str) -> Any:
    return begin(*words, "-u", url, "-o", str(out), "--no-progress", **environment)


def _write(path: Path, lines: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _lines(path: Path) -> list[str]:
    """Return the lines of an output, in an order of their own."""
    return sorted(json.dumps(_without_volatile(row, True), sort_keys=True) for row in rows(path))


def _without_volatile(value: Any, is_row: bool = False) -> Any:
    if isinstance(value, dict):
        kept = {name: each for name, each in value.items() if name not in VOLATILE or (is_row and name == "id")}
        return {name: _without_volatile(each) for name, each in kept.items()}
    return [_without_volatile(each) for each in value] if isinstance(value, list) else value
