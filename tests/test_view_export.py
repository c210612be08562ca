"""`manycall view --export`: what the files contain, and that no text in them can become markup."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from manycall.errors import UsageError
from manycall.view.static_export import export_page
from view_browser import browser
from view_runs import FINISHED, figures, write_run

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028 ]]> "'


def written(folder: Path) -> Path:
    """Write a run whose texts are hostile."""
    rows = [{"id": str(n), "n": 100 + n, "text": f"{n} {HOSTILE}", "text_finish_reason": "stop"} for n in range(30)]
    failure = {"id": "x", "kind": "invalid", "error": HOSTILE, "row": {}}
    write_run(folder / "out.jsonl", rows, timeline=[figures(1.0, 30, 30)], failures=[failure])
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "runs")


def scored(folder: Path, name: str, right: range, **files: Any) -> None:
    """Write an evaluation of 30 questions, of which some are answered correctly."""
    rows = [
        {
            "id": f"q{n}", "question": HOSTILE, "answer": "7", "finish_reason": "stop",
            "response": f"{name} {HOSTILE} #### {7 if n in right else 3}",
            "extracted": {"strict-match": "7" if n in right else "3"}, "score": {"strict-match": float(n in right)},
        }
        for n in range(30)
    ]  # fmt: skip
    write_run(folder / name, rows, settings={"job": "eval gsm8k"}, **files)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of that run and two evaluations."""
    folder = tmp_path_factory.mktemp("exported")
    body = '{"usage":{"prompt_tokens":4,"completion_tokens":2},"choices":[{"finish_reason":"stop"}]}'
    call = {"key": "k", "nth": 1, "at": 5.0, "seconds": 1.5, "endpoint": HOSTILE, "body": body}
    scored(written(folder / "runs"), "a.jsonl", range(10), calls=[{"id": f"q{n}", **call} for n in (0, 1, 2, 0)])
    scored(folder / "runs", "b.jsonl", range(25))
    export_page([folder / "runs"], folder / "page.html")
    return folder / "page.html"


def data_of(page: str) -> Any:
    block = re.search(r'<script type="application/json" id="manycall-data">(.*?)</script>', page, re.S)
    assert block is not None
    return json.loads(block[1])


def ids_of(data: Any) -> dict[str, str]:
    return {run["name"]: run["id"] for run in data["replies"]["runs"]["runs"]}


def test_one_file_holds_the_page_and_its_data(folder: Path, tmp_path: Path) -> None:
    sentence = export_page([folder], tmp_path / "page.html", rows=10)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "It contains your rows" in sentence
    assert page.count("<script") == 3
    assert "alert(1)</script>" not in page
    data = data_of(page)
    (run,) = data["replies"]["runs"]["runs"]
    exported = data["rows"][run["id"]]
    assert exported["out"]["total"] == 30
    assert len(exported["out"]["rows"]) == 10
    assert all(row["text"].endswith(HOSTILE) for _, row, _, _ in exported["out"]["rows"])
    assert exported["failures"]["rows"][0][1]["error"] == HOSTILE
    assert str(folder) not in page  # no folders of this machine


def test_no_folder_is_named_and_no_text_of_a_row_is_changed(tmp_path: Path) -> None:
    folder, secret = tmp_path / "runs", tmp_path / "secret" / "in.jsonl"
    text = f"open('{folder}/x') and https://example.com{folder}/y"
    outcome = f"{secret} line 7 is not valid JSON. See https://example.com{folder}/y"
    rows = [{"id": str(n), "text": text} for n in range(2)]
    failure = {"id": "x", "kind": "invalid", "error": text, "row": {}}
    sessions = [{**FINISHED, "outcome": outcome}]
    write_run(folder / "out.jsonl", rows, failures=[failure], sessions=sessions, source={"input": str(secret)})
    write_run(folder / "relative.jsonl", rows, source={"input": "secret/in.jsonl"})
    export_page([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "secret" not in page
    data = data_of(page)
    run = ids_of(data)["out.jsonl"]
    assert [row["text"] for _, row, _, _ in data["rows"][run]["out"]["rows"]] == [text, text]
    detail = data["replies"][f"runs/{run}"]
    assert detail["source"]["input"] == "in.jsonl"
    assert detail["state_text"] == f"in.jsonl line 7 is not valid JSON. See https://example.com{folder}/y"
    assert detail["failures"][0]["error"] == text
    assert data["replies"][f"runs/{run}/data"]["result"]["groups"][0]["text"] == text
    assert data["replies"][f"runs/{run}/data"]["result"]["out"] == "out.jsonl"


def test_the_policy_permits_the_loader_and_no_request(exported: Path) -> None:
    page = exported.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    loader = re.findall(r"<script>(.*?)</script>", page, re.S)[-1]
    style = re.findall(r"<style>(.*?)</style>", page, re.S)[-1]
    assert policy is not None
    for text in (loader, style):
        assert b64encode(sha256(text.encode()).digest()).decode() in policy[1]
    assert "connect-src 'none'" in policy[1]
    assert "require-trusted-types-for 'script'" in policy[1]


def test_each_module_comes_after_those_that_it_imports(exported: Path) -> None:
    block = re.search(r'id="manycall-modules">(.*?)</script>', exported.read_text(encoding="utf-8"), re.S)
    assert block is not None
    seen = set[str]()
    for name, _, imports in json.loads(block[1]):
        assert {imported for _, imported in imports} <= seen, name
        seen.add(name)
    assert "main.js" in seen


def test_a_filter_chooses_the_rows(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    scored(folder, "a.jsonl", range(10))
    scored(folder, "b.jsonl", range(25))
    export_page([folder], tmp_path / "page.html", where='id = "q7" or id = "q8"')
    data = data_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    rows, _ = (files["out"]["rows"] for files in data["rows"].values())
    assert [n for n, *_ in rows] == [7, 8]
    assert not [name for name in data["replies"] if name.startswith("compare")]  # which would show other rows
    with pytest.raises(UsageError, match="Expected a value"):
        export_page([folder], tmp_path / "page.html", where="id =")


def test_comparisons_and_the_calls_of_rows_are_exported_within_bounds(exported: Path, tmp_path: Path) -> None:
    data = data_of(exported.read_text(encoding="utf-8"))
    ids = ids_of(data)
    a, b = ids["a.jsonl"], ids["b.jsonl"]
    replies = data["replies"]
    assert replies[f"compare?runs={a},{b}"]["state"] == "done"
    won = replies[f"compare/rows?runs={a},{b}&side=won"]
    assert (won["counts"]["won"], won["kept"], len(won["rows"])) == (15, 20, 15)
    assert len(replies[f"compare/rows?runs={b},{a}&side=both_right"]["rows"]) == 10
    assert replies[f"compare/difference?runs={a},{b}&n=10,10"]["texts"][0].startswith("a.jsonl")
    assert [len(calls) for _, _, _, calls in data["rows"][a]["out"]["rows"][:4]] == [2, 1, 1, 0]
    assert "body" not in data["rows"][a]["out"]["rows"][0][3][0]


def test_a_folder_holds_the_same_files_for_a_web_host(folder: Path, tmp_path: Path) -> None:
    export_page([folder], tmp_path / "site")
    names = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*")}
    assert {"index.html", "robots.txt", "static/main.js"} <= names
    assert "</script><script>alert" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_an_export_overwrites_no_run(folder: Path) -> None:
    with pytest.raises(UsageError):
        export_page([folder], folder / "out.jsonl.run" / "page.html")


def test_an_exported_page_opens_from_disk_filters_and_sends_no_request(exported: Path) -> None:
    ids, faults = ids_of(data_of(exported.read_text(encoding="utf-8"))), list[str]()
    with browser() as chromium:
        page = chromium.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.extend([dialog.message, dialog.dismiss()]))
        page.on("request", lambda request: faults.extend([request.url] * request.url.startswith("http")))
        page.goto(exported.as_uri())
        page.locator("#title").wait_for()
        page.goto(f"{exported.as_uri()}#/run/{ids['out.jsonl']}/rows?where=n+%3C+111&sort=-id&q=ALERT(1)")
        page.locator(".grid-row").nth(10).wait_for()
        assert page.locator(".grid-row").count() == 11
        assert "10 </script>" in page.locator(".grid-row").first.inner_text()
        page.goto(f"{exported.as_uri()}#/compare?runs={ids['a.jsonl']},{ids['b.jsonl']}")
        page.get_by_text("is better by 0.5000 in strict-match").wait_for()
        page.locator(".grid").focus()
        page.keyboard.press("Enter")
        page.locator(".difference.first", has_text="a").first.wait_for()
        page.goto(f"{exported.as_uri()}#/run/{ids['a.jsonl']}/row/0")
        page.locator("td", has_text="</script><script>alert(1)").nth(1).wait_for()
        assert page.locator("main script, main img, td a").count() == 0
    assert faults == []
