"""Data frames, tables and values of other libraries as rows, with the real libraries (the extra `frames`)."""

import datetime
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import manycall
from manycall.data.row_source import RowSource
from manycall.testing import MemoryTransport, run_virtual

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

NAN = float("nan")
DAY = datetime.datetime.fromisoformat("2024-01-01T09:30:00")


async def keep(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
    return {"kept": True}


def written(rows: Any, function: Any = keep) -> list[dict[str, Any]]:
    """Return what `map` writes for these rows, in the order of the input, without ids."""

    async def main() -> manycall.results.RunResult:
        llm = manycall.Client("m", base_url="http://s/v1", transport=MemoryTransport(lambda body: "fine"))
        return await llm.map(function, rows, out="out.jsonl", overwrite=True, progress=False)

    result = run_virtual(main())
    assert result.failed == 0, result.top_errors
    return [{name: row[name] for name in row if name not in ("id", "kept")} for row in result.rows()]


def test_cells_of_pandas_are_written_as_json() -> None:
    frame = pd.DataFrame(
        {
            "q": ["tea", None],
            "n": [1, 2],
            "x": [1.5, NAN],
            "time": [pd.Timestamp(DAY), pd.NaT],
            "level": pd.Categorical(["A1", "B2"]),
            "whole": pd.array([1, None], dtype="Int64"),
            "flag": [True, False],
            "nested": [np.array([1.0, NAN]), {"z": np.int64(3)}],
        }
    )
    assert written(frame) == [
        {"q": "tea", "n": 1, "x": 1.5, "time": "2024-01-01T09:30:00", "level": "A1", "whole": 1, "flag": True,
         "nested": [1.0, None]},
        {"q": None, "n": 2, "x": None, "time": None, "level": "B2", "whole": None, "flag": False, "nested": {"z": 3}},
    ]  # fmt: skip


def test_cells_of_polars_are_written_as_json() -> None:
    frame = pl.DataFrame(
        {
            "q": ["tea", None],
            "x": [1.5, NAN],
            "time": [DAY, None],
            "nested": [[1, 2], [3]],
            "record": [{"a": 1}, {"a": None}],
            "price": pl.Series([Decimal("1.10"), None]),
        }
    )
    assert written(frame) == [
        {"q": "tea", "x": 1.5, "time": "2024-01-01T09:30:00", "nested": [1, 2], "record": {"a": 1}, "price": "1.10"},
        {"q": None, "x": None, "time": None, "nested": [3], "record": {"a": None}, "price": None},
    ]


@pytest.mark.parametrize("make", [pa.table, pa.RecordBatch.from_pydict])
def test_cells_of_arrow_are_written_as_json(make: Callable[[Any], Any]) -> None:
    table = make({"q": ["tea", None], "x": [1.5, NAN], "time": [DAY, None], "nested": [[1, 2], [3]]})
    assert written(table) == [
        {"q": "tea", "x": 1.5, "time": "2024-01-01T09:30:00", "nested": [1, 2]},
        {"q": None, "x": None, "time": None, "nested": [3]},
    ]


def test_an_arrow_table_is_converted_in_batches() -> None:
    table = pa.concat_tables([pa.table({"n": range(start, start + 700)}) for start in range(0, 2800, 700)])
    rows = RowSource(table)._input.rows
    assert [row["n"] for row in rows] == list(range(2800))  # type: ignore[union-attr]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, pa.RecordBatch.from_pydict])
def test_the_length_and_the_first_row_are_known_in_advance(make: Callable[[Any], Any]) -> None:
    source = RowSource(make({"topic": ["tea", "rain"], "n": [1, 2]}), samples=2)
    assert source.total == 4
    assert source.first_row is not None
    assert source.first_row["topic"] == "tea"
    assert source.checksum().startswith("2 rows, checksum ")


def test_a_named_index_of_pandas_is_a_field_and_an_unnamed_one_is_not() -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "n": [1, 2]})
    assert written(frame.set_index("name")) == [{"name": "a", "n": 1}, {"name": "b", "n": 2}]
    assert written(frame.set_index("name", drop=False)) == [{"name": "a", "n": 1}, {"name": "b", "n": 2}]
    assert written(frame[frame.n > 1]) == [{"name": "b", "n": 2}]


def test_numpy_values_dates_and_paths_in_mappings_are_written_as_json() -> None:
    row = {
        "small": np.float32(1.5), "grid": np.array([[1, 2]]), "flag": np.bool_(True), "text": np.str_("s"),
        "day": np.datetime64("2024-01-01"), "no_day": np.datetime64("NaT"), "missing": np.float64("nan"),
        "date": datetime.date(2024, 1, 1), "image": Path("a.png"),
    }  # fmt: skip
    assert written([row]) == [
        {"small": 1.5, "grid": [[1, 2]], "flag": True, "text": "s", "day": "2024-01-01", "no_day": None,
         "missing": None, "date": "2024-01-01", "image": "a.png"},
    ]  # fmt: skip


def test_a_row_function_may_return_numpy_values() -> None:
    async def count(row: dict[str, Any], llm: manycall.LLM) -> dict[str, Any]:
        return {"count": np.int64(7), "vector": np.array([0.5, 1.0]), "at": pd.Timestamp(DAY), "none": pd.NA}

    assert written([{"q": 1}], count) == [
        {"q": 1, "count": 7, "vector": [0.5, 1.0], "at": "2024-01-01T09:30:00", "none": None}
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1 + 2j, "a value of type complex has no JSON form"),
        (object(), "a value of type object has no JSON form"),
        (pd.Period("2024-01"), "a value of type Period has no JSON form"),
        (np.inf, "infinity is not a JSON number"),
        ([np.float32(1), -np.inf], "infinity is not a JSON number"),
        (np.array([np.inf]), "infinity is not a JSON number"),
    ],
)
def test_a_cell_without_a_json_form_is_refused_with_its_row_and_column(value: Any, reason: str) -> None:
    frame = pd.DataFrame({"q": ["tea", "rain"], "bad": pd.Series([None, value], dtype=object)})
    with pytest.raises(manycall.errors.UsageError, match=f"row 2, field 'bad': cannot be written as JSON: {reason}"):
        written(frame)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (pl.DataFrame({"q": ["tea"]}).lazy(), r"a polars LazyFrame. Collect it first: rows.collect\(\)"),
        (pl.Series(["tea"]), "a polars Series. It is one column"),
        (pd.Series(["tea"]), "a pandas Series. It is one column"),
        (pa.array(["tea"]), "a pyarrow Array. It is one column"),
        (pa.chunked_array([["tea"]]), "a pyarrow ChunkedArray. It is one column"),
        (np.array([[1, 2]]), "a numpy ndarray. An array has no field names"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns named 'a'"),
        (pa.table([[1], [2]], names=["a", "a"]), "several columns named 'a'"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels of column names"),
        ({"q": ["tea"]}, "a list of mappings, not one mapping"),
        (["tea"], r"not str. For example: \[\{'text': text\} for text in rows\]"),
    ],
)
def test_what_has_no_rows_with_field_names_is_refused_with_advice(rows: Any, sentence: str) -> None:
    with pytest.raises(manycall.errors.UsageError, match=sentence):
        written(rows)


def test_results_become_data_frames() -> None:
    written(pd.DataFrame({"q": ["tea"], "n": [1]}))
    result = manycall.results.RunResult(job="map", out=Path("out.jsonl"), total_rows=1, done=1, failed=0)
    assert result.to_pandas().to_dict("records") == [msgspec.json.decode(Path("out.jsonl").read_bytes())]
    assert result.to_polars().to_dicts() == list(result)


def test_a_missing_library_is_named_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    result = manycall.results.RunResult(job="map", out=Path("out.jsonl"), total_rows=1, done=1, failed=0)
    for library in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(manycall.errors.UsageError, match=f"needs {library}.* pip install {library}"):
            getattr(result, f"to_{library}")()
