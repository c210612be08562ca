"""The check of the project's wording finds the listed words in prose, and only there."""

from pathlib import Path

import pytest

import prose

WORDS = prose.load(Path(prose.__file__).with_name("prose_words.toml"))


def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> list[tuple[int, str]]:
    """Return line and words of the findings in a file of the project with this name."""
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [(each.line, each.words) for each in prose.findings(path, WORDS)[0]]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("src/a.py", "x = 1  # a limit that was told\n", [(1, "told")]),
        ("src/a.py", '"""Return x.\n\nIt was mended\nby nobody at all.\n"""\n', [(3, "mended"), (4, "nobody")]),
        ("src/a.py", 'raise E("The file lies in the folder.")\n', [(1, "lies in")]),
        ("src/a.py", "def heard_limits() -> None: ...\n", [(1, "heard")]),
        ("src/a.py", 'KEY = "told"\n', []),
        ("tests/test_a.py", "def test_nobody_waits() -> None:  # told\n", [(1, "nobody")]),
        ("docs/a.md", "It is beside\nthe output.\n", [(1, "beside")]),
        ("docs/a.md", "The `told` option\n```sh\nrun told  # told\n```\n", [(3, "told")]),
        ("docs/a.md", "The [page](told.md) apart from <told> https://told/told\n", []),
        ("docs/a.md", "a limit that was told <!-- prose: ok -->\n", []),
        ("Makefile", "# told\ntold:\n", [(1, "told")]),
        ("docs/a.md", "What decoding gives is a text.\n# What is promised\nWhat is it?\n", []),
        ("docs/a.md", "What is sent is a text.\n", [(1, "What is")]),
    ],
)
def test_words_are_found_in_prose_and_not_in_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: list[tuple[int, str]]
) -> None:
    assert found(tmp_path, monkeypatch, name, text) == expected


def test_the_check_fails_above_the_limit_and_names_line_and_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("word " * 999 + "\nbeside\n")
    assert prose.main([str(page)]) == 0
    page.write_text("word " * 998 + "\nbeside\n")
    assert prose.main([str(page)]) == 1
    assert "page.md:2: 'beside': write next to\n" in capsys.readouterr().out


def test_the_files_of_the_project_are_checked_except_those_in_chinese() -> None:
    names = {path.relative_to(prose.ROOT).as_posix() for path in prose.project_files(WORDS)}
    assert {"README.md", "Makefile", "src/manycall/errors.py", "docs/python.md", "tests/test_prose.py"} <= names
    assert not {name for name in names if name.startswith("docs/zh") or "zh-CN" in name}
