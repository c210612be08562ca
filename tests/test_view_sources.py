"""The files of the page: what they may not contain, what must be complete, how large they are. No browser needed."""

import ast
import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import manycall.view
from manycall.store.lock_holder import WritingProcess
from manycall.store.manifest import NOT_FINISHED
from manycall.view import child_work, column_table
from manycall.view.run_state import Progress, run_state
from manycall.view.static_files import page_files, static_replies

VIEW = Path(manycall.view.__file__).parent
WWW = VIEW / "www"
OWN = sorted(WWW.glob("*.js"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in OWN}
MARKUP = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet|createPolicy|\beval\(|new Function"
    r"|srcdoc|DOMParser"
)
FIRST_PAGE_BYTES = 150_000
ALL_BYTES = 252_000
MAX_LINES = 250
NOT_ON_THE_PAGE = (
    "manycall ", "7 is not a", "7 would have", "7: ", "Ask for `lines`", "Cannot listen", "Choose a row", "Choose two",
    "Sides", "There is no side", "The routes", "There is no such ro", "Too many open streams",
)  # fmt: skip
"""How sentences begin that are commands, that the command line prints, or that no request of the page causes."""


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
    files = {"index.html", "style.css"}
    for name in ("main.js", "runs.js", "rows.js"):
        files |= imports(name)
    assert sum((WWW / name).stat().st_size for name in files) < FIRST_PAGE_BYTES


def test_the_start_page_names_the_modules_of_the_first_pages() -> None:
    named = re.findall(r"<static/([^>]+)>; rel=modulepreload", static_replies(page_files())["/"].headers["link"])
    assert sorted(named) == sorted(imports("main.js") | imports("runs.js") | imports("rows.js"))


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


def sentences() -> Iterator[str]:
    """Yield what the server can say: arguments of refusals, constants, states; "7" in place of a value."""
    for path in VIEW.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ViewRefused", "UsageError", "_refused"):
                texts = [template(each) for each in node.args]
                yield from (f"{each} at character 7." if "_refused" in ast.unparse(node) else each for each in texts)
    yield from (child_work.EXACT, child_work.UNKNOWN, column_table.TOO_SLOW)
    for left, failed, outcome, exists in itertools.product(
        (0, 5), (0, 3), ("finished", NOT_FINISHED), (True, False, None)
    ):
        for now in (1001.0, 5000.0):
            progress = Progress(9, failed, 9 + left, 1000.0)
            yield from run_state(
                {"outcome": outcome, "started_at": 1.0}, progress, WritingProcess(exists, "host"), now
            )[1:]


def template(node: ast.expr) -> str:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in parts)


def test_what_the_server_says_is_also_chinese() -> None:
    table = TEXTS["words_zh.js"].partition("SENTENCES")[2]
    pairs = [(json.loads(each), text) for each, text in re.findall(r'\[("(?:[^"\\]|\\.)*"), "([^"]*)"\]', table)]
    said = {each for each in sentences() if " " in each and not each.startswith(NOT_ON_THE_PAGE)}
    assert {each for each in said if not any(re.fullmatch(pattern, each) for pattern, _ in pairs)} == set()
    for pattern, text in pairs:
        assert set(re.findall(r"\$(\d)", text)) <= set(map(str, range(1, re.compile(pattern).groups + 1))), pattern
        assert re.search(r"[\u4e00-\u9fff]", text), pattern


def test_vendored_files_are_those_that_contributing_names() -> None:
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^\| `([\w.]+)` .*`([0-9a-f]{64})` \|$", text, re.M))
    actual = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (WWW / "vendor").glob("*.[jc]s*")}
    assert named == actual
    licenses = (WWW / "vendor" / "LICENSE").read_text(encoding="utf-8")
    assert all(name in licenses for name in actual)
