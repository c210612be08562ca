"""Reports as pages: Markdown, or one HTML file that loads nothing and runs nothing.

What models say is hostile until shown otherwise. In HTML every text is escaped by Jinja, and the page forbids itself
scripts, and any resource from elsewhere (Content-Security-Policy); for Markdown see manycall/markdown.py.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from jinja2 import Environment
from markupsafe import Markup

from manycall._version import __version__
from manycall.engine.report import table
from manycall.errors import UsageError
from manycall.markdown import fenced, inline
from manycall.plain import plain
from manycall.store.lines import write_whole, writing


class Grid(NamedTuple):
    """A table."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Figure(NamedTuple):
    """A plot; legend: (colour, name) where there are several. Markdown has only tables, so it must say nothing that no
    table says."""

    caption: str
    svg: Markup
    legend: Sequence[tuple[str, str]] = ()


class Quote(NamedTuple):
    """Something that a model said; texts: (what, text)."""

    title: str
    texts: Sequence[tuple[str, str]]


class Section(msgspec.Struct):
    """A part of a page, shown in this order."""

    title: str
    figures: list[Figure] = []
    tables: list[Grid] = []
    remarks: list[str] = []
    quotes: list[Quote] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.figures or self.tables or self.remarks or self.quotes)


class Page(msgspec.Struct):
    """A report. warnings: what a reader of the numbers must see first. Sections that hold nothing are left out."""

    title: str
    lead: str
    warnings: list[str]
    sections: list[Section]


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain(value)


_jinja = Environment(autoescape=True, finalize=_shown)


def html(page: Page) -> str:
    """The page as one HTML file."""
    source = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    return _jinja.from_string(source).render(page=page, version=__version__) + "\n"


def markdown(page: Page) -> str:
    """The page as Markdown."""
    return "\n\n".join(_blocks(page)) + "\n"


def _blocks(page: Page) -> Iterator[str]:
    yield f"# {inline(page.title)}"
    yield inline(page.lead)
    yield from (f"> **{inline(warning)}**" for warning in page.warnings)
    for section in page.sections:
        if section.is_empty:
            continue
        yield f"## {inline(section.title)}"
        for grid in section.tables:
            yield table([*map(inline, grid.head)], [[*map(inline, row)] for row in grid.rows])
        yield from map(inline, section.remarks)
        for quote in section.quotes:
            yield f"**{inline(quote.title)}**"
            for name, text in quote.texts:
                yield f"{inline(name)}:\n\n{fenced(text)}"
    yield f"Made by manycall {__version__}."


FORMATS: dict[str, Callable[[Page], str]] = {".html": html, ".htm": html, ".md": markdown}


def checked(path: Path) -> Path:
    """A path for a report, before anything is done for it.

    Raises:
        UsageError: it is neither HTML nor Markdown, or in no folder.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--report {path}: a report is .html or .md")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}, or it is a folder itself")
    return path


def write_page(page: Page, path: Path) -> None:
    """Write a page in the format that the path's ending names.

    Raises:
        UsageError: as `checked`.
        StoreError: the disk would not take it.
    """
    text = FORMATS[checked(path).suffix.lower()](page)
    with writing(path):
        write_whole(path, [text.encode("utf-8", "replace")])
