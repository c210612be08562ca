"""What one trains on: shapes, orders, formats, files."""

import json
import random
import re
import subprocess
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from manycall import export, generate
from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.records import Row, Success
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from shell import manycall, rows

DATASETS = Path.home() / ".cache" / "manycall-bench" / "venvs" / "datasets" / "bin" / "python"
OUT = Path("out.jsonl")
SYSTEM = "You are {{ who }}."


def finished(
    results: Iterable[tuple[Row, dict[str, Any]]],
    *,
    prompt: str | None = "About {{ topic }}",
    system: str | None = None,
    about: dict[str, Any] | None = None,
) -> Path:
    """An output, as a run leaves it."""
    identity: dict[str, Any] = {
        "job": "generate",
        "prompt": prompt,
        "system": system,
        "output_field": "text",
        "model": "m",
        "params": {},
    }
    run = RunFolder(OUT, Manifest("0", identity, about or {}))
    for row, result in results:
        run.write_row(Success(row, result))
    run.close()
    return OUT


def one(prompt: str | None = "About {{ topic }}", system: str | None = None, **fields: Any) -> Path:
    result = {"text": fields.pop("text", "Once."), "text_finish_reason": "stop"}
    return finished([(Row("a", {"topic": "tea", **fields}), result)], prompt=prompt, system=system)


USER, ANSWER = {"role": "user", "content": "About tea"}, {"role": "assistant", "content": "Once."}
BE = {"role": "system", "content": "You are Ann."}


@pytest.mark.parametrize(
    ("shape", "system", "expected"),
    [
        ("messages", None, {"messages": [USER, ANSWER]}),
        ("messages", SYSTEM, {"messages": [BE, USER, ANSWER]}),
        (
            "sharegpt",
            SYSTEM,
            {
                "conversations": [
                    {"from": "system", "value": "You are Ann."},
                    {"from": "human", "value": "About tea"},
                    {"from": "gpt", "value": "Once."},
                ]
            },
        ),
        ("alpaca", None, {"instruction": "About tea", "input": "", "output": "Once."}),
        ("alpaca", SYSTEM, {"instruction": "About tea", "input": "", "output": "Once.", "system": "You are Ann."}),
        (
            "dpo",
            None,
            {
                "prompt": [USER],
                "chosen": [{"role": "assistant", "content": "good"}],
                "rejected": [{"role": "assistant", "content": "bad"}],
            },
        ),
        (
            "rows",
            None,
            {"id": "a", "topic": "tea", "who": "Ann", "chosen": "good", "rejected": "bad"}
            | {"text": "Once.", "text_finish_reason": "stop"},
        ),
    ],
)
def test_each_shape_is_what_trainers_take(shape: str, system: str | None, expected: dict[str, Any]) -> None:
    one(system=system, who="Ann", chosen="good", rejected="bad")
    assert export(OUT, "to.jsonl", format=shape).rows == 1
    assert rows(Path("to.jsonl")) == [expected]


def test_the_prompt_may_be_in_a_field() -> None:
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}, USER]
    one(prompt=None, question="About tea", talk=talk)
    export(OUT, "to.jsonl", format="messages", prompt_field="question")
    assert rows(Path("to.jsonl")) == [{"messages": [USER, ANSWER]}]
    export(OUT, "to.jsonl", format="messages", prompt_field="talk")
    assert rows(Path("to.jsonl")) == [{"messages": [*talk, ANSWER]}]


ALPACA = {"instruction": "Translate", "input": "Good morning", "output": "Guten Morgen"}


def test_an_alpaca_set_keeps_its_input() -> None:
    one(**ALPACA)
    done = export(OUT, "to.jsonl", format="alpaca", prompt_field="instruction", text_field="output")
    assert rows(Path("to.jsonl")) == [ALPACA]
    assert done.not_written == ["id", "text", "topic"]


@pytest.mark.parametrize("shape", ["messages", "sharegpt", "alpaca", "dpo"])
def test_fields_that_a_shape_has_no_place_for_are_named_or_kept(shape: str) -> None:
    one(input="Good morning", n=7, chosen="good", rejected="bad")
    done = export(OUT, "to.jsonl", format=shape)
    assert {"id", "input", "n", "topic"} <= set(done.not_written)
    assert "| not written | " in str(done)
    done = export(OUT, "to.jsonl", format=shape, keep=["input", "n"])
    assert [(row["input"], row["n"]) for row in rows(Path("to.jsonl"))] == [("Good morning", 7)]
    assert not {"input", "n"} & set(done.not_written)


def test_rows_have_every_field_and_name_none() -> None:
    one(input="x")
    assert export(OUT, "to.jsonl").not_written == []


def test_preferences_may_be_messages() -> None:
    one(chosen=[ANSWER], rejected="bad")
    export(OUT, "to.jsonl", format="dpo")
    (row,) = rows(Path("to.jsonl"))
    assert (row["chosen"], row["rejected"]) == ([ANSWER], [{"role": "assistant", "content": "bad"}])


def test_samples_are_asked_what_their_row_was_asked() -> None:
    Path("in.jsonl").write_text('{"id":"x","topic":"tea"}\n{"id":"y","topic":"cat"}\n')
    generate(
        "{{ id }} about {{ topic }}",
        "in.jsonl",
        samples=2,
        model="m",
        base_url="sim:latency=0",
        out=OUT,
        progress=False,
    )
    export(OUT, "to.jsonl", format="alpaca", in_order=True)
    asked = [row["instruction"] for row in rows(Path("to.jsonl"))]
    assert asked == ["x about tea", "x about tea", "y about cat", "y about cat"]


@pytest.mark.parametrize(
    ("made", "options", "sentence"),
    [
        ({}, {"format": "xml"}, "Unknown format='xml'. Available formats: rows, messages, prompt-completion"),
        ({}, {"format": "dpo"}, "Row 'a' has no field 'chosen'"),
        ({"prompt": None}, {"format": "messages"}, "Name the field that holds it with prompt_field="),
        ({"prompt": "function ask 0123456789abcdef"}, {"format": "alpaca"}, "does not record the prompt"),
        (
            {},
            {"format": "messages", "prompt_field": "nothing"},
            "Row 'a' has no field 'nothing'. Its fields: id, topic, text",
        ),
        ({}, {"format": "messages", "text_field": "story"}, "Row 'a' has no field 'story'"),
        (
            {"talk": [USER, USER]},
            {"format": "alpaca", "prompt_field": "talk"},
            "is not a dialogue of questions and answers",
        ),
        (
            {"talk": [{**USER, "content": []}]},
            {"format": "sharegpt", "prompt_field": "talk"},
            "a message that is not a single text",
        ),
        (
            {"talk": [{**USER, "name": "Ann"}]},
            {"format": "alpaca", "prompt_field": "talk"},
            "a message with name. Use",
        ),
        ({}, {"format": "messages", "keep": ["nothing"]}, "Row 'a' has no field 'nothing'"),
        ({"output": "Once."}, {"format": "alpaca", "keep": ["output"]}, "writes itself. Omit keep='output'"),
        ({}, {"keep": ["topic"]}, "format='rows' writes every field. Omit keep="),
        ({}, {"shard_rows": 0}, "shard_rows= must be at least 1, got 0"),
        ({}, {"exclude": ["nowhere.jsonl"]}, "nowhere.jsonl: file not found"),
        ({}, {"in_order": True}, "did not come from a file"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_no_file(made: Any, options: Any, sentence: str) -> None:
    one(**made)
    with pytest.raises(UsageError) as told:
        export(OUT, "to.jsonl", **options)
    assert sentence in str(told.value)
    assert not Path("to.jsonl").exists()


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("to.txt", "must end in .jsonl, .csv, .parquet, .arrow"),
        ("out.jsonl", "is the output of a run and cannot be overwritten"),
        ("in.jsonl", "is an input of this command and cannot be overwritten"),
        ("rejects.jsonl", "is an input of this command and cannot be overwritten"),
    ],
)
def test_nothing_is_overwritten_that_was_paid_for(to: str, sentence: str) -> None:
    Path("in.jsonl").write_text('{"topic":"tea"}\n')
    finished([(Row("a", {"topic": "tea"}), {"text": "x"})], about=RowSource("in.jsonl").manifest_entry)
    Path("rejects.jsonl").write_text('{"id":"b"}\n')
    before = {path: path.read_bytes() for path in Path().glob("*.jsonl")}
    with pytest.raises(UsageError, match=sentence):
        export(OUT, to, exclude=["rejects.jsonl"])
    assert {path: path.read_bytes() for path in Path().glob("*.jsonl")} == before
    assert export(OUT, "to.jsonl").rows == export(OUT, "to.jsonl").rows == 1  # its own files it may replace


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("samples", [None, 3])
def test_rows_come_in_the_order_of_the_input(named: bool, samples: int | None) -> None:
    lines = [{"topic": f"t{n % 40}"} | ({"key": f"k{n}"} if named else {}) for n in range(50)]
    Path("in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = RowSource("in.jsonl", samples=samples, id_field="key" if named else None)
    ids = list(source.ids())
    assert len(set(ids)) == 50 * (samples or 1)
    mixed = random.Random(0).sample(ids, len(ids))
    finished([(Row(name, {}), {"text": name}) for name in mixed], about=source.manifest_entry)
    export(OUT, "to.jsonl", in_order=True)
    assert [row["id"] for row in rows(Path("to.jsonl"))] == ids
    Path("in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:10]))
    export(OUT, "to.jsonl", in_order=True)  # the others are not lost
    again = [row["id"] for row in rows(Path("to.jsonl"))]
    first = 10 * (samples or 1)
    assert again == [*ids[:first], *(name for name in mixed if name not in ids[:first])]


@pytest.mark.parametrize("samples", [None, 2])
def test_crossed_rows_are_in_the_place_of_their_row(samples: int | None) -> None:
    names = ["a:0123456789abcdef", "b", "c#1", "d/1", "e", *"fghijklm"]
    Path("in.jsonl").write_text("".join(json.dumps({"id": name, "t": 1}) + "\n" for name in names))
    generate(
        "{{ tone }} {{ t }}", "in.jsonl", samples=samples, grid_vars={"tone": ["sad", "funny"]}, model="m",
        base_url="sim:latency=0", out=OUT, progress=False,
    )  # fmt: skip
    lines = OUT.read_bytes().splitlines(keepends=True)
    OUT.write_bytes(b"".join(random.Random(0).sample(lines, len(lines))))
    export(OUT, "to.jsonl", in_order=True)
    told = [row["id"] for row in rows(Path("to.jsonl"))]
    assert len(set(told)) == len(names) * 2 * (samples or 1)
    assert [names.index(name) for name in (re.sub(r":[0-9a-f]{16}(#\d)?$", "", name) for name in told)] == sorted(
        [*range(len(names))] * 2 * (samples or 1)
    )


def test_crossed_rows_without_ids_have_no_order_in_the_input_and_that_is_said() -> None:
    Path("in.jsonl").write_text('{"t": 1}\n{"t": 2}\n')
    cross = {"tone": ["sad", "funny"]}
    generate(
        "{{ tone }} {{ t }}", "in.jsonl", grid_vars=cross, model="m", base_url="sim:latency=0", out=OUT, progress=False
    )
    with pytest.raises(UsageError, match="none of its ids is in the input"):
        export(OUT, "to.jsonl", in_order=True)
    assert not Path("to.jsonl").exists()


def test_the_rows_of_one_answer_are_in_the_place_of_their_row() -> None:
    """Twelve of each: so the tenth comes before the eleventh, and neither is the first."""
    names = ["train", "train/1", "test/2", *"abcdefgh"]
    Path("in.jsonl").write_text("".join(json.dumps({"id": name}) + "\n" for name in names))
    generate(
        "{{ id }}", "in.jsonl", parse=lambda row, text: [{"n": n} for n in range(12)] if row["id"] != "a" else {"n": 0},
        model="m", base_url="sim:latency=0", out=OUT, progress=False,
    )  # fmt: skip
    blocks = [list(each) for _, each in groupby(rows(OUT), lambda row: row.get("original_id", row["id"]))]
    random.Random(0).shuffle(blocks)
    OUT.write_text("".join(json.dumps(row) + "\n" for block in blocks for row in block))
    export(OUT, "to.jsonl", in_order=True)
    parts = [[f"{name}/{n}" for n in range(12)] if name != "a" else ["a"] for name in names]
    assert [row["id"] for row in rows(Path("to.jsonl"))] == [name for each in parts for name in each]


def test_samples_of_a_prompt_alone_have_an_order_too() -> None:
    generate("x", samples=30, model="m", base_url="sim:latency=0", out=OUT, progress=False)
    assert export(OUT, "to.jsonl", in_order=True).rows == 30
    assert [row["id"] for row in rows(Path("to.jsonl"))] == list(range(30))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_shards_have_the_hubs_names_and_together_all_rows(ending: str) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    finished([(Row(str(n), {"late": n} if n > 20 else {}), {"text": f"text {n}"}) for n in range(25)])
    done = export(OUT, f"data.{ending}", shard_rows=10)
    assert [str(path) for path in done.files] == [f"data-0000{n}-of-00003.{ending}" for n in range(3)]
    assert sorted(path.name for path in Path().glob("data*")) == [path.name for path in done.files]
    read = rows if ending == "jsonl" else lambda path: pq.read_table(path).to_pylist()
    parts = [read(path) for path in done.files]
    assert [len(part) for part in parts] == [10, 10, 5]
    assert [row["text"] for part in parts for row in part] == [f"text {n}" for n in range(25)]
    if ending == "parquet":
        assert len({str(pq.read_schema(path)) for path in done.files}) == 1


def test_parquet_can_store_every_value_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("manycall.dataset.arrow_table.GROUP_ROWS", 2)
    given: list[dict[str, Any]] = [
        {"n": 1, "mixed": 1, "list": [1, 2], "nested": {"a": 1}, "empty": {}, "big": 1},
        {"n": 2, "mixed": "two", "list": [], "nested": {"a": 2, "b": "x"}, "none": None},
        {"n": 2.5, "mixed": [3], "nested": None, "big": 10**30, "text": "从前"},
        {},
        {"late": True, "nested": {"b": "y"}},
    ]
    finished([(Row(str(n), fields), {"text": "从前"}) for n, fields in enumerate(given)])
    notes = export(OUT, "to.parquet").notes
    assert [note.partition(" (")[0] for note in notes] == ["mixed", "empty", "big"]
    read = pq.read_table("to.parquet").to_pylist()
    assert [row["n"] for row in read] == [1.0, 2.0, 2.5, None, None]
    assert [row["mixed"] for row in read] == ["1", "two", "[3]", None, None]
    assert [row["big"] for row in read] == ["1", None, str(10**30), None, None]
    assert [row["empty"] for row in read] == ["{}", None, None, None, None]
    assert read[1]["nested"] == {"a": 2, "b": "x"}
    assert [row["late"] for row in read] == [None, None, None, None, True]
    assert {row["text"] for row in read} == {"从前"}
    assert pq.ParquetFile("to.parquet").num_row_groups == 3


@pytest.mark.parametrize("places", [(0, 2), (2, 0), (0, 4), (4, 0), (0, 1)])
@pytest.mark.parametrize("form", [lambda n: n, lambda n: [n], lambda n: {"a": [n]}])
def test_an_integer_that_a_float_cannot_represent_is_written_exactly(
    form: Callable[[float], Any], places: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("manycall.dataset.arrow_table.GROUP_ROWS", 2)
    values: list[float] = [1] * 5
    values[places[0]], values[places[1]] = 2**60 + 1, 0.5
    given = [{"n": form(value), "other": {"id": 2**60 + 1, "x": 0.5, f"n{n}": 1}} for n, value in enumerate(values)]
    finished([(Row(str(n), fields), {"text": "x"}) for n, fields in enumerate(given)])
    (note,) = export(OUT, "to.parquet").notes
    assert note.startswith("n (")
    read = pq.read_table("to.parquet").to_pylist()
    assert [json.loads(row["n"]) for row in read] == [form(value) for value in values]
    assert {row["other"]["id"] for row in read} == {2**60 + 1}


@pytest.mark.parametrize("group", [3, 100])
def test_one_odd_row_changes_no_text_and_is_named(group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("manycall.dataset.arrow_table.GROUP_ROWS", group)
    finished([(Row(str(n), {}), {"text": 7 if n == 6 else f"text {n}"}) for n in range(10)])
    (note,) = export(OUT, "to.parquet").notes
    assert note == "text (written as text, with other values as JSON: row 7 is a number)"
    texts = pq.read_table("to.parquet").column("text").to_pylist()
    assert texts == ["7" if n == 6 else f"text {n}" for n in range(10)]


def test_memory_is_not_that_of_the_rows() -> None:
    about = {"input": "the prompt alone", "count": 20_000}
    finished([(Row(str(n), {}), {"text": f"{n} " + "x" * 1000}) for n in range(20_000)], about=about)
    peaks = {}
    for name, options in {"as it is": {}, "in order": {"in_order": True}}.items():
        tracemalloc.start()
        export(OUT, "to.jsonl", format="messages", prompt_field="id", **options)  # type: ignore[arg-type]
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert OUT.stat().st_size > 20_000_000
    assert peaks["as it is"] < 3_000_000
    assert peaks["in order"] < 3_000_000 + 65536 * 120 + 20_000 * 100


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_half_a_dataset_is_none(ending: str) -> None:
    pytest.importorskip("pyarrow")
    pairs = {"chosen": "a", "rejected": "b"}
    finished([(Row(str(n), {"topic": "tea"} | (pairs if n < 5 else {})), {"text": "x"}) for n in range(6)])
    with pytest.raises(UsageError, match="Row '5' has no field 'chosen'"):
        export(OUT, f"to.{ending}", format="dpo", shard_rows=2)
    assert not list(Path().glob("to*"))
    names = [f"to-0000{n}-of-00003.{ending}" for n in range(3)]
    for name in names:
        Path(name).write_bytes(b"an older one")
    with pytest.raises(UsageError):
        export(OUT, f"to.{ending}", format="dpo", shard_rows=2)
    assert {path.name: path.read_bytes() for path in Path().glob("to*")} == dict.fromkeys(names, b"an older one")


@pytest.mark.parametrize(
    ("before", "after", "other"),
    [
        (3, 2, "data/to-00000-of-00002.jsonl"),
        (3, None, "data/to-00000-of-00002.jsonl"),
        (None, 3, "data/to.jsonl"),
    ],
)
def test_shards_of_another_size_are_removed(before: int | None, after: int | None, other: str) -> None:
    finished([(Row(str(n), {}), {"text": "x"}) for n in range(6)])
    export(OUT, "data/to.jsonl", shard_rows=before)
    Path("data/to-2024-of-interest.jsonl").write_text("another dataset")
    there = {path: path.read_bytes() for path in Path("data").iterdir()}
    with pytest.raises(UsageError, match=f"{other} would be loaded together with the new files"):
        export(OUT, "data/to.jsonl", shard_rows=after)
    assert {path: path.read_bytes() for path in Path("data").iterdir()} == there
    assert export(OUT, "data/to.jsonl", shard_rows=before).rows == 6


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_an_output_without_rows_is_a_file_without_rows(ending: str) -> None:
    pytest.importorskip("pyarrow")
    finished([])
    done = export(OUT, f"to.{ending}", format="messages", shard_rows=2)
    assert (done.rows, [str(path) for path in done.files]) == (0, [f"to-00000-of-00001.{ending}"])
    assert done.files[0].exists()


def test_a_line_that_is_being_written_is_not_read() -> None:
    one()
    with OUT.open("ab") as file:
        file.write(b'{"id":"b","te')
    assert export(OUT, "to.jsonl").rows == 1


def test_the_command_says_what_it_wrote() -> None:
    one()
    done = manycall("export", OUT, "-o", "to.jsonl", "--format", "messages")
    assert (done.code, "| rows " in done.out, "to.jsonl" in done.out) == (0, True, True)
    done = manycall("export", "nothing.jsonl", "-o", "to.jsonl")
    assert (done.code, done.err) == (2, "manycall: nothing.jsonl: file not found.\n")


LOAD = """
import sys, datasets
datasets.disable_progress_bars()
for kind, path in (("json", "out.jsonl"), ("json", "to.jsonl"), ("parquet", "to*.parquet")):
    print(kind, datasets.load_dataset(kind, data_files=path, split="train").num_rows)
"""


@pytest.mark.skipif(not DATASETS.exists(), reason="the datasets library is not there")
def test_the_hubs_library_loads_the_output_and_what_is_made_of_it(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    finished([(Row(str(n), {"topic": "tea"}), {"text": "从前", "text_finish_reason": "stop"}) for n in range(7)])
    export(OUT, "to.jsonl", format="messages")
    export(OUT, "to.parquet", format="sharegpt", shard_rows=3)
    env = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([DATASETS, "-c", LOAD], capture_output=True, text=True, timeout=120, env=env, check=False)
    assert done.stdout.split() == ["json", "7", "json", "7", "parquet", "7"], done.stderr
