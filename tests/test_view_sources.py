"""The files of the page: what they may not contain, what must be complete, how large they are. No browser needed."""

import hashlib
import re
from pathlib import Path

import pytest

import manycall.view

WWW = Path(manycall.view.__file__).parent / "www"
OWN = sorted(WWW.glob("*.js"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in OWN}
MARKUP = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet|createPolicy|\beval\(|new Function"
    r"|srcdoc|DOMParser"
)
FIRST_PAGE_BYTES = 150_000
ALL_BYTES = 250_000
MAX_LINES = 250


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_can_become_markup_or_code(name: str) -> None:
    assert not re.search(MARKUP, TEXTS[name])


@pytest.mark.parametrize("name", TEXTS)
def test_a_module_is_short_and_imports_files_that_exist(name: str) -> None:
    assert TEXTS[name].count("\n") <= MAX_LINES
    for target in re.findall(r'(?:from |import\()"([^"]+)"', TEXTS[name]):
        assert target.startswith("./")
        assert (WWW / target).is_file(), target
    if name != "pages.js":
        assert "import(" not in TEXTS[name]


def imports(name: str) -> set[str]:
    """Return the names of all modules that a module loads at once."""
    text = (WWW / name).read_text(encoding="utf-8")
    found = {name}
    for target in re.findall(r'from\s*"\./([^"]+)"', text):
        found |= imports(str((WWW / name).parent.relative_to(WWW) / target))
    return found


def test_the_list_of_runs_and_the_rows_need_few_bytes() -> None:
    files = {"index.html", "style.css", "vendor/uplot.css"}
    for name in ("main.js", "runs.js", "rows.js"):
        files |= imports(name)
    assert sum((WWW / name).stat().st_size for name in files) < FIRST_PAGE_BYTES


def test_all_files_of_the_page_are_small() -> None:
    assert sum(path.stat().st_size for path in WWW.rglob("*") if path.is_file()) < ALL_BYTES


def test_every_text_of_the_page_is_also_chinese() -> None:
    used = {text for source in TEXTS.values() for text in re.findall(r'\bt\(\s*"((?:[^"\\]|\\.)*)"', source)}
    table = TEXTS["words_zh.js"]
    translated = dict(re.findall(r'(?:"((?:[^"\\]|\\.)*)"|(?<=[ ,])\w+): "((?:[^"\\]|\\.)*)"', table))
    translated |= dict(re.findall(r'[ ,](\w+): "((?:[^"\\]|\\.)*)"', table))
    assert used - translated.keys() == set()
    assert translated.keys() - used - {""} == set()
    for text in used:
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", translated[text])), text


def test_vendored_files_are_those_that_contributing_names() -> None:
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| `([\w.]+)` .*`([0-9a-f]{64})` \|$", text, re.M))
    actual = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (WWW / "vendor").glob("*.[jc]s*")}
    assert named == actual
    licenses = (WWW / "vendor" / "LICENSE").read_text(encoding="utf-8")
    assert all(name in licenses for name in actual)
