"""The keys of every file in a run folder and of every `--json` are those that docs/files.md lists."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shell import manycall as command

PAGE = Path(__file__).parents[1] / "docs" / "files.md"
SIM = ("-m", "m", "-u", "sim:latency=0,token_latency=0")
OUTPUT_SECTION = "Output of generate and steps"  # its fields have the names of options and of the row's own fields
FILE_SECTIONS = ("manifest.json", "failures.jsonl", "rejected.jsonl", "calls.jsonl", "timeline.jsonl")
ROWS = ({"id": "a", "topic": "tea"}, {"id": "b", "topic": "milk"}, {"id": "c"})  # the prompt does not fit row c
STEPS = """
[[steps]]
generate = "Write about {{ topic }}."
[[steps]]
keep = "topic == 'tea'"
"""


def documented() -> dict[str, set[str]]:
    """Return the fields in the first column of each section's table, by the title of the section."""
    sections = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        cells = re.findall(r"^\| (`[^|]+) \|", text, re.M)
        if cells and title != OUTPUT_SECTION:  # a section without a table describes no fields
            sections[title] = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    return sections


def fields(value: Any, known: set[str], prefix: str = "") -> Iterator[str]:
    """Yield the names of the fields, down to the level that the documentation describes."""
    nested = [name for name in known if prefix and name.startswith((prefix, f"{prefix[:-1]}[]."))]
    if isinstance(value, dict) and (nested or not prefix):
        for name, each in value.items():
            yield from fields(each, known, f"{prefix}{name}.")
    elif isinstance(value, list) and nested:
        for each in value:
            yield from fields(each, known, f"{prefix[:-1]}[].")
    elif not (nested and value is None):
        yield prefix[:-1]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def printed(*words: str | Path) -> Any:
    return json.loads(command(*words, "--json").out)


def work() -> dict[str, list[Any]]:
    """Run every command that prints JSON, and return what it printed by the title of the section."""
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    Path("steps.toml").write_text(STEPS)
    generate = ("generate", "-p", "Write about {{ topic }}.", "rows.jsonl", *SIM)
    evaluate = ("eval", "wordmath", "--limit", "4", "-n", "2", *SIM)
    judge = ("judge", "e.jsonl", *SIM, "-n", "2", "--rubric")
    runs = [printed(*generate, "-o", "g.jsonl"), printed(*generate, "-o", "d.jsonl", "--dry-run")]
    runs.append(printed("steps", "steps.toml", "rows.jsonl", *SIM, "-o", "s.jsonl"))
    evals = [printed(*evaluate, "-o", "e.jsonl"), printed("score", "e.jsonl", "--group-by", "answer")]
    printed(*evaluate[:-1], f"{SIM[-1]},accuracy=0", "-o", "wrong.jsonl")
    evals.append(printed("score", "wrong.jsonl"))
    pair = "Which is better? {{ first.response }} {{ second.response }}"
    return {
        "Results of generate, steps, run, run-batch and embed": runs,
        "Results of eval and score": evals,
        "Results of judge": [
            printed(*judge, "Rate {{ response }}", "-o", "j.jsonl"),
            printed(*judge, pair, "--against", "wrong.jsonl", "-o", "p.jsonl"),
        ],
        "Results of compare": [printed("compare", "e.jsonl", "wrong.jsonl")],
        "Results of check-data": [
            printed("check-data", "g.jsonl", "--benchmark", "rows.jsonl", "--flagged", "f.jsonl")
        ],
        "Results of export": [printed("export", "g.jsonl", "-o", "x.jsonl")],
        "Results of dataset-card": [printed("dataset-card", "g.jsonl")],
    }


def found(values: Iterable[Any], known: set[str]) -> set[str]:
    return {name for value in values for name in fields(value, known)}


def test_the_fields_of_all_files_and_results_are_documented() -> None:
    tables = documented()
    results = work()
    assert set(tables) == {*FILE_SECTIONS, *results}
    for title, values in results.items():
        assert (title, found(values, tables[title])) == (title, tables[title])
    folder = Path("g.jsonl.run")
    assert (
        found([json.loads((folder / "manifest.json").read_text())], tables["manifest.json"]) == tables["manifest.json"]
    )
    for name in ("failures.jsonl", "calls.jsonl"):
        assert (name, found(lines(folder / name), tables[name])) == (name, tables[name])
    timeline = found(lines(folder / "timeline.jsonl"), tables["timeline.jsonl"])
    assert timeline | {"endpoint", "event", "worker"} == tables["timeline.jsonl"]  # a run may have no event, no workers
    (rejected,) = lines(Path("s.jsonl.run/rejected.jsonl"))
    assert tables["rejected.jsonl"] < rejected.keys()


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"a": 1, "b": {"c": 2}}, {"a", "b.c"}),
        ({"a": 1, "b": {"c": 2, "new": 3}}, {"a", "b.c", "b.new"}),
        ({"a": {"free": 1}, "b": None}, {"a"}),
        ({"a": [{"free": 1}], "l": [{"d": 1}, {"e": 1}]}, {"a", "l[].d", "l[].e"}),
    ],
)
def test_only_what_is_described_in_parts_is_compared_in_parts(value: Any, names: set[str]) -> None:
    assert set(fields(value, {"a", "b.c", "l[].d"})) == names
