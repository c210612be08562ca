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
from view_runs import figures, write_run

HOSTILE = '</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028 ]]> "'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"id": str(n), "text": f"{n} {HOSTILE}", "text_finish_reason": "stop"} for n in range(30)]
    failure = {"id": "x", "kind": "invalid", "error": HOSTILE, "row": {}}
    write_run(tmp_path / "runs" / "out.jsonl", rows, timeline=[figures(1.0, 30, 30)], failures=[failure])
    return tmp_path / "runs"


def data_of(page: str) -> Any:
    block = re.search(r'<script type="application/json" id="manycall-data">(.*?)</script>', page, re.S)
    assert block is not None
    return json.loads(block[1])


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
    assert all(row["text"].endswith(HOSTILE) for _, row, _ in exported["out"]["rows"])
    assert exported["failures"]["rows"][0][1]["error"] == HOSTILE
    assert str(folder) not in page  # no folders of this machine


def test_the_policy_permits_the_loader_and_no_request(folder: Path, tmp_path: Path) -> None:
    export_page([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    loader = re.findall(r"<script>(.*?)</script>", page, re.S)[-1]
    style = re.findall(r"<style>(.*?)</style>", page, re.S)[-1]
    assert policy is not None
    for text in (loader, style):
        assert b64encode(sha256(text.encode()).digest()).decode() in policy[1]
    assert "connect-src 'none'" in policy[1]
    assert "require-trusted-types-for 'script'" in policy[1]


def test_each_module_comes_after_those_that_it_imports(folder: Path, tmp_path: Path) -> None:
    export_page([folder], tmp_path / "page.html")
    block = re.search(
        r'id="manycall-modules">(.*?)</script>', (tmp_path / "page.html").read_text(encoding="utf-8"), re.S
    )
    assert block is not None
    seen = set[str]()
    for name, source, imports in json.loads(block[1]):
        assert {imported for _, imported in imports} <= seen, name
        seen.add(name)
    assert "main.js" in seen


def test_a_filter_chooses_the_rows(folder: Path, tmp_path: Path) -> None:
    export_page([folder], tmp_path / "page.html", where='id = "7" or id = "8"')
    data = data_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    (rows,) = (files["out"]["rows"] for files in data["rows"].values())
    assert [n for n, _, _ in rows] == [7, 8]
    with pytest.raises(UsageError, match="Expected a value"):
        export_page([folder], tmp_path / "page.html", where="id =")


def test_a_folder_holds_the_same_files_for_a_web_host(folder: Path, tmp_path: Path) -> None:
    export_page([folder], tmp_path / "site")
    names = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*")}
    assert {"index.html", "robots.txt", "static/main.js"} <= names
    assert "</script><script>alert" not in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_an_export_overwrites_no_run(folder: Path) -> None:
    with pytest.raises(UsageError):
        export_page([folder], folder / "out.jsonl.run" / "page.html")


def test_an_exported_page_opens_from_disk_filters_and_sends_no_request(folder: Path, tmp_path: Path) -> None:
    export_page([folder], tmp_path / "page.html")
    faults: list[str] = []
    with browser() as chromium:
        page = chromium.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.extend([dialog.message, dialog.dismiss()]))
        page.on("request", lambda request: faults.extend([request.url] * request.url.startswith("http")))
        page.goto((tmp_path / "page.html").as_uri())
        page.locator("#title").wait_for()
        (run_id,) = data_of((tmp_path / "page.html").read_text(encoding="utf-8"))["rows"]
        page.goto(f"{(tmp_path / 'page.html').as_uri()}#/run/{run_id}/rows?where=n+%3C+5&sort=-n&q=ALERT(1)")
        page.locator(".grid-row").nth(4).wait_for()
        assert page.locator(".grid-row").count() == 5
        assert "4 </script>" in page.locator(".grid-row").first.inner_text()
    assert faults == []
