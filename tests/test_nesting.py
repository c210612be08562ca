"""Rows and results that are nested too deeply for Python."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.data.nesting import MAX_NESTING
from manycall.data.row_files import read_rows
from manycall.data.row_input import row_input
from manycall.errors import UsageError
from shell import manycall as command
from shell import rows


def nested(levels: int) -> Any:
    """A list with this many levels."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def text(levels: int) -> str:
    """A row that is nested so deep, as JSON."""
    return '{"id":"b","q":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 500, 985, 100_000])
@pytest.mark.parametrize(("name", "where"), [("in.jsonl", "line 2"), ("in.json", "line 2 (item 2)")])
def test_a_row_that_is_nested_too_deeply_is_reported_with_its_line(name: str, where: str, levels: int) -> None:
    first, second = '{"id":"a"}', text(levels)
    Path(name).write_text(f"{first}\n{second}\n" if name == "in.jsonl" else f"[{first},\n{second}]")
    with pytest.raises(UsageError) as caught:
        list(read_rows(Path(name)))
    assert str(caught.value) == f"{name}, {where}: nested more than 200 levels deep. Flatten it."


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 500, 100_000])
def test_a_nested_row_of_an_iterable_is_reported_with_its_number(levels: int) -> None:
    given = row_input([{"id": "a"}, {"id": "b", "q": nested(levels - 1)}], length=1)
    with pytest.raises(UsageError, match=r"row 2: nested more than 200 levels deep. Flatten it."):
        list(given.located())


def test_many_brackets_are_not_deep(tmp_path: Path) -> None:
    Path("in.jsonl").write_text(json.dumps({"id": 1, "q": [[1]] * 1000, "text": "[" * 1000}) + "\n")
    assert len(list(read_rows(Path("in.jsonl")))) == 1


def test_the_deepest_row_goes_through_every_job() -> None:
    row = json.loads(text(MAX_NESTING))

    async def echo(fields: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        return {"again": fields["q"], "text": (await llm.chat("x")).text}

    options: dict[str, Any] = {"base_url": "sim:latency=0", "model": "m", "progress": False}
    assert manycall.map(echo, [row], out="map.jsonl", **options).done == 1
    assert manycall.generate("{{ q }} {{ q|tojson }}", [row], out="g.jsonl", **options).done == 1
    assert manycall.generate(lambda fields: str(fields["q"]), [row], out="f.jsonl", **options).done == 1


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, 5000])
def test_a_result_that_is_nested_too_deeply_fails_its_row(levels: int) -> None:
    async def deep(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        within: list[Any] = []
        within.append(within)
        return {"made": within if row["id"] == "loop" else nested(levels)}

    def given() -> Iterator[dict[str, Any]]:
        yield from ({"id": name} for name in ("deep", "loop"))

    report = manycall.map(deep, given(), base_url="sim:latency=0", model="m", out="o.jsonl", progress=False)
    assert report.failed == 2
    assert "a value nested more than 200 levels deep. Flatten it." in report.top_errors[0][0]


def test_the_command_says_it_in_one_sentence() -> None:
    Path("in.jsonl").write_text('{"id":"a"}\n' + text(500) + "\n")
    ended = command("generate", "in.jsonl", "-p", "{{ id }}", "-u", "sim", "-m", "any", "-o", "out.jsonl")
    assert ended.code == 2
    assert ended.err == "manycall: in.jsonl, line 2: nested more than 200 levels deep. Flatten it.\n"
    assert not Path("out.jsonl").exists() or rows(Path("out.jsonl")) == []
