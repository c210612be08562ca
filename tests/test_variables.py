"""What is drawn, and what is crossed; and that nothing but the seed, the row and the name decides it."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall.data.row_source import RowSource
from manycall.data.variable_values import VariableSpec, parse_variable_args
from manycall.data.variables import VariableSampler, make_grid
from manycall.errors import UsageError
from manycall.ids import IdTable
from manycall.records import Row
from shell import manycall, rows

TONES = {"formal": 3, "casual": 1}


def take(source: RowSource, known: IdTable | None = None) -> list[Row]:
    async def all_rows() -> list[Row]:
        return [row async for row in source.pending_rows(IdTable() if known is None else known)]

    return asyncio.run(all_rows())


def draw_of(spec: VariableSpec, count: int = 4000, seed: int = 0) -> list[Any]:
    draw = VariableSampler({"x": spec}, seed)
    return [draw.sample(str(n), {})["x"] for n in range(count)]


def test_weights_are_kept_to() -> None:
    counts = Counter(draw_of(TONES))
    assert abs(counts["formal"] / 4000 - 0.75) < 0.03
    assert counts.keys() == {"formal", "casual"}
    assert set(draw_of({"never": 0, "always": 1})) == {"always"}


def test_several_can_be_taken_and_are_all_different() -> None:
    sizes = Counter()  # type: ignore[var-annotated]
    for taken in draw_of({"values": ["a", "b", "c"], "count": [0, 2]}):
        assert len(set(taken)) == len(taken)
        sizes[len(taken)] += 1
    assert sizes.keys() == {0, 1, 2}
    assert {len(taken) for taken in draw_of({"values": ["a", "b", "c"], "count": 3}, 20)} == {3}


def test_one_variable_may_depend_on_another_or_on_a_field() -> None:
    by_tone = {"by": "tone", "values": {"formal": ["Sir"], "casual": {"hi": 1, "yo": 1}}}
    draw = VariableSampler({"tone": TONES, "greeting": by_tone})
    seen = {(made["tone"], made["greeting"]) for made in (draw.sample(str(n), {}) for n in range(200))}
    assert seen == {("formal", "Sir"), ("casual", "hi"), ("casual", "yo")}
    assert VariableSampler({"greeting": by_tone}).sample("1", {"tone": "formal"})["greeting"] == "Sir"


@pytest.mark.parametrize(("flag", "word"), [(True, "Dear"), (False, "hi"), (None, "hm"), ("true", "Dear"), (1, "one")])
def test_the_cases_of_a_dependent_variable_are_written_as_in_json(flag: Any, word: str) -> None:
    greeting = {"by": "flag", "values": {"true": ["Dear"], "false": ["hi"], "null": ["hm"], "1": ["one"]}}
    assert VariableSampler({"greeting": greeting}).sample("1", {"flag": flag})["greeting"] == word
    drawn = VariableSampler({"flag": [flag], "greeting": greeting}).sample("1", {})
    assert drawn == {"flag": flag, "greeting": word}


@given(st.integers(0, 5), st.text(max_size=5), st.permutations(["a", "b", "c"]))
def test_what_is_drawn_depends_on_nothing_but_the_seed_the_row_and_the_name(
    seed: int, row: str, order: list[str]
) -> None:
    values = list(range(100))
    alone = {name: VariableSampler({name: values}, seed).sample(row, {})[name] for name in order}
    assert VariableSampler(dict.fromkeys(order, values), seed).sample(row, {}) == alone


def test_another_seed_another_row_and_another_name_draw_otherwise() -> None:
    values = list(range(1000))
    assert draw_of(values, 50, seed=1) != draw_of(values, 50, seed=2)
    assert len(set(draw_of(values, 50))) > 40
    made = VariableSampler({"a": values, "b": values}).sample("1", {})
    assert made["a"] != made["b"]


def test_a_resumed_run_draws_for_the_rows_that_are_left_what_it_would_have_drawn(tmp_path: Path) -> None:
    draw = VariableSampler({"x": list(range(1000))}, 7)
    whole = {row.id: row.fields for row in take(RowSource([{"id": "a"}, {"id": "b"}], samples=3, sampler=draw))}
    known = IdTable()
    for name in ("a#0", "b#2"):
        known.add_done(name)
    rest = {row.id: row.fields for row in take(RowSource([{"id": "b"}, {"id": "a"}], samples=3, sampler=draw), known)}
    assert rest == {name: fields for name, fields in whole.items() if name not in {"a#0", "b#2"}}
    assert len({fields["x"] for fields in whole.values()}) > 3  # samples of a row differ


def test_crossed_variables_without_rows_are_the_rows() -> None:
    made = take(RowSource(None, grid=make_grid({"a": [1, 2], "b": ["x", "y"]})))
    assert [row.fields for row in made] == [
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}
    ]  # fmt: skip
    assert RowSource(None, grid=make_grid({"a": [1, 2], "b": ["x", "y"]}), samples=3).total == 12


def test_rows_are_crossed_and_keep_their_names_when_values_are_added(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "q1"}\n{"q": 2}\n')
    few = take(source := RowSource(path, grid=make_grid({"a": [1, 2]})))
    more = take(RowSource(path, grid=make_grid({"a": [0, 2, 1]})))
    assert (source.total, len(few), len({row.id for row in few})) == (4, 4, 4)
    assert {row.id for row in few} < {row.id for row in more}
    assert few[0].id.startswith("q1:")


def test_all_combinations_are_never_held() -> None:
    crossing = make_grid({name: list(range(1000)) for name in "abc"})
    assert len(crossing) == 10**9
    assert crossing[1] == {"a": 0, "b": 0, "c": 1}


@pytest.mark.parametrize(
    ("specs", "said_of_it"),
    [
        ({"x": []}, "needs values"),
        ({"x": {"a": -1}}, "needs values"),
        ({"x": {"uniform": [18, 80]}}, r"The weight of 'uniform' is \[18, 80\]"),
        ({"x": {"min": 9, "max": 8}}, "whole numbers, the lower one first"),
        ({"x": {"min": 0.5, "max": 1}}, "whole numbers, the lower one first"),
        ({"x": {"max": 3}}, "'min' and 'max' must be whole numbers"),
        ({"x": [object()]}, "must be valid JSON values"),
        ({"x": "seeds.jsonl"}, "Name a field of them: seeds.jsonl:FIELD"),
        ({"x": "seeds.jsonl:q"}, "seeds.jsonl: file not found"),
        ({"y": {"min": 1, "max": 3}, "x": {"by": "y", "values": {"1": ["a"]}}}, "has no values for y = '2'"),
        ({"x": 3}, "needs values"),
        ({"x": "missing.txt"}, "file 'missing.txt' not found"),
        ({"x": {"values": ["a"], "count": 2}}, "at most 1 values"),
        ({"x": {"count": 2}}, "either 'values', or 'min' and 'max'"),
        ({"x": {"values": [1], "min": 1, "max": 2}}, "either 'values', or 'min' and 'max'"),
        ({"x": {"values": ["a"], "weights": [1]}}, "'weights'. Known keys"),
        ({"x": {"by": "y", "values": ["a"]}}, "needs a table 'values'"),
        ({"id": ["a"]}, "cannot be named 'id'"),
        ({"y": ["a", "b"], "x": {"by": "y", "values": {"a": [1]}}}, "has no values for y = 'b'"),
        ({"x": {"by": "y", "values": {"a": [1]}}, "y": ["a"]}, "must be defined before it"),
        ({"x": {"by": ["y"], "values": {"a": [1]}}, "y": ["a"]}, "'by' must be the name of a variable"),
    ],
)
def test_a_variable_without_possible_values_is_refused_at_once(specs: Any, said_of_it: str) -> None:
    with pytest.raises(UsageError, match=said_of_it):
        VariableSampler(specs)


@pytest.mark.parametrize(
    ("specs", "fields", "said_of_it"),
    [
        ({"x": {"by": "y", "values": {"a": [1]}}}, {}, "depends on 'y', which is neither"),
        ({"x": {"by": "y", "values": {"a": [1]}}}, {"y": "b"}, "has no values for y = 'b'"),
        ({"x": [1]}, {"x": 2}, "already has a field 'x'"),
    ],
)
def test_a_row_without_possible_values_is_reported(specs: Any, fields: dict[str, Any], said_of_it: str) -> None:
    with pytest.raises(UsageError, match=said_of_it):
        VariableSampler(specs).sample("r", fields)


def test_a_file_is_looked_through_for_such_rows_before_any_call(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"y": "a"}\n{"y": "b"}\n')
    with pytest.raises(UsageError, match="has no values for y = 'b'"):
        RowSource(path, sampler=VariableSampler({"x": {"by": "y", "values": {"a": [1]}}}))


def test_whole_numbers_may_be_drawn_from_a_range_with_both_its_ends() -> None:
    assert set(draw_of({"min": 18, "max": 21})) == {18, 19, 20, 21} == set(draw_of(range(18, 22)))
    assert all(len(set(taken)) == 2 for taken in draw_of({"min": 1, "max": 10**9, "count": 2}, 20))
    assert list(make_grid({"level": {"min": 1, "max": 3}})) == [{"level": 1}, {"level": 2}, {"level": 3}]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seeds.jsonl", '{"q": "tea"}\n{"q": "rain"}\n'),
        ("seeds.json", '[{"q": "tea"}, {"q": "rain"}]'),
        ("seeds.csv", "q,n\ntea,1\nrain,2\n"),
    ],
)
def test_a_field_of_the_rows_of_a_file_is_drawn_from(name: str, text: str) -> None:
    """So one round's output is the next round's seeds."""
    Path(name).write_text(text)
    assert set(draw_of(parse_variable_args([f"x={name}:q"])["x"])) == {"tea", "rain"}
    assert set(draw_of({"values": f"{name}:q", "count": 2}, 1)[0]) == {"tea", "rain"}
    with pytest.raises(UsageError, match=r"(line|item) .*no field 'r'\. Its fields: q"):
        VariableSampler({"x": f"{name}:r"})


def test_a_line_of_a_file_ends_at_a_newline_and_nowhere_else() -> None:
    Path("t.txt").write_bytes("a\u2028b\x0cc\r\n\nd".encode())
    assert set(draw_of("t.txt")) == {"a\u2028b\x0cc", "d"}


@pytest.mark.parametrize("spec", [["tea", "rain", "tea"], "topics.txt", [{"a": 1, "b": 2}, {"b": 2, "a": 1}]])
def test_a_crossed_value_that_stands_twice_is_refused_for_it_would_name_two_rows_alike(spec: Any) -> None:
    Path("topics.txt").write_text("tea\nrain\ntea\n")
    with pytest.raises(UsageError, match=r"Variable 'topic' has .* twice"):
        make_grid({"topic": spec})


def test_a_repeated_grid_value_is_refused_before_any_call() -> None:
    Path("topics.txt").write_text("tea\nrain\ntea\n")
    Path("r.jsonl").write_text('{"id": "r1", "q": "x"}\n{"id": "r2", "q": "y"}\n')
    ended = manycall(
        "generate", "-p", "{{q}} {{topic}}", "r.jsonl", "--grid-var", "topic=topics.txt", "-u", "sim", "-m", "m",
        "-o", "o.jsonl",
    )  # fmt: skip
    assert (ended.code, "'tea' twice" in ended.err, Path("o.jsonl").exists()) == (2, True, False)


def test_the_command_line_takes_lists_and_files(tmp_path: Path) -> None:
    Path("t.toml").write_text('tone = {formal = 3}\nwords = {values = ["a", "b"], count = 2}\n')
    assert parse_variable_args(["x=a,b", "y=f.txt", "t.toml"]) == {
        "x": ["a", "b"], "y": "f.txt", "tone": {"formal": 3}, "words": {"values": ["a", "b"], "count": 2}
    }  # fmt: skip
    assert parse_variable_args(["x=f.jsonl:q"]) == {"x": "f.jsonl:q"}
    for bad in (
        "x",
        "=a",
        "x=",
        "other.toml",
        "x=a,,b",
        'x={"from": [1, 2]}',
        "x=[1,2]",
        "x=t.toml",
        "x=易，难",
        "x=易、难",
    ):
        with pytest.raises(UsageError):
            parse_variable_args([bad])
    for twice in (["x=a", "x=b"], ["t.toml", "tone=a"]):
        with pytest.raises(UsageError, match="defined twice"):
            parse_variable_args(twice)


def test_the_same_seed_asks_the_same_and_another_list_is_another_run() -> None:
    Path("topics.txt").write_text("tea\nrain\n\nfog\n")
    words = ("generate", "-p", "{{ topic }} {{ mood }}", "--random-var", "topic=topics.txt", "-u", "sim:latency=0")
    tail = ("-m", "any", "-n", "40", "--random-var")
    prompts = []
    for out, seed in (("a.jsonl", "5"), ("b.jsonl", "5"), ("c.jsonl", "6")):
        assert manycall(*words, *tail, "mood=sad,glad", "--seed", seed, "-o", out).code == 0
        prompts.append({row["id"]: (row["topic"], row["mood"]) for row in rows(Path(out))})
    assert prompts[0] == prompts[1] != prompts[2]
    assert {topic for topic, _ in prompts[0].values()} == {"tea", "rain", "fog"}
    for mood, seed in (("mood=sad,glad", "7"), ("mood=sad,mad", "5")):
        refused = manycall(*words, *tail, mood, "--seed", seed, "-o", "a.jsonl")
        assert (refused.code, "random" in refused.err) == (2, True)
    manifest = json.loads(Path("a.jsonl.run/manifest.json").read_text())
    assert manifest["settings"]["random_vars"]["seed"] == 5
