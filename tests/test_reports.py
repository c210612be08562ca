"""The pages about what came out, of which half was written by models."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from markupsafe import Markup

import manycall
from manycall.errors import UsageError
from manycall.judging.judge_result import read_judge_result
from manycall.reports import excerpts, svg_plots
from manycall.reports import page as pages
from manycall.reports.page import Page, Quote, Section
from manycall.store.output_reader import OutputReader
from shell import manycall as command

HOSTILE = (
    '<script>document.title="pwned"</script><img src="http://evil.example/x.png" onerror="document.title=\'pwned\'"> '
    "![x](http://evil.example/y.png) [x](javascript:alert(1)) ```\n# h\n````\n</pre></details></td></style>"
    "<style>*{display:none}</style> {{ 7*7 }} {% raw %} \u202egnp.exe \x1b]0;pwned\x07 \x00 | a | "
    "<svg onload=alert(1)> &amp;"
)
HARMLESS = set(
    "html head meta title style body h1 h2 p div figure figcaption span table thead tbody tr th td details summary pre "
    "footer svg line circle rect text".split()
)


def output(name: str, lines: list[dict[str, Any]], identity: dict[str, Any], failed: int = 0) -> Path:
    folder = Path(f"{name}.jsonl.run")
    folder.mkdir()
    Path(f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    session = {"started_at": 1.6e9, "ended_at": 1.6e9 + 60, "outcome": HOSTILE, "endpoints": ["http://gpu1:8000/v1"]}
    manifest = {
        "manycall_version": "0.9",
        "settings": identity,
        "source": {"count": len(lines) + 9},
        "sessions": [session],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    row = {"kind": "empty", "error": HOSTILE, "last_text": HOSTILE}
    (folder / "failures.jsonl").write_text(
        "".join(json.dumps(row | {"id": f"f{n}{HOSTILE}"}) + "\n" for n in range(failed))
    )
    return Path(f"{name}.jsonl")


def evaluated(name: str, right: int) -> Path:
    lines = [
        {
            "id": f"q{n}{HOSTILE}",
            "question": HOSTILE,
            "answer": "18",
            "response": f"The answer is {18 if n < right else 7}. {HOSTILE}",
            "finish_reason": "length" if n == 0 else "stop",
            "extracted": {"strict-match": HOSTILE, "last-number": "1"},
            "score": {"strict-match": float(n < right), "last-number": 0.0},
        }
        for n in range(10)
    ]
    params = {"max_tokens": 77, "temperature": 0.5, "stop": [HOSTILE]}
    return output(name, lines, {"job": "eval wordmath", "model": name + HOSTILE, "params": params}, failed=2)


def judged() -> Path:
    replies = [{"verdict": "A", "swapped": swapped, "reasked": True, "text": HOSTILE} for swapped in (False, True)]
    lines = [
        {"id": f"q{n}", "response": HOSTILE, "judge": {"verdict": "tie", "score": 0.5, "replies": replies}}
        for n in range(4)
    ]
    labels = [["A", 1.0], ["B", 0.0], ["tie", 0.5]]
    identity = {"job": "judge", "model": HOSTILE, "params": {}, "rubric": HOSTILE, "labels": labels, "orders": 2}
    return output("judged", lines, identity, failed=1)


@pytest.fixture(params=["eval", "compare", "judge"])
def result(request: pytest.FixtureRequest) -> Any:
    """What came out of hostile answers."""
    if request.param == "eval":
        return manycall.score(evaluated("a", 6))
    if request.param == "compare":
        return manycall.compare(evaluated("a", 6), evaluated("b", 8))
    return read_judge_result(judged(), "judge")


class Tags(HTMLParser):
    """What a browser would find on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_on_a_page_what_models_say_is_text_and_nothing_else(result: Any) -> None:
    manycall.write_report(result, "r.html")
    text = Path("r.html").read_text(encoding="utf-8")
    page = Tags(text)
    assert {tag for tag, _ in page.found} <= HARMLESS
    attributes = {name for _, attrs in page.found for name in attrs}
    assert not {name for name in attributes if name.startswith("on")} | attributes & {"src", "href", "srcset", "action"}
    policy = next(attrs["content"] for tag, attrs in page.found if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert text.index("Content-Security-Policy") < text.index("<title>")
    assert page.text.count('<script>document.title="pwned"</script>') > 3
    assert "{{ 7*7 }}" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert text.count("<style>") == 1


def test_in_markdown_what_models_say_is_text_and_nothing_else(result: Any) -> None:
    manycall.write_report(result, Path("r.md"))
    text = Path("r.md").read_text(encoding="utf-8")
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    found = {tag for tag, _ in Tags(rendered).found}
    assert found <= set("h1 h2 p blockquote strong table thead tbody tr th td pre code".split())
    assert "pwned" in Tags(rendered).text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)


def test_the_head_says_where_the_numbers_come_from() -> None:
    manycall.write_report(manycall.score(evaluated("a", 6)), "r.html")
    cells = re.sub(r"\s+", " ", Tags(Path("r.html").read_text()).text)
    for said in (
        "protocoleval wordmath", "endpointhttp://gpu1:8000/v1", "max_tokens77", "temperature 0.5",
        "rows12 of 19 scored (1 truncated, 2 without an answer)", "failures2 failed: 2 empty",
        "run by manycall 0.9, scored by",
        "1, from 2020-09-13 12:26:40 UTC to 2020-09-13 12:27:40 UTC", "Incomplete: 12 of 19 rows.",
        "2 (16.7%) of 12 rows have no answer (2 empty) and count as wrong.", "1 answers were truncated at max_tokens",
        "wordmathstrict-match0.5000",
    ):  # fmt: skip
        assert said in cells, said


def test_the_wrong_answers_are_those_of_the_scorer_that_is_named_not_those_of_the_run() -> None:
    path = evaluated("a", 8)
    path.write_text(path.read_text().replace('"strict-match": 0.0', '"strict-match": 1.0'))  # of another day
    for scorer, wrong in (("wordmath/strict-match", 2), ("regex:is (7)", 5), ("regex:is (18|7)", 2)):
        found = manycall.score(path, scorer=scorer)
        assert len(found.wrong_examples) == wrong
        assert {name for each in found.wrong_examples for name in each.extracted} == {scorer.removeprefix("wordmath/")}
    assert (found.wrong_examples[0].extracted, found.wrong_examples[0].answer) == ({"regex:is (18|7)": "7"}, "18")
    manycall.write_report(found, "r.md")
    assert "Answers with score 0" in Path("r.md").read_text()
    path.write_text(path.read_text().replace("The answer is 7", "The answer is 18"))
    manycall.write_report(manycall.score(path, scorer="regex:(18)"), "r.md")
    assert "Answers with score 0" not in Path("r.md").read_text()


def provenance_rows(name: str) -> dict[str, str]:
    """Where a page says its numbers come from."""
    manycall.write_report(manycall.score(name, scorer="boxed"), "r.md")
    table = Path("r.md").read_text().partition("## Provenance")[2].partition("## ")[0]
    return dict(re.findall(r"\| (\w+) +\| (.*?) +\|", table.replace("\\", "")))


def test_provenance_that_was_not_recorded_is_not_invented() -> None:
    Path("plain.jsonl").write_text('{"response":"x","answer":"y"}\n')
    sample = {"doc_id": 0, "doc": {}, "target": "1", "filter": "none", "resps": [["1"]], "filtered_resps": ["1"]}
    sent = {"until": ["Q:"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 99}
    Path("silent.jsonl").write_text(json.dumps(sample) + "\n")
    Path("samples.jsonl").write_text(json.dumps({**sample, "arguments": {"gen_args_0": {"arg_1": sent}}}) + "\n")
    for name in ("plain", "silent", "samples"):
        facts = provenance_rows(f"{name}.jsonl")
        unknown = [facts[what] for what in ("model", "endpoint", "sessions", "tokens")]
        assert unknown == ["not recorded"] * 4, name
        assert facts["versions"].startswith("scored by manycall"), name
        if name != "samples":
            assert (facts["max_tokens"], facts["parameters"]) == ("not recorded", "not recorded")
    assert facts["max_tokens"] == "99"
    assert facts["parameters"] == 'until ["Q:"], do_sample false, temperature 0.0'
    assert (provenance_rows("plain.jsonl")["failures"], provenance_rows("silent.jsonl")["failures"]) == (
        "not recorded",
        "none",
    )


def test_plots_are_whole_and_show_every_number() -> None:
    evil = "<b>&\"'"
    drawn = [
        svg_plots.interval_plot(
            evil,
            [
                svg_plots.IntervalMark(evil, 0.5, (0.4, 0.6), (0.3, 0.8)),
                svg_plots.IntervalMark("no interval", 0.55, None),
            ],
        ),
        svg_plots.interval_plot("differences", [svg_plots.IntervalMark("x", 0.02, (0.01, 0.03))], zero=True),
        svg_plots.interval_plot("nothing", []),
        svg_plots.interval_plot("one", [svg_plots.IntervalMark("same", 1.0, (1.0, 1.0))]),
        svg_plots.bar_chart(
            "lengths", [svg_plots.Bar(evil, (3, 4)), svg_plots.Bar("none", (0, 0))], ["--accent", "--other"]
        ),
        svg_plots.bar_chart("no rows", [], []),
        svg_plots.win_loss_chart("wins", [(evil, 3, 12), ("none", 0, 0)]),
    ]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.attrib["aria-label"] == root[0].text
        for number in re.findall(r'"(-?[\d.e+-]+)"', svg):
            assert -1 <= float(number) <= 2000
    texts = [text.text for text in ElementTree.fromstring(drawn[0]).iter("text")]
    assert {"0.5000", "0.5500", evil, "0.4", "0.6"} <= set(texts)
    circles = ElementTree.fromstring(drawn[0]).iter("circle")
    assert len({circle.attrib["cx"] for circle in circles}) == 2


def quotes_of(path: str, **fields: Any) -> dict[str, list[tuple[str, str]]]:
    """Of an output with this one row, quote -> its parts and their texts, as the page shows them."""
    row = {"id": "q1", "question": "Q-TEXT", "response": "R-TEXT", "answer": "A-TEXT", **fields}
    out = output(path, [row], {"job": "eval wordmath", "model": "m", "params": {}})
    if path == "judged":
        quotes = list(excerpts.verdict_quotes(OutputReader(out), "judge"))
    else:
        quotes = [
            *excerpts.AnswerLengths(OutputReader(out)).truncated,
            *excerpts.wrong_answer_quotes(manycall.score(out, scorer="regex:(R)").wrong_examples),
        ]
    return {quote.title: list(quote.texts) for quote in quotes}


def test_a_quote_shows_the_question_the_response_and_the_answer_each_under_its_name() -> None:
    whole = [("question", "Q-TEXT"), ("response", "R-TEXT"), ("answer", "A-TEXT")]
    assert quotes_of("cut", finish_reason="length") == {"q1: truncated at max_tokens": whole}
    assert quotes_of("wrong") == {"q1: regex:(R) extracted 'R'": whole}


def test_a_quote_of_a_verdict_shows_the_judged_response_and_what_the_judge_said() -> None:
    replies = [{"verdict": "A", "text": "J-TEXT"}, {"verdict": "B", "swapped": True, "text": "K-TEXT"}]
    assert quotes_of("judged", judge={"verdict": "tie", "score": 0.5, "replies": replies}) == {
        "q1: tie": [("answer", "R-TEXT"), ("judge", "J-TEXT"), ("judge, answers swapped", "K-TEXT")]
    }


def test_sections_that_hold_nothing_are_left_out() -> None:
    page = Page("t", "", [], [Section("Empty"), Section("Full", remarks=["something"])])
    for write in (pages.render_html, pages.render_markdown):
        assert "Full" in write(page)
        assert "Empty" not in write(page)


@pytest.mark.parametrize(
    ("path", "said"),
    [("r.txt", r"must end in \.html or \.md"), ("no/r.md", "the folder no does not exist"), ("r", r"\.html or \.md")],
)
def test_a_report_that_cannot_be_written_is_refused_before_any_cost(path: str, said: str) -> None:
    done = command("eval", "wordmath", "-u", "sim", "-m", "any", "-o", "o.jsonl", "--report", path)
    assert done.code == 2
    assert re.search(said, done.err)
    assert not Path("o.jsonl").exists()


def test_a_result_without_a_report_is_refused_with_those_that_have_one() -> None:
    written = manycall.generate("hi", samples=1, model="m", base_url="sim", out="g.jsonl", progress=False)
    with pytest.raises(UsageError, match=r"no report of RunResult\. A report shows one of: EvalResult, "):
        manycall.write_report(written, "g.html")  # type: ignore[arg-type]


def test_a_report_never_overwrites_a_run() -> None:
    evaluated("a", 6)
    Path("a.md.run").mkdir()
    with pytest.raises(UsageError, match="output of a run"):
        manycall.write_report(manycall.score("a.jsonl"), "a.md")


def test_every_command_with_a_score_writes_a_report() -> None:
    words = ("-u", "sim:latency=0", "-m", "any", "--limit", "20")
    assert command("eval", "wordmath", *words, "-o", "a.jsonl", "--report", "eval.html").code == 0
    assert command("score", "a.jsonl", "--report", "score.md").code == 0
    assert command("compare", "a.jsonl", "a.jsonl", "--report", "compare.html").code == 0
    judge = ("judge", "a.jsonl", "--rubric", "{{ response }}", "-o", "j.jsonl", "--report", "judge.HTML")
    assert command(*judge, *words).code == 0
    titles = [re.sub("<.*?>|#", "", Path(name).read_text()) for name in ("eval.html", "score.md", "compare.html")]
    assert all("a.jsonl" in title for title in titles)
    assert "Judge: j.jsonl" in Path("judge.HTML").read_text()


def test_a_browser_finds_nothing_to_run(result: Any) -> None:
    """Not even if a text had not been escaped: the page forbids itself scripts."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium here")
    manycall.write_report(result, "r.html")
    broken = Page("kept", "", [], [Section("s", quotes=[Quote("q", [("x", Markup(HOSTILE))])])])
    Path("broken.html").write_text(pages.render_html(broken), encoding="utf-8")
    for name, title in (("r.html", ""), ("broken.html", "kept")):
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", Path(name).resolve().as_uri()]
        dom = subprocess.run(words, capture_output=True, timeout=60, check=True).stdout.decode()
        found = re.search("<title>(.*?)</title>", dom)
        assert found is not None
        assert title in found[1] != "pwned"
