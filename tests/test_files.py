import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from manycall.data import json_array, row_files
from manycall.errors import UsageError

ROWS = [{"id": "a", "topic": "тигр"}, {"id": "b", "topic": "老虎", "n": 3}]


def fields(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in row_files.read_rows(path)]


@pytest.mark.parametrize(
    "text",
    [
        '{"id":"a","topic":"тигр"}\n{"id":"b","topic":"老虎","n":3}\n',
        '{"id":"a","topic":"тигр"}\r\n\r\n{"id":"b","topic":"老虎","n":3}',
        '\ufeff{"id":"a","topic":"тигр"}\n{"id":"b","topic":"老虎","n":3}\n',
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2, ensure_ascii=False),
        "\ufeff \n" + json.dumps(ROWS),
    ],
)
def test_json_lines_and_arrays_are_distinguished_by_their_beginning(tmp_path: Path, text: str) -> None:
    for name in ("rows.json", "rows.jsonl", "rows.txt"):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        assert fields(tmp_path / name) == ROWS


def test_csv_tsv_and_parquet_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('\ufeffid,topic\na,"x, ""y""\nz"\nb,\n', encoding="utf-8")
    assert fields(tmp_path / "r.csv") == [{"id": "a", "topic": 'x, "y"\nz'}, {"id": "b", "topic": ""}]
    (tmp_path / "r.tsv").write_text("id\ttopic\na\tx,y\n")
    assert fields(tmp_path / "r.tsv") == [{"id": "a", "topic": "x,y"}]
    parquet.write_table(pyarrow.table({"id": ["a", "b"], "n": [1, 2]}), tmp_path / "r.parquet")
    assert fields(tmp_path / "r.parquet") == [{"id": "a", "n": 1}, {"id": "b", "n": 2}]


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=4), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
        )
    ),
    st.integers(1, 7),
    st.sampled_from([None, 1]),
)
def test_an_array_is_the_same_for_every_chunk_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], chunk: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("chunks") / "rows.json"
    path.write_text(json.dumps(rows, indent=indent), encoding="utf-8")
    usual, json_array.CHUNK_CHARACTERS = json_array.CHUNK_CHARACTERS, chunk
    try:
        assert fields(path) == rows
    finally:
        json_array.CHUNK_CHARACTERS = usual


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("r.jsonl", b'{"a":1}\n' * 6 + b'{"a":\n', "line 7"),
        ("r.jsonl", b'{"a":1}\n[1]\n', "line 2"),
        ("r.jsonl", b'{"a":1}\n{"a":NaN}\n', "line 2"),
        ("r.jsonl", b'{"a":"\xff"}\n', "line 1"),
        ("r.jsonl", b'{"a":' + b"[" * 100_000 + b"\n", "line 1"),
        ("r.jsonl", b'{"a":' + b"[" * 500 + b"9" * 5000 + b"]" * 500 + b"}", "line 1"),
        ("r.json", b'[{"a":1},\n{"a":}]', "line 2 (item 2)"),
        ("r.json", b'[{"a":1},\n{"a":2}', "line 2 (item 3)"),
        ("r.json", b'[{"a":1}\n,3]', "line 2 (item 2)"),
        ("r.json", b'[{"a":NaN}]', "line 1 (item 1)"),
        ("r.json", b'[{"a":1e999}]', "line 1 (item 1)"),
        ("r.jsonl", b'{"a":1e999}\n', "line 1"),
        ("r.json", b'[{"a":1} {"a":2}]', "line 1 (item 2)"),
        ("r.json", b'[{"a":1}] {"a":2}', "line 1"),
        ("r.csv", b"a,b\n1,2\n1\n", "line 3"),
        ("r.csv", b"a,a\n1,2\n", "line 1"),
        ("r.csv", b'a,b\n1,"2\n', "line 2"),
        ("r.csv", b"a\n" + b"x\n" * 10_000 + b"\xff\n", "line 10002: not UTF-8"),
        ("r.jsonl", '{"a":"茶"}\n'.encode("gb18030"), "line 1: not UTF-8: invalid start byte. Convert the file, "),
        ("r.json", b'[{"a":1},\n' + b" \n" * 10_000 + b'{"a":"\xff"}]', "line 10002: not UTF-8"),
        ("r.json", b'[{"id":"a"},\n{"id":"\\ud800"}]', "line 2 (item 2)"),
        ("r.json", b'[{"id":"a","n":1' + b"0" * 5000 + b"}]", "line 1 (item 1)"),
        ("r.parquet", b"no parquet", "r.parquet"),
        ("r.parquet", b"PAR1" + bytes(200) + b"\x20\0\0\0PAR1", "r.parquet"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, name: str, text: bytes, where: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(UsageError) as caught:
        fields(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_missing_file_and_a_folder_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="file not found"):
        fields(tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match="is a folder"):
        fields(tmp_path)


def test_a_large_array_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "CHUNK_CHARACTERS", 1000)
    path = tmp_path / "rows.json"
    path.write_text("[" + ",".join('{"a":"' + "x" * 80 + '"}' for _ in range(2000)) + "]")
    with path.open() as file:
        rows = row_files.read_rows(path)
        next(rows)
        file.seek(0, 2)
        assert file.tell() > 100_000
    rows.close()  # type: ignore[attr-defined]


def test_a_broken_item_is_said_without_reading_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"a":1}, {"a":}, ' + '{"a":1}, ' * 2_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="item 2"):
            fields(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * json_array.CHUNK_CHARACTERS
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "place"), [('\ufeff\n{"n":1}\n \n{"n":2}\n', (22, 4)), ('\ufeff[{"n":1},{"n":2}]', (0, 0))]
)
def test_a_place_in_a_file_with_a_byte_order_mark_and_blank_lines_is_known_only_for_lines(
    tmp_path: Path, text: str, place: tuple[int, int]
) -> None:
    path, cursor = tmp_path / "r.json", row_files.LineCursor()
    path.write_text(text, encoding="utf-8")
    assert [fields for _, fields in row_files.read_rows(path, cursor=cursor)] == [{"n": 1}, {"n": 2}]
    assert (cursor.offset, cursor.line) == place
