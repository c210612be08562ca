"""In Markdown that manycall writes, no text of a model, a row or a server is live."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from manycall import dataset_card
from manycall.markdown import code, fenced, inline
from manycall.reports.page import Page, Quote, Section, TableBlock, render_markdown
from manycall.terminal import sanitize_line
from shell import manycall

EVIL = [
    "[click](http://evil.example)", "![pixel](http://evil.example/p.png)", "[click][1]", "[1]: http://evil.example",
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "<http://evil.example>", "<!-- ", "&lt;b&gt;",
    "http://evil.example", "HTTPS://evil.example", "www.evil.example", "evil.example", "me@evil.example", "@admin",
    "xmpp:me@evil.example", "a | b", "`code`", "```", "a\n\n# big\n\n- b", "\\", "\\[x](http://evil.example)", "**b**",
    "~~s~~", "$x$", "{{ 7*7 }}", "`http://evil.example", "http://a`b", "|http://evil.example|", "\u202etxt", "\x1b[2J",
]  # fmt: skip
LINK = re.compile(r"://|@|www\.|\w\.[a-z]{2}", re.IGNORECASE)


class Rendered(HTMLParser):
    """What a renderer makes of Markdown: the tags, all the text, and the text outside code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = self.prose = ""
        self._in_code = 0
        self.feed(MarkdownIt("commonmark").enable("table").render(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._in_code += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        self.prose += "" if self._in_code else data


@pytest.mark.parametrize("text", [*EVIL, " ".join(EVIL)])
def test_in_a_line_and_in_a_cell_every_text_is_shown_and_nothing_is_live(text: str) -> None:
    for page in (f"x {inline(text)} x", f"| x |\n|---|\n| x {inline(text)} x |"):
        shown = Rendered(page)
        assert shown.tags <= {"p", "code", "table", "thead", "tbody", "tr", "th", "td"}
        assert sanitize_line(text) in shown.text.replace("\n", "")
        assert not LINK.search(shown.prose)


@given(st.text("a.:/@w`|\\[]()<>!&#*_~\n -", max_size=40) | st.text(max_size=20))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    line = sanitize_line(text)
    assert Rendered(f"x {inline(text)} x").text.split() == ["x", *line.split(), "x"]
    cell = Rendered(f"| x |\n|---|\n| x {inline(text)} x |").text
    assert cell.split() == ["x", "x", *line.split(), "x"]


@given(st.text("a`~\n ", max_size=40))
def test_no_text_closes_its_fence(text: str) -> None:
    assert Rendered(fenced(text) + "\n\n# end").tags == {"pre", "code", "h1"}


def test_code_may_hold_backticks() -> None:
    assert Rendered(code("`a``b`")).text.strip() == "`a``b`"


REJECTS = """
from manycall.errors import RowRejected
async def f(row, llm):
    answer = await llm.chat("hi")
    raise RowRejected(row["why"])
"""


def test_on_a_card_the_reasons_of_rejects_are_not_live() -> None:
    Path("f.py").write_text(REJECTS)
    texts = [text for text in EVIL if "{" not in text]
    Path("in.jsonl").write_bytes(b"".join(msgspec.json.encode({"why": text}) + b"\n" for text in texts))
    for start in range(0, len(texts), 5):  # a card names five reasons
        Path("in.jsonl").write_bytes(b"".join(msgspec.json.encode({"why": x}) + b"\n" for x in texts[start:][:5]))
        out = f"out{start}.jsonl"
        assert manycall("run", "f.py:f", "in.jsonl", "-u", "sim:latency=0", "-m", "<b>m</b>", "-o", out).code == 0
        page = str(dataset_card(out))
        assert not LINK.search(Rendered(page.partition("---\n\n")[2]).prose.partition("Duplicates are")[0])
        assert Rendered(page).tags <= {"h1", "h2", "hr", "p", "code", "pre", *"table thead tbody tr th td".split()}
        assert len(re.findall(r"^\|", page, re.M)) == page.count("|\n")
        assert "<b>m</b>" in Rendered(page).text


def test_in_a_report_nothing_is_live_wherever_a_text_stands() -> None:
    for text in EVIL:
        grid, quote = TableBlock([text, "b"], [[text, text]]), Quote(text, [(text, text)])
        page = render_markdown(Page(text, text, [text], [Section(text, tables=[grid], remarks=[text], quotes=[quote])]))
        shown = Rendered(page.partition("Made by")[0])
        assert shown.tags <= set("h1 h2 p blockquote strong table thead tbody tr th td pre code hr".split())
        assert not LINK.search(shown.prose)
