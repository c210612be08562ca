"""The rows of `manycall view`: pages, filters, order, search, counts, one row. The files may grow and be damaged."""

import io
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from manycall.view import row_index
from manycall.view.column_table import ColumnTable
from manycall.view.line_offsets import LineOffsets
from manycall.view.query_turns import QueryTurns
from manycall.view.replies import ViewRefused
from manycall.view.row_index import FIRST_LINES, RowIndex
from manycall.view.text_search import json_spellings
from manycall.view.where import parse_filter
from view_client import ViewClient
from view_runs import json_lines, write_run

EVAL = {"job": "eval gsm8k", "output_field": None}
ROWS: list[dict[str, Any]] = [
    {"id": "a/1", "question": "Two and two?", "answer": "4", "response": "It is 4.", "extracted": {"strict": "4"},
     "score": {"strict": 1.0}, "finish_reason": "stop"},
    {"id": "b#<2>", "question": "Ähnlich 中文", "answer": "5", "response": "A HYPERBOLA, so 6. " + "x" * 400,
     "extracted": {"strict": "6"}, "score": {"strict": 0.0}, "finish_reason": "length"},
    {"id": "c", "question": "hyperbola?", "answer": "7", "response": "", "extracted": {"strict": "[invalid]"},
     "score": {"strict": 0.0}, "finish_reason": "stop", "topic": None},
]  # fmt: skip


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_run(tmp_path / "out.jsonl", ROWS, settings=EVAL)


@pytest.fixture
def client(out: Path) -> Iterator[ViewClient]:
    with ViewClient(out.parent) as client:
        yield client


def rows(client: ViewClient, name: str = "out.jsonl", **query: Any) -> dict[str, Any]:
    """Return a page of rows once everything is indexed and searched."""
    path = f"/api/runs/{client.run_ids()[name]}/rows?{urlencode(query)}"
    for _ in range(1000):
        page: dict[str, Any] = client.get(path)
        if page["complete"] and (page["search"] is None or page["search"]["complete"]):
            return page
    raise AssertionError("The index was not completed.")


def ids(client: ViewClient, **query: Any) -> list[Any]:
    return [row["id"] for row in rows(client, **query)["rows"]]


def test_a_page_has_flat_cells_and_cut_texts(client: ViewClient) -> None:
    page = rows(client)
    assert [row["id"] for row in page["rows"]] == ["a/1", "b#<2>", "c"]
    second = page["rows"][1]
    assert second["cells"]["score.strict"] == 0.0
    assert len(second["cells"]["response"]) == 200
    assert second["lengths"] == {"response": len(ROWS[1]["response"])}
    assert page["total"] == 3
    assert page["counted"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", ["a/1", "b#<2>", "c"]),
        ("score.strict = 0", ["b#<2>", "c"]),
        ("score.strict < 1 and ending = length", ["b#<2>"]),
        ("ending = length or answer = 4", ["a/1", "b#<2>"]),
        ("not (ending = length)", ["a/1", "c"]),
        ("ending != length", ["a/1", "c"]),
        ("answer.len > 100", ["b#<2>"]),
        ("answer.len = 0", ["c"]),
        ("topic = null", ["a/1", "b#<2>", "c"]),
        ('id = "b#<2>"', ["b#<2>"]),
        ("id ~ B#", ["b#<2>"]),
        ("finish_reason ~ TOP", ["a/1", "c"]),
        ('"hyperbola"', ["b#<2>", "c"]),
        ('question ~ "hyperbola"', ["c"]),
        ('"hyperbola" and score.strict = 0 and ending = stop', ["c"]),
        ('answer = "x\' or 1=1 --"', []),
    ],
)
def test_a_filter_selects_rows(client: ViewClient, where: str, expected: list[str]) -> None:
    assert ids(client, where=where) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("score.strict =", "Expected a value after '=' at character 15."),
        ("and", "Expected a field or a quoted text at character 1."),
        ("(ending = stop", "Expected ')' at character 15."),
        ("ending = stop)", "Unexpected ')' at character 14."),
        ("ending", "Expected a comparison after 'ending' at character 7."),
        ('"open', "Unexpected character, or a text without its closing quote, at character 1."),
        ("(" * 60, "The filter is nested too deeply."),
        ("a " * 600, "Expected a comparison after 'a' at character 3."),
    ],
)
def test_a_filter_that_is_not_valid_is_refused_with_the_place(where: str, message: str) -> None:
    with pytest.raises(ViewRefused, match=r".") as refused:
        parse_filter(where)
    assert str(refused.value) in (message, "The filter is too long.")


def test_an_unknown_column_is_refused_with_the_names_that_exist(client: ViewClient) -> None:
    run_id = client.run_ids()["out.jsonl"]
    response = client.ask(f"/api/runs/{run_id}/rows?where=nothing+%3D+1")
    assert response.status == 400
    assert "score.strict" in response.json["hint"]


def test_rows_are_sorted_with_missing_values_last(client: ViewClient) -> None:
    assert ids(client, sort="-answer.len") == ["b#<2>", "a/1", "c"]
    assert ids(client, sort="answer", offset=1, limit=1) == ["b#<2>"]
    assert ids(client, sort="-question") == ["b#<2>", "c", "a/1"]  # added to the index on first use


def test_numbers_in_texts_are_sorted_as_numbers_before_other_texts(tmp_path: Path) -> None:
    read = ["9", "18", "[invalid]", "-7", "1,800", "$9.50", None, "a2"]
    write_run(tmp_path / "out.jsonl", [{"id": str(each), "extracted": {"strict": each}} for each in read])
    with ViewClient(tmp_path) as client:
        assert ids(client, sort="extracted.strict") == ["-7", "9", "$9.50", "18", "1,800", "[invalid]", "a2", "None"]
        assert ids(client, sort="-extracted.strict") == ["1,800", "18", "$9.50", "9", "-7", "a2", "[invalid]", "None"]


def test_a_stored_order_gives_the_same_pages_as_a_query(tmp_path: Path) -> None:
    values = [{"id": n, "text": "x" * (n * 7 % 101)} for n in range(3000)]
    write_run(tmp_path / "out.jsonl", values)
    with ViewClient(tmp_path) as client:
        rows(client)
        deep = rows(client, sort="-answer.len", offset=2000, limit=500)  # beyond what a query with LIMIT finds
        expected = sorted(range(3000), key=lambda n: (-(n * 7 % 101), n))
        assert [row["n"] for row in deep["rows"]] == expected[2000:2500]
        assert [row["n"] for row in rows(client, sort="-answer.len", limit=500)["rows"]] == expected[:500]


@pytest.mark.parametrize("needle", ["hyperbola", "ähnlich", "ÄHNLICH", "中文", "so 6"])
def test_a_search_ignores_case_and_finds_other_alphabets(client: ViewClient, needle: str) -> None:
    assert "b#<2>" in ids(client, q=needle)


def test_a_search_finds_no_keys_and_no_other_fields(client: ViewClient) -> None:
    assert ids(client, q="response") == []
    assert ids(client, q="hyperbola", qfield="question") == ["c"]


def test_a_search_finds_what_other_programs_escape(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text(json.dumps({"text": "Ünïcode"}, ensure_ascii=True) + "\n")
    with ViewClient(tmp_path / "other.jsonl") as client:
        assert rows(client, "other.jsonl", q="ünïcode")["total"] == 1
    assert b"\\u00e4" in json_spellings("Ä")


def test_a_streamed_search_ends_with_the_total(client: ViewClient) -> None:
    run_id = client.run_ids()["out.jsonl"]
    last = client.ask(f"/api/runs/{run_id}/search?q=hyperbola").body.splitlines()[-1]
    assert json.loads(last) == {"hits": [1, 2], "scanned": 1.0, "complete": True, "total": 2}


def test_a_line_that_is_written_between_two_reads_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id"')

    class File(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer)
            if not count and path.stat().st_size < 20:
                path.write_bytes(b'{"id": 1}\n{"id": 2}\n')
            return count or 0

    class FilePath(type(path)):  # type: ignore[misc]
        def open(self, mode: str, buffering: int) -> Any:
            return io.BufferedReader(File(self), buffering)

    lines = LineOffsets(FilePath(path))
    while not lines.is_current:
        lines.extend()
    assert lines.lines(0, 9) == [b'{"id": 1}', b'{"id": 2}']
    lines.close()


def test_a_growing_file_shows_complete_lines_only(out: Path, client: ViewClient) -> None:
    assert rows(client, where="score.strict = 0")["total"] == 2
    line = json_lines([{**ROWS[1], "id": "d"}])
    with out.open("ab") as file:
        file.write(line[:40])
        file.flush()
        assert len(client.get(f"/api/runs/{client.run_ids()['out.jsonl']}/rows")["rows"]) == 3
        file.write(line[40:])
    assert ids(client, where="score.strict = 0") == ["b#<2>", "c", "d"]
    assert ids(client, q="hyperbola") == ["b#<2>", "c", "d"]


def test_a_run_that_is_started_over_shows_its_new_rows(out: Path, client: ViewClient) -> None:
    assert rows(client)["total"] == 3
    out.rename(out.with_name("out.jsonl.old"))
    out.write_bytes(json_lines([{"id": "new"}]))
    assert ids(client) == ["new"]


def test_an_output_without_rows_yet_is_empty(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out.jsonl", [])
    with ViewClient(tmp_path) as client:
        assert rows(client)["rows"] == []
        out.unlink()
        assert rows(client)["total"] == 0


def test_a_damaged_line_is_a_row_that_says_where(tmp_path: Path) -> None:
    good = json_lines([{"id": "1", "text": "a"}])
    write_run(tmp_path / "out.jsonl", [])
    (tmp_path / "out.jsonl").write_bytes(good + b'{"id": "2", \xff\xfe\n' + b"[1, 2, 3]\n\n" + good)
    with ViewClient(tmp_path) as client:
        page = rows(client)
        run_id = client.run_ids()["out.jsonl"]
        assert [row.get("damaged_at") for row in page["rows"]] == [None, len(good), len(good) + 15, None]
        assert client.ask(f"/api/runs/{run_id}/rows/1/about").status == 422
        assert client.ask(f"/api/runs/{run_id}/rows/1").body == b'{"id": "2", \xff\xfe'
        assert rows(client, where="answer.len = 1")["total"] == 2


def test_values_that_do_not_fit_are_shown(tmp_path: Path) -> None:
    values = (
        b'{"id": 1, "big": 123456789012345678901234567890, "odd": NaN, "s": "\\ud800", "deep": {"a": [1, {"b": 2}]}}\n'
    )
    (tmp_path / "other.jsonl").write_bytes(values * 2)
    with ViewClient(tmp_path / "other.jsonl") as client:
        cells = rows(client, "other.jsonl")["rows"][0]["cells"]
    assert cells["big"] == "123456789012345678901234567890"
    assert cells["deep.a"] == '[1, {"b": 2}]'


def test_a_field_with_the_name_of_a_built_in_column_is_that_field(tmp_path: Path) -> None:
    """Line numbers have no name: a field `n` in few rows would have been mistaken for them."""
    values = [
        {"custom_id": f"q{k}", "id": k % 2, "n": 100 - k, "ending": "late", "flipped": "no", "answer": {"len": k},
         "last_text": "x", "finish_reason": ("length", "stop")[k % 2]}
        for k in range(5)
    ]  # fmt: skip
    write_run(tmp_path / "out.jsonl", values)
    with ViewClient(tmp_path) as client:
        found = {
            where: [row["n"] for row in rows(client, where=where)["rows"]]
            for where in ("n = 96", "id = 1", "ending = late", "answer.len = 3", "finish_reason = length")
        }
        assert [row["n"] for row in rows(client, sort="n")["rows"]] == [4, 3, 2, 1, 0]
        base = f"/api/runs/{client.run_ids()['out.jsonl']}"
        assert client.get(f"{base}/histogram?field=n")["edges"][0] == 96
        quick = {each["name"]: each["count"] for each in client.get(f"{base}/columns")["quick"]}
    assert found == {
        "n = 96": [4], "id = 1": [1, 3], "ending = late": [0, 1, 2, 3, 4], "answer.len = 3": [3],
        "finish_reason = length": [0, 2, 4],
    }  # fmt: skip
    assert quick["truncated"] == 3


def test_counts_of_values_and_intervals(client: ViewClient) -> None:
    rows(client)
    base = f"/api/runs/{client.run_ids()['out.jsonl']}"
    facets = client.get(f"{base}/facets?field=ending")
    assert facets["values"] == [{"value": "stop", "count": 2}, {"value": "length", "count": 1}]
    histogram = client.get(f"{base}/histogram?field=score.strict&where={quote('ending = stop')}")
    assert histogram["counts"] == [1, 1]
    assert histogram["edges"] == [0.0, 1.0, 2.0]


def test_a_row_is_returned_byte_for_byte_and_in_parts(tmp_path: Path) -> None:
    line = json.dumps({"id": "1", "text": "y" * (3 << 20)}).encode()
    write_run(tmp_path / "out.jsonl", [])
    (tmp_path / "out.jsonl").write_bytes(line + b"\n")
    with ViewClient(tmp_path) as client:
        path = f"/api/runs/{client.run_ids()['out.jsonl']}/rows/0"
        first = client.ask(path)
        assert int(first.headers["x-total-bytes"]) == len(line)
        rest = b"".join(client.ask(f"{path}?from={at}").body for at in range(1 << 20, len(line), 1 << 20))
        assert first.body + rest == line
        assert len(json.dumps(rows(client))) < 2000


def test_the_filters_for_buttons_are_counted(client: ViewClient) -> None:
    rows(client)
    columns = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}/columns")
    counts = {each["name"]: each["count"] for each in columns["quick"]}
    rows(client)
    assert counts == {"all": 3, "wrong": 2, "truncated": 1, "unread": 1} | {"failed": counts["failed"], "rejected": 0}
    roles = {each["role"]: each["name"] for each in columns["columns"] if each["role"]}
    assert (roles["question"], roles["answer"], roles["target"]) == ("question", "response", "answer")


def test_matching_rows_are_saved_unchanged(out: Path, client: ViewClient) -> None:
    rows(client)
    response = client.ask(f"/api/runs/{client.run_ids()['out.jsonl']}/export?where={quote('score.strict = 0')}")
    assert response.body.splitlines() == out.read_bytes().splitlines()[1:]
    assert response.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("query", ["where=kind = a&sort=-text", "q=hello&sort=-id"])
def test_all_matching_rows_are_saved_while_the_file_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(row_index, "BATCH_LINES", 50)
    saved = [{"id": str(n), "kind": "a", "text": "hello"} for n in range(2 * FIRST_LINES)]
    (tmp_path / "plain.jsonl").write_bytes(json_lines(saved))
    with ViewClient(tmp_path) as client:
        response = client.ask(f"/api/runs/{client.run_ids()['plain.jsonl']}/export?{quote(query, safe='=&')}")
    assert sorted(response.body.splitlines()) == sorted(json_lines(saved).splitlines())


def test_an_index_that_cannot_be_built_is_an_error_for_pages_and_saved_rows(
    client: ViewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert(*arguments: Any) -> None:
        threading.Event().wait(0.05)  # after the request that has opened the index
        raise sqlite3.OperationalError("database or disk is full")

    base = f"/api/runs/{client.run_ids()['out.jsonl']}"
    with monkeypatch.context() as patch:
        patch.setattr(ColumnTable, "insert", insert)
        for path in (f"{base}/rows", f"{base}/export?where={quote('score.strict = 0')}"):
            client.ask(f"{base}/rows")  # opens the index
            while any(thread.name == "index of out.jsonl" for thread in threading.enumerate()):
                threading.Event().wait(0.001)
            response = client.ask(path)
            assert (response.status, "disk is full" in response.body.decode()) == (500, True)
    client.ask(f"{base}/rows")  # may be the error of the last thread, which is reported once
    assert rows(client, where="score.strict = 0")["total"] == 2


def test_a_files_of_rows_is_only_read(out: Path, client: ViewClient) -> None:
    def state() -> dict[Path, tuple[bytes, int]]:
        files = [path for path in out.parent.rglob("*") if path.is_file()]
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    before = state()
    base = f"/api/runs/{client.run_ids()['out.jsonl']}"
    rows(client, where='"hyperbola"', sort="question")
    for path in ("", "/timeline", "/lines", "/columns", "/rows/0/about", "/rows/0/calls", "/file/calls"):
        assert client.ask(base + path).status == 200
    assert state() == before


def compared(client: ViewClient, **query: Any) -> Any:
    ids = client.run_ids()
    runs = f"{ids['out.jsonl']},{ids['other.jsonl']}"
    for _ in range(1000):
        reply = client.get(f"/api/compare/rows?{urlencode({'runs': runs, **query})}")
        if reply["complete"]:
            return reply
    raise AssertionError("The indexes were not completed.")


def test_two_runs_are_compared_row_by_row(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", ROWS, settings=EVAL)
    others = [
        {**ROWS[1], "score": {"strict": 1.0}, "response": "A hyperbola, so 5."},
        ROWS[0],
        {**ROWS[2], "id": "new"},
    ]
    write_run(tmp_path / "other.jsonl", others, settings=EVAL)
    with ViewClient(tmp_path) as client:
        won = compared(client)
        assert won["counts"] == {
            "differ": 1, "won": 1, "lost": 0,
            "both_right": 1, "both_wrong": 0, "same": 0, "only_first": 1, "only_other": 1,
        }  # fmt: skip
        assert (won["rows"][0]["id"], won["rows"][0]["n"], won["rows"][0]["scores"]) == ("b#<2>", [1, 0], [0.0, 1.0])
        assert compared(client, side="differ")["rows"] == won["rows"]
        assert compared(client, side="only_other")["rows"][0]["answers"] == [None, ""]
        ids = client.run_ids()
        path = f"/api/compare/difference?runs={ids['out.jsonl']},{ids['other.jsonl']}&n=1,0"
        difference = client.get(path)["difference"]
        assert ["-", "HYPERBOLA"] in difference
        assert "".join(text for mark, text in difference if mark != "-") == others[0]["response"]


@pytest.mark.parametrize("row_id", ["7", 'a"b', "a\\b", "a\nb", "ä", "a/b"])
def test_the_failure_of_a_row_is_found_by_any_id(tmp_path: Path, row_id: str) -> None:
    failure = {"kind": "invalid", "error": "no verdict", "row": {}}
    failures = [{"id": row_id, **failure}, {"id": "other", **failure}]
    write_run(tmp_path / "out.jsonl", [{"id": "1"}], failures=failures)
    with ViewClient(tmp_path) as client:
        found = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}/rows/0/about?file=failures")
    assert found["failure"]["id"] == row_id


def test_a_question_that_only_one_run_has_can_be_opened(tmp_path: Path) -> None:
    for name, kept in (("out.jsonl", ROWS), ("other.jsonl", ROWS[:1])):
        write_run(tmp_path / name, kept, settings=EVAL)
    with ViewClient(tmp_path) as client:
        row = compared(client, side="only_first")["rows"][0]
        runs = ",".join(client.run_ids()[name] for name in ("out.jsonl", "other.jsonl"))
        path = f"/api/compare/difference?runs={runs}&n="
        found = client.get(f"{path}{','.join('' if n is None else str(n) for n in row['n'])}")
        refused = [client.ask(f"{path}{each}").status for each in ("", ",", "1", "1,0,2", "x,1")]
    assert (found["n"], found["texts"], found["difference"]) == ([1, None], [ROWS[1]["response"], None], None)
    assert refused == [400, 400, 400, 400, 404]


def test_a_comparison_is_of_the_score_with_exactly_this_name(tmp_path: Path) -> None:
    for name, f1 in (("out.jsonl", 0.0), ("other.jsonl", 1.0)):
        write_run(tmp_path / name, [{"id": "q", "score": {"macro_f1": 0.5, "f1": f1}}], settings=EVAL)
    with ViewClient(tmp_path) as client:
        found = {asked: compared(client, metric=asked) for asked in ("f1", "score.f1", "macro_f1", "")}
    assert {asked: each["metric"] for asked, each in found.items()} == {
        "f1": "f1", "score.f1": "f1", "macro_f1": "macro_f1", "": "macro_f1",
    }  # fmt: skip
    assert found["f1"]["rows"][0]["scores"] == [0.0, 1.0]


def test_samples_of_a_question_are_averaged(tmp_path: Path) -> None:
    for name, scores in (("out.jsonl", [1.0, 0.0]), ("other.jsonl", [1.0, 1.0])):
        samples = [{"id": f"q#{k}", "score": {"strict": score}} for k, score in enumerate(scores)]
        write_run(tmp_path / name, samples, settings={**EVAL, "samples": True})
    with ViewClient(tmp_path) as client:
        (row,) = compared(client)["rows"]
    assert (row["id"], row["scores"]) == ("q", [0.5, 1.0])


def test_a_file_whose_writer_was_killed_in_a_line_is_complete_without_it(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out.jsonl", ROWS, settings=EVAL)
    with out.open("ab") as file:
        file.write(b'{"id": "torn", "que')
    with ViewClient(tmp_path) as client:
        assert rows(client, where="score.strict = 0")["total"] == 2


def test_a_row_with_thousands_of_fields_does_not_fill_the_page(tmp_path: Path) -> None:
    wide = {"id": "wide", **{f"f{n}": n for n in range(5000)}}
    write_run(tmp_path / "out.jsonl", [wide, {"id": "deep", "x": {"y": [[[]]] * 3}}])
    with ViewClient(tmp_path) as client:
        page = rows(client)
        assert len(page["rows"][0]["cells"]) == 500
        columns = client.get(f"/api/runs/{client.run_ids()['out.jsonl']}/columns")["columns"]
    assert len(columns) == 300


def test_a_field_whose_name_contains_a_comma_can_be_chosen(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [{"id": "1", "name, first": "Bob", "name": "Ms Bob", "[x": 1}])
    with ViewClient(tmp_path) as client:
        chosen = {
            fields: rows(client, fields=fields)["rows"][0]["cells"]
            for fields in ('["name, first"]', "id,name", '["[x"]', "[x")
        }
    assert chosen == {
        '["name, first"]': {"name, first": "Bob"}, "id,name": {"id": "1", "name": "Ms Bob"}, '["[x"]': {"[x": 1},
        "[x": {"[x": 1},
    }  # fmt: skip


def test_a_longer_text_is_searched_in_what_a_shorter_one_has_found(tmp_path: Path) -> None:
    texts = ["nothing " * 120] * 90
    texts[3], texts[70], texts[80] = "hyper", "Hyperbola", "hyperbole"
    index = RowIndex(write_run(tmp_path / "out.jsonl", [{"text": text} for text in texts]), {}, "out")
    try:
        index.finish(short := index.search("hyper", ""))
        longer = index.search("hyperb", "")
        assert not longer.is_complete
        assert index.advance(longer, 10.0) == [70, 80]
        assert (short.hits, longer.hits, longer.scanned) == (3, 2, 1.0)
        index.finish(other := index.search("othing", ""))  # no part of it was searched for
        assert other.hits == 87
    finally:
        index.close()


def test_long_queries_make_room_for_those_that_a_user_waits_for() -> None:
    turns, order = QueryTurns(), list[str]()

    def use(name: str, patient: bool) -> None:
        with turns.take(patient=patient):
            order.append(name)

    with turns.take(patient=True):
        assert not turns.is_awaited
        patient = threading.Thread(target=use, args=("counts", True))
        patient.start()
        user = threading.Thread(target=use, args=("page", False))
        user.start()
        while not turns.is_awaited:
            threading.Event().wait(0.001)
    user.join(5)
    patient.join(5)
    assert order == ["page", "counts"]


def test_an_interrupted_count_starts_again_and_is_complete(tmp_path: Path) -> None:
    index = RowIndex(write_run(tmp_path / "out.jsonl", [{"n": k % 7} for k in range(600)]), {}, "out")
    passes = list[int]()

    def collect(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        passes.append(1)
        if len(passes) == 1:
            threading.Thread(target=index.table.query, args=("select 1",)).start()
            while not index.table.turns.is_awaited:
                threading.Event().wait(0.001)
        return list(rows)

    try:
        while not index.is_complete:
            index.refresh()
        slow = "select count(b.n) from lines a, lines b group by a.n"
        assert index.table.patient_query(collect, slow) == [(600,)] * 600
        assert len(passes) == 2
    finally:
        index.close()


def test_a_row_far_down_is_there_although_the_file_has_just_been_opened(tmp_path: Path) -> None:
    write_run(tmp_path / "out.jsonl", [{"id": str(k)} for k in range(FIRST_LINES + 500)])
    with ViewClient(tmp_path) as client:
        base = f"/api/runs/{client.run_ids()['out.jsonl']}/rows"
        assert client.ask(f"{base}/{FIRST_LINES + 499}").json == {"id": str(FIRST_LINES + 499)}
        assert client.ask(f"{base}/{FIRST_LINES + 500}").status == 404
