import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.ids import IdTable
from manycall.records import Row


def take(source: RowSource, known: IdTable | None = None) -> list[Row]:
    async def all_rows() -> list[Row]:
        return [row async for row in source.pending_rows(IdTable() if known is None else known)]

    return asyncio.run(all_rows())


def ids(source: RowSource, known: IdTable | None = None) -> list[str]:
    return [row.id for row in take(source, known)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_keep_their_own_ids_and_their_place(tmp_path: Path) -> None:
    source = RowSource(write(tmp_path / "r.jsonl", [{"id": "a"}, {"id": 2}, {"custom_id": "c"}]))
    assert [(row.id, row.index) for row in take(source)] == [("a", 0), ("2", 1), ("c", 2)]
    assert source.total == 3


def test_samples_are_numbered_behind_the_id() -> None:
    assert ids(RowSource([{"id": "a"}, {"id": "b"}], samples=2)) == ["a#0", "a#1", "b#0", "b#1"]


def test_a_prompt_alone_gives_numbered_rows() -> None:
    assert ids(RowSource(None, samples=3)) == ["0", "1", "2"]
    assert ids(RowSource(None)) == ["0"]
    assert take(RowSource(None))[0].fields == {"id": 0}


@given(st.lists(st.fixed_dictionaries({"q": st.integers(0, 5)}), max_size=30), st.randoms(use_true_random=False))
def test_reordering_rows_without_ids_keeps_their_names(rows: list[dict[str, int]], rng: Any) -> None:
    shuffled = list(rows)
    rng.shuffle(shuffled)
    names = ids(RowSource(rows))
    assert len(set(names)) == len(names)
    assert sorted(names) == sorted(ids(RowSource(shuffled)))


def test_equal_rows_are_numbered() -> None:
    first, second, third = ids(RowSource([{"q": 1}, {"q": 1}, {"q": 1}]))
    assert (second, third) == (f"{first}-2", f"{first}-3")
    assert ids(RowSource([{"q": 1}, {"q": 1}], samples=2)) == [
        f"{first}#0",
        f"{first}#1",
        f"{first}-2#0",
        f"{first}-2#1",
    ]


def test_finished_rows_are_passed_over_wherever_they_stand() -> None:
    known = IdTable()
    for name in ids(RowSource([{"q": 1}, {"q": 2}, {"q": 1}])):
        known.add_done(name)
    assert [row.fields for row in take(RowSource([{"q": 3}, {"q": 1}, {"q": 2}, {"q": 1}, {"q": 1}]), known)] == [
        {"q": 3},
        {"q": 1},
    ]


def test_what_lies_behind_the_limit_is_never_asked_for(tmp_path: Path) -> None:
    async def silent_after_two() -> AsyncIterator[dict[str, Any]]:
        yield {"n": 1}
        yield {"n": 2}
        raise AssertionError("asked for a third row")

    assert len(take(RowSource(silent_after_two(), limit=2))) == 2
    (tmp_path / "r.jsonl").write_text('{"n":1}\n{"n":2}\n{"n":')
    assert len(take(RowSource(tmp_path / "r.jsonl", limit=2))) == 2


def test_half_a_character_in_a_file_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('[{"n":1},\n{"n":"\\ud800"}]')
    with pytest.raises(UsageError, match="line 2"):
        RowSource(tmp_path / "r.json")


def test_limit_counts_rows_not_samples(tmp_path: Path) -> None:
    source = RowSource(write(tmp_path / "r.jsonl", [{"id": "a"}, {"id": "b"}]), samples=2, limit=1)
    assert ids(source) == ["a#0", "a#1"]
    assert source.total == 2


@pytest.mark.parametrize(
    ("rows", "samples", "limit", "total"),
    [
        (None, 5, 2, 2),
        (None, 2, 5, 2),
        (None, None, 5, 1),
        ([{"q": 1}, {"q": 2}, {"q": 3}], None, 2, 2),
        ([{"q": 1}, {"q": 2}, {"q": 3}], 4, 2, 8),
        ([{"q": 1}], 4, 2, 4),
        ("r.jsonl", None, 2, 2),
        ("r.jsonl", 4, 2, 8),
        ("r.jsonl", None, 9, 3),
    ],
)
def test_the_total_is_what_comes_under_the_limit(rows: Any, samples: int | None, limit: int, total: int) -> None:
    write(Path("r.jsonl"), [{"q": 1}, {"q": 2}, {"q": 3}])
    source = RowSource(rows, samples=samples, limit=limit)
    assert source.total == total
    assert len(take(source)) == total


def test_iterables_and_async_iterables_are_read_lazily() -> None:
    read: list[int] = []

    def endless() -> Iterator[dict[str, Any]]:
        for n in range(1_000_000_000):
            read.append(n)
            yield {"n": n}

    async def async_endless() -> AsyncIterator[dict[str, Any]]:
        for row in endless():
            yield row

    async def first_two(source: RowSource) -> None:
        rows = source.pending_rows(IdTable())
        await anext(rows)
        await anext(rows)
        await rows.aclose()  # type: ignore[attr-defined]

    for rows in (endless(), async_endless()):
        read.clear()
        source = RowSource(rows)
        assert source.total is None
        asyncio.run(first_two(source))
        assert read == [0, 1]


def test_a_broken_or_repeated_id_in_a_file_is_found_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"line 2: duplicate id 'a'"):
        RowSource(write(tmp_path / "r.jsonl", [{"id": "a"}, {"id": "a"}]))
    with pytest.raises(UsageError, match=r"line 2.*an id must be a string or an integer"):
        RowSource(write(tmp_path / "r.jsonl", [{"id": "a"}, {"id": 1.5}]))
    for long in ([{"id": "a" * 9999}] * 2, [{"id": ["a"] * 9999}]):
        with pytest.raises(UsageError) as caught:
            RowSource(write(tmp_path / "r.jsonl", long))
        assert len(str(caught.value)) < 500
    with pytest.raises(UsageError, match=r"line 1.*no field 'key'"):
        RowSource(write(tmp_path / "r.jsonl", [{"id": "a"}]), id_field="key")
    with pytest.raises(UsageError, match="contains no rows"):
        RowSource(write(tmp_path / "r.jsonl", []))


@pytest.mark.parametrize(
    ("names", "repeated"),
    [
        (["r1", "r2", "r9", "r10", "r10"], 5),
        (["r1", "r2", "r9", "r10", "r2"], 5),
        (["b", "a", "c", "d", "a"], 5),
        ([7, "b", "10", 10], 4),
        (["r1", "r10", "r2", "r9", "a", "r3"], None),
    ],
)
def test_a_repeated_id_is_found_in_any_order_of_the_ids(tmp_path: Path, names: list[Any], repeated: int | None) -> None:
    path = write(tmp_path / "r.jsonl", [{"id": name} for name in names])
    if repeated is None:
        assert RowSource(path).total == len(names)
        return
    with pytest.raises(UsageError, match=f"line {repeated}: duplicate id '{names[-1]}'"):
        RowSource(path)
    assert RowSource(path, limit=repeated - 1).total == repeated - 1


NESTED = json.loads("[" * 700 + "]" * 700)
"""Fewer levels than the JSON encoder accepts, and too many for a search with several Python frames per level."""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "a"}, {"id": "a"}], "duplicate id"),
        ([{"id": "a"}, ["b"]], "row 2: a row must be a mapping"),
        ([{"q": {1, 2, 3}.__iter__()}], "row 1, field 'q': cannot be written as JSON"),
        ([{"q": "\ud800"}], "row 1, field 'q': cannot be written as JSON"),
        ([{"deep": NESTED, "q": {None: 0}}], "row 1, field 'q': cannot be written as JSON"),
    ],
)
def test_a_bad_row_of_an_iterable_is_named_when_it_is_met(rows: list[Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        take(RowSource(rows))


@pytest.mark.parametrize("bad", [{"samples": 0}, {"limit": 0}, {"rows": 7}])
def test_senseless_arguments_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        RowSource(**{"rows": [{"id": 1}], **bad})
