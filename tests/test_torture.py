"""The trials of `make torture`, in short: real processes, real kills, real full disks."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from torture import TRIALS, Plan
from torture.work import Output


@pytest.mark.parametrize("name", TRIALS)
def test_nothing_is_lost_and_nothing_comes_twice(name: str, tmp_path: Path) -> None:
    result = TRIALS[name](Plan(tmp_path, seed=0, kills=6, long=False))
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.violations == []
    assert result.faults == result.survived > 0


def calm(folder: Path) -> Output:
    """What a run of three rows leaves."""
    out = Output(folder / "out.jsonl")
    out.folder.mkdir()
    (out.folder / "failures.jsonl").touch()
    (out.folder / "manifest.json").write_text("{}")
    body = json.dumps({"choices": [{"message": {"content": "yes"}}]})
    out.path.write_text("".join(f'{{"id": "{n}"}}\n' for n in range(3)))
    out.journal.write_text(
        "".join(json.dumps({"id": f"{n}", "key": "k", "nth": 1, "body": body}) + "\n" for n in range(3))
    )
    return out


def append(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text() + text)


def lines(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    return lambda path: path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "1 rows lost": ("out.jsonl", lines(lambda each: each[1:])),
    "1 rows twice": ("out.jsonl", lines(lambda each: each + each[:1])),
    "1 rows that nobody asked for": ("out.jsonl", append('{"id": "3"}\n')),
    "1 calls in the journal twice": ("out.jsonl.run/calls.jsonl", lines(lambda each: each + each[:1])),
    "2 calls in the journal, not 3": ("out.jsonl.run/calls.jsonl", lines(lambda each: each[1:])),
    "1 rows still in failures.jsonl": ("out.jsonl.run/failures.jsonl", append('{"id": "1"}\n')),
    "failures.jsonl, line 1 is no JSON": ("out.jsonl.run/failures.jsonl", append('{"id": "1\n')),
    "failures.jsonl ends with half a line": ("out.jsonl.run/failures.jsonl", append('{"id"')),
    "manifest.json is no JSON": ("out.jsonl.run/manifest.json", append("}")),
}


@pytest.mark.parametrize("found", DAMAGE)
def test_the_trials_see_what_is_wrong(found: str, tmp_path: Path) -> None:
    out = calm(tmp_path)
    assert out.audit("012", calls=3, finished=3, most=3) == []
    name, damage = DAMAGE[found]
    damage(tmp_path / name)
    assert found in out.audit("012", calls=3, finished=3, most=3)


def test_the_trials_see_what_is_paid_twice(tmp_path: Path) -> None:
    assert calm(tmp_path).audit("012", calls=3, finished=5, most=4) == [
        "5 calls were finished by the server, which is more than 4"
    ]
