"""The Chinese pages cover the same guides as the English ones, with commands that exist and the same figures."""

import json
import re
import shlex
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH = ROOT / "docs"
CHINESE = ROOT / "docs" / "zh"
ONLY_ENGLISH = {"log", "files"}
ONLY_CHINESE = {"glossary"}
PAGES = [ROOT / "README.zh-CN.md", *sorted(CHINESE.glob("*.md"))]
GUIDES = sorted({path.stem for path in CHINESE.glob("*.md")} - ONLY_CHINESE)

over_pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
over_guides = pytest.mark.parametrize("name", GUIDES)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.DOTALL)


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.DOTALL)


def as_plain_text(text: str) -> str:
    """Return the text as it is read: without markup, and with `x` for each piece of inline code."""
    text = re.sub(r"`[^`]+`", "x", without_blocks(text))
    text = re.sub(r"<a id=.*?></a>|\*\*?", "", text)
    return re.sub(r"!?\[([^\]]+)\]\([^)]*\)", r"\1", text)


@cache
def flags_of_verbs() -> dict[str, set[str]]:
    """Return the flags of each verb, from the page that is generated from --help."""
    _, *sections = re.split(r"^## manycall ([\w-]+)$", read(ENGLISH / "cli.md"), flags=re.M)
    return {
        verb: set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_text))
        for verb, help_text in zip(sections[::2], sections[1::2], strict=True)
    }


def commands(text: str) -> list[list[str]]:
    """Return the words of each manycall command in code blocks, in their comments and in inline code."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += re.findall(r"^# \S+：(manycall .*)$", text, re.M)
    lines += re.findall(r"`([^`\n]+)`", without_blocks(text))
    found = [re.sub(r"^(?:\w+=\S* )*", "", line) for line in lines]  # without VARIABLE=value
    return [shlex.split(line, comments=True)[1:] for line in found if line.startswith("manycall ")]


def given_flags(words: list[str]) -> list[str]:
    return [word for word in words if re.fullmatch(r"--?[a-z][\w-]*", word)]


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of a page: those of its headings, as GitHub forms them, and its explicit ones."""
    text = without_blocks(read(path))
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="(.*?)">', text))


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)


def table_rows(text: str) -> list[str]:
    return [line for line in without_blocks(text).splitlines() if line.lstrip().startswith("|")]


def test_every_guide_exists_in_both_languages() -> None:
    generated = {path.stem for path in ENGLISH.glob("*.md") if "This page is made from" in read(path)}
    english = {path.stem for path in ENGLISH.glob("*.md")} - generated - ONLY_ENGLISH
    assert english == {path.stem for path in CHINESE.glob("*.md")} - ONLY_CHINESE


@over_pages
def test_commands_use_verbs_and_flags_that_exist(page: Path) -> None:
    for verb, *words in commands(read(page)):
        if set(verb) == {"."}:  # `manycall ... --flag`
            continue
        assert verb in flags_of_verbs(), verb
        unknown = set(given_flags(words)) - flags_of_verbs()[verb]
        assert not unknown, f"manycall {verb}: {unknown}"


@over_pages
def test_links_and_anchors_resolve(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", without_blocks(read(page))):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@over_pages
def test_code_blocks_parse(page: Path) -> None:
    for block in blocks(read(page), "toml"):
        tomllib.loads(block)
    for block in blocks(read(page), "json"):
        json.loads(block)
    for block in blocks(read(page), "python"):
        body = "".join(f"    {line}\n" for line in block.splitlines())
        compile(f"async def _():\n{body}", str(page), "exec")


@over_pages
def test_chinese_typography(page: Path) -> None:
    """Full-width punctuation after Chinese text, and a space between Chinese and Latin letters or digits."""
    text = as_plain_text(read(page))
    chinese = "[\u4e00-\u9fff]"
    pattern = rf"{chinese}[A-Za-z0-9]|[A-Za-z0-9]{chinese}|{chinese}[,;:?!()]|[,;?!)]{chinese}"
    found = [text[max(0, match.start() - 15) : match.end() + 15] for match in re.finditer(pattern, text)]
    assert not found


@over_guides
def test_each_option_of_an_english_guide_is_on_the_chinese_page(name: str) -> None:
    english, chinese = (
        set(re.findall(r"(?<![\w-])--[a-z][\w-]*", read(folder / f"{name}.md"))) for folder in (ENGLISH, CHINESE)
    )
    assert english <= chinese


@over_guides
def test_each_table_row_has_the_figures_of_an_english_row(name: str) -> None:
    english = [Counter(numbers(row)) for row in table_rows(read(ENGLISH / f"{name}.md"))]
    for row in table_rows(read(CHINESE / f"{name}.md")):
        figures = Counter(numbers(re.sub("`[^`]+`", "", row)))
        assert any(figures <= others for others in english), row


def test_the_readmes_have_the_same_figures_and_commands() -> None:
    english, chinese = read(ROOT / "README.md"), read(ROOT / "README.zh-CN.md")
    assert [numbers(row) for row in table_rows(english)] == [numbers(row) for row in table_rows(chinese)]
    assert [[words[0], *given_flags(words)] for words in commands(english)] == [
        [words[0], *given_flags(words)] for words in commands(chinese)
    ]


def test_the_readmes_have_the_same_headings_and_links() -> None:
    def shape(name: str) -> list[str]:
        text = read(ROOT / name)
        links = re.findall(r"\]\((docs/[^)]+)\)", text.replace("docs/zh/", "docs/"))
        return [*re.findall(r"^#+", text, re.M), *sorted({*links} - {"docs/glossary.md"}), str(text.count("```"))]

    assert shape("README.md") == shape("README.zh-CN.md")
