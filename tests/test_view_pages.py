"""The pages of `manycall view` in a real browser: hostile texts, keyboard, accessibility, state in the address.

Fixture replies answer every request (view_browser.py). A missing browser skips these tests; in CI it is a failure.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from view_browser import ORIGIN, SET_HIDDEN, Tab, browser
from view_fixtures import COUNTS, EVAL, FAILED, JUDGED, NOW, OTHER, RUNS, STORY, FixtureApi, compared, detail, timeline

PAGES = {
    "runs": "/",
    "live": f"/run/{RUNS[0]['id']}/live",
    "rows": f"/run/{EVAL}/rows",
    "row": f"/run/{EVAL}/row/2?at=2",
    "compare": f"/compare?runs={EVAL},{OTHER}",
    "judge": f"/run/{JUDGED}/judge",
    "data": f"/run/{STORY}/data",
}
READY = {
    "runs": ".grid-row",
    "live": ".chart canvas",
    "rows": ".grid-row .good",
    "row": "mark.found",
    "compare": ".grid-row .bad",
    "judge": ".interval",
    "data": ".histogram button",
}
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(2)</script>",
    "</script><script>alert(3)</script>",
    "javascript:alert(4)",
    "<iframe srcdoc='<script>parent.alert(5)</script>'></iframe>",
    "<a href='http://evil.example/'>click</a>",
    "<style>@import 'http://evil.example/x'</style>",
    "![x](http://evil.example/x.png)",
    "$\\href{javascript:alert(6)}{x}$",
    "<svg/onload=alert(7)>",
    "\u202egnp.exe\u202c",
    "\u200b\u2066\u0000\u001b]0;title\u0007\u001b[2J",
    "\ud800",
    "{{constructor.constructor('alert(8)')()}}",
    "'\"><b>",
    "a/b#c?d=e&f<g",
    "__proto__",
    "\U000e0041\U000e0042",
    "x" * 5000,
    "\n\r\t" * 50,
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as started:
        yield started


@pytest.fixture
def tab(chromium: Any) -> Iterator[Tab]:
    opened = Tab(chromium)
    yield opened
    opened.close()
    assert opened.faults == []


def selected(page: Any) -> str:
    """The text of the selected row."""
    return str(page.locator(".grid-row.selected").inner_text())


WCAG = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
CONTRAST = {"type": "rule", "values": ["color-contrast"]}
"""What another theme may change."""


def violations(page: Any, rules: dict[str, Any]) -> list[str]:
    """Return what axe finds."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]}).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node['any'][0]['message'] if node['any'] else ''}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_in_light_and_dark(tab: Tab, name: str) -> None:
    tab.page.set_viewport_size({"width": 1280, "height": 560})  # fewer rows, less for axe to look at
    page = tab.open(PAGES[name])
    page.locator(READY[name]).first.wait_for()
    assert violations(page, WCAG) == []
    page.get_by_role("button", name="Dark", exact=True).click()
    page.get_by_role("button", name="Light", exact=True).wait_for()
    assert violations(page, CONTRAST) == []


def test_charts_take_the_colors_of_the_theme_that_a_button_chooses(tab: Tab) -> None:
    page = tab.open(PAGES["live"])
    page.locator(READY["live"]).first.wait_for()
    page.get_by_role("button", name="Dark", exact=True).click()
    page.get_by_role("button", name="Light", exact=True).wait_for()
    color = "each => getComputedStyle(each).borderTopColor"
    assert page.locator(".u-marker").last.evaluate(color) == page.locator(".top nav a").first.evaluate(
        "each => (each.style.color = 'var(--accent)', getComputedStyle(each).color)"
    )


def hostile_api() -> FixtureApi:
    """Replies in which every text is hostile."""
    rows = [
        {
            "id": text,
            "question": text,
            "answer": text,
            "response": f"```\n{text}\n```\n{text}",
            "finish_reason": text,
            "extracted": {"strict-match": text},
            "score": {"strict-match": 0.0},
            text: text,
        }
        for text in HOSTILE
    ]
    everywhere = "".join(HOSTILE[:12])
    runs = [
        {
            **run,
            "name": everywhere,
            "job": everywhere,
            "model": everywhere,
            "note": everywhere,
            "state_text": everywhere,
            "remedy": everywhere,
        }
        for run in RUNS
    ]
    hostile_events = [{"time": NOW, "endpoint": everywhere, "event": everywhere}]
    live = {
        **detail(RUNS[0]["id"]),
        "name": everywhere,
        "path": everywhere,
        "state_text": everywhere,
        "remedy": everywhere,
        "events": hostile_events,
        "settings": {everywhere: everywhere},
        "failures": [{"id": everywhere, "kind": everywhere, "error": everywhere, "n": 0}],
        "oldest": [{"id": everywhere, "endpoint": everywhere, "seconds": 1.0}],
        "damage": [{"file": "out", "at": 0, "error": everywhere, "hint": everywhere}],
    }
    run = RUNS[0]["id"]
    verdicts = [{"verdict": text, "count": 1, "share": 0.1, "interval": None} for text in HOSTILE]
    groups = [{"n": [0, 1], "count": 2, "text": everywhere}]
    return FixtureApi(
        rows,
        {
            "runs": {"version": "1", "folder": everywhere, "time": NOW, "complete": True, "runs": runs},
            f"runs/{run}": live,
            f"runs/{run}/timeline": {
                **timeline(30),
                "events": hostile_events,
                "limited_by": [{"from": NOW - 30, "to": NOW, "reason": everywhere, "text": everywhere}],
            },
            f"runs/{JUDGED}/judge": {
                "state": "done",
                "seconds": 0,
                "result": {
                    "verdicts": verdicts,
                    "score": None,
                    "reasked_rows": 0,
                    "rubric": everywhere,
                    "output_field": everywhere,
                },
            },
            f"runs/{STORY}/data": {
                "state": "done",
                "seconds": 0,
                "result": {
                    "rows": 2,
                    "duplicates": 1,
                    "distinct_1": 1,
                    "distinct_2": 1,
                    "groups": groups,
                    "near": everywhere,
                    "rejects": [{"reason": everywhere, "count": 1}],
                },
            },
            "compare": {"state": "refused", "error": everywhere, "hint": everywhere},
            "compare/difference": {
                "n": [0, 0],
                "fields": ["response"] * 2,
                "texts": [everywhere] * 2,
                "difference": [["-", everywhere], ["+", everywhere], ["=", everywhere]],
            },
        },
    )


def test_hostile_texts_are_shown_as_text_on_every_page(chromium: Any) -> None:
    tab = Tab(chromium, hostile_api())
    for name in ("runs", "live", "rows", "compare", "judge", "data", *(f"row {n}" for n in range(len(HOSTILE)))):
        page = tab.open(f"/run/{EVAL}/row/{name[4:]}" if name.startswith("row ") else PAGES[name])
        page.locator(
            READY["compare"] if name == "compare" else ".grid-row" if name in {"runs", "rows"} else "main p, main td"
        ).first.wait_for()
        if name == "compare":
            page.locator(".grid").focus()
            page.keyboard.press("Enter")
            page.locator(".difference.first").first.wait_for()
        elements = "main img, main script, main iframe, main style, main svg, main a:not([href^='#/'])"
        assert page.locator(elements).count() == 0
    assert tab.faults == []
    tab.close()


def test_control_characters_are_visible_and_copying_copies_what_came(tab: Tab) -> None:
    page = tab.open("/")
    parts = page.evaluate("async () => (await import('/static/text.js')).controlParts('a\\u202eb\\u{e0041}\\x1b')")
    assert parts == [
        {"text": "a"},
        {"text": "\u202e", "code": "U+202E"},
        {"text": "b"},
        {"text": "\U000e0041", "code": "U+E0041"},
        {"text": "\x1b", "code": "U+001B"},
    ]
    rows = [{"id": "x", "response": "pay \u202e001\u202c now"}]
    tab.api.rows = rows
    page = tab.open(f"/run/{EVAL}/row/0")
    page.locator("h2", has_text="Answer").wait_for()
    assert (
        page.locator(".panel", has=page.locator("h2", has_text="Answer"))
        .locator("bdi.text")
        .evaluate("each => each.textContent")
        == rows[0]["response"]
    )
    assert page.locator(".control").first.evaluate("each => getComputedStyle(each, '::before').content") == '"U+202E"'


def test_without_the_token_the_page_says_how_to_get_it(chromium: Any) -> None:
    tab = Tab(chromium)
    tab.page.goto(f"{ORIGIN}/")
    tab.page.get_by_text("the address that the command printed").wait_for()
    tab.close()


def test_the_token_leaves_the_address_and_the_history(tab: Tab) -> None:
    page = tab.open(f"/run/{EVAL}/rows?where=ending+%3D+length")
    assert page.url == f"{ORIGIN}/#/run/{EVAL}/rows?where=ending+%3D+length"
    page.reload()
    page.locator(".grid-row").first.wait_for()


def test_every_action_works_by_keyboard_alone(tab: Tab) -> None:  # noqa: PLR0915 (one walk)
    page = tab.open("/")
    page.locator(".grid-row").first.wait_for()
    keys = page.keyboard
    for key in ("j", "j", "j", "j", "x", "j", "x"):
        keys.press(key)
    assert "large.jsonl" in selected(page)
    keys.press("c")
    page.locator("h1", has_text="Compare").wait_for()
    page.locator(READY["compare"]).first.wait_for()
    page.locator(".grid").focus()
    keys.press("Enter")
    page.get_by_text("mark the words that differ").wait_for()
    keys.press("Escape")
    page.get_by_text("mark the words that differ").wait_for(state="detached")
    keys.press("g")
    keys.press("r")
    page.locator("h1", has_text="Runs").wait_for()
    page.locator(".grid-row").first.wait_for()
    keys.press("/")
    keys.type("small")
    page.locator(".grid-row").nth(1).wait_for(state="detached")
    keys.press("Escape")
    keys.press("Home")
    keys.press("Enter")
    page.locator("h1", has_text="small.jsonl").wait_for()
    keys.press("g")
    keys.press("t")
    page.locator(".grid-row").first.wait_for()
    keys.press("w")
    page.get_by_text("401 of 1,319 rows").wait_for()
    keys.press("End")
    page.get_by_text("row 401 selected").wait_for()
    keys.press("Home")
    keys.press("j")
    keys.press("Enter")
    page.get_by_text("2 of 401").wait_for()
    keys.press("n")
    page.get_by_text("3 of 401").wait_for()
    keys.press("p")
    page.get_by_text("2 of 401").wait_for()
    keys.press("Escape")
    page.get_by_text("row 2 selected").wait_for()
    keys.press("f")
    keys.type("score.strict-match =")
    keys.press("Enter")
    page.get_by_text("Expected a value").wait_for()
    page.locator("#where").fill("ending = length")
    keys.press("Enter")
    page.get_by_text("27 of 1,319 rows").wait_for()
    keys.press("Escape")
    keys.press("?")
    dialog = page.locator("dialog")
    dialog.get_by_text("wrong rows only").wait_for()
    keys.press("Escape")
    dialog.wait_for(state="detached")


def test_the_grid_is_one_tab_stop(tab: Tab) -> None:
    page = tab.open(f"/run/{EVAL}/rows")
    page.locator(".grid-row").first.wait_for()
    page.locator(".grid").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.grid')") is None
    page.keyboard.press("Shift+Tab")
    assert page.locator(".grid").get_attribute("aria-activedescendant") == "row-0"


def test_single_key_shortcuts_can_be_switched_off(tab: Tab) -> None:
    page = tab.open("/")
    page.keyboard.press("?")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    page.keyboard.press("?")
    assert page.locator("dialog").count() == 0
    page.keyboard.press("ArrowDown")
    assert "stories" in selected(page)


def test_the_address_alone_restores_a_view(tab: Tab) -> None:
    page = tab.open(f"/run/{EVAL}/rows")
    page.get_by_role("radio", name="wrong").click()
    page.get_by_label("Order").select_option("-answer.len")
    page.get_by_text("ordered by length of the answer ↓").wait_for()
    page.locator(".grid-row").nth(3).click()
    page.wait_for_url("**at=3**")
    first = selected(page)
    tab.page = tab.context.new_page()
    tab.page.clock.set_fixed_time(NOW)
    tab.page.goto(page.url)
    tab.page.get_by_text("401 of 1,319 rows").wait_for()
    assert selected(tab.page) == first
    assert tab.page.locator(".chip").inner_text().startswith("score.strict-match < 1")


def test_sentences_of_the_server_are_chinese_on_the_chinese_page(chromium: Any) -> None:
    tab = Tab(chromium, locale="zh-CN")
    page = tab.open(f"/run/{EVAL}/rows?where=score.strict-match+%3D")
    page.get_by_text("缺少值").wait_for()
    page = tab.open(f"/run/{EVAL}/row/2")
    page.get_by_text("这正是发送的内容").wait_for()
    said = page.evaluate(
        "async (texts) => { const { say } = await import('/static/words.js'); return texts.map(say); }",
        ["The prompt cannot be shown. This needs too much memory.", "window 8, server at capacity", *HOSTILE, None],
    )
    assert said[:2] == ["无法显示提示。需要的内存太多。", "并发窗口 8，服务端已达上限"]
    assert said[2:] == [*HOSTILE, ""]
    assert tab.faults == []
    tab.close()


def test_back_and_forward_change_the_page(tab: Tab) -> None:
    page = tab.open("/")
    page.locator(".grid-row").nth(0).dblclick()
    page.locator(".chart").first.wait_for()
    page.go_back()
    page.locator("h1", has_text="Runs").wait_for()
    page.go_forward()
    page.locator(".chart").first.wait_for()


def test_a_bar_adds_a_condition_and_its_chip_removes_it(tab: Tab) -> None:
    page = tab.open(f"/run/{EVAL}/rows")
    page.locator(".facet-bar", has_text="length").click()
    page.get_by_text("27 of 1,319 rows").wait_for()
    page.get_by_role("button", name="Remove the condition").click()
    page.get_by_text("1,319 of 1,319 rows").wait_for()
    assert selected(page).startswith("q-0")


class ManyRows(FixtureApi):
    """A million rows, made when they are asked for."""

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        offset, limit = int(query.get("offset") or 0), int(query.get("limit") or 50)
        rows = [
            {"n": n, "id": f"q-{n}", "cells": {"id": f"q-{n}", "question": f"question {n}"}, "lengths": {}}
            for n in range(offset, min(offset + limit, 10**6))
        ]
        return {
            "file": "out",
            "rows_in_file": 10**6,
            "indexed": 10**6,
            "complete": True,
            "scanned": 1.0,
            "total": 10**6,
            "counted": True,
            "search": None,
            "rows": rows,
        }


def test_a_million_rows_can_all_be_reached_with_few_elements(chromium: Any) -> None:
    tab = Tab(chromium, ManyRows())
    page = tab.open(f"/run/{EVAL}/rows")
    page.locator(".grid-row", has_text="question 0").wait_for()
    page.keyboard.press("End")
    page.locator(".grid-row.selected", has_text="q-999999").wait_for()
    page.set_viewport_size({"width": 1280, "height": 600})
    page.locator(".grid-row.selected", has_text="q-999999").wait_for()
    page.keyboard.press("ArrowUp")
    page.locator(".grid-row.selected", has_text="q-999998").wait_for()
    page.locator(".grid").evaluate("grid => { grid.scrollTop = grid.scrollHeight / 2; }")
    page.locator(".grid-row", has_text=re.compile(r"question (49|50)\d{4}$")).first.wait_for()
    before = page.locator(".grid-row").first.inner_text()
    page.locator(".grid").hover()
    page.mouse.wheel(0, 280)
    page.wait_for_function("before => document.querySelector('.grid-row').innerText !== before", arg=before)
    number = [
        int(re.findall(r"question (\d+)", text)[0]) for text in (before, page.locator(".grid-row").first.inner_text())
    ]
    assert 5 <= number[1] - number[0] <= 15  # ten rows of 28 px, not a share of a million
    assert page.locator("*").count() < 800
    assert tab.faults == []
    tab.close()


def test_the_page_works_at_200_percent_zoom_and_on_a_narrow_screen(chromium: Any) -> None:
    tab = Tab(chromium, viewport={"width": 420, "height": 700})
    for name, fragment in PAGES.items():
        page = tab.open(fragment)
        page.locator(READY[name]).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 420, name
    assert tab.faults == []
    tab.close()


def test_the_page_is_chinese_where_the_browser_is(chromium: Any) -> None:
    tab = Tab(chromium, locale="zh-CN")
    page = tab.open(PAGES["runs"])
    page.get_by_text("运行中").first.wait_for()
    page.get_by_role("button", name="English").click()
    page.locator("h1", has_text="Runs").wait_for()
    tab.close()


def test_a_failed_row_says_why(tab: Tab) -> None:
    page = tab.open(f"/run/{EVAL}/row/1?file=failures")
    page.get_by_text("This row failed").wait_for()
    page.get_by_text(FAILED[1]["error"]).first.wait_for()
    page.get_by_text("attempts of the last call: ").wait_for()


def test_an_error_of_the_server_is_shown_with_its_hint(chromium: Any) -> None:
    tab = Tab(
        chromium, FixtureApi(replies={"runs": {"error": "The folder is gone.", "hint": "manycall view elsewhere"}})
    )
    page = tab.open("/")
    page.get_by_text("The folder is gone.").wait_for()
    page.get_by_text("manycall view elsewhere").wait_for()
    tab.close()


def test_a_query_that_was_too_slow_is_asked_again(chromium: Any) -> None:
    slow = {"error": "This took too long: narrow it.", "hint": "", "status": 503}
    tab = Tab(chromium, FixtureApi(replies={f"runs/{EVAL}/rows": slow}))
    page = tab.open(f"/run/{EVAL}/rows")
    page.get_by_text("This took too long").wait_for()
    tab.api.replies = {}
    page.get_by_text("1,319 of 1,319 rows").wait_for()
    tab.close()


@pytest.mark.parametrize(("name", "last"), [("live", ".chart canvas"), ("rows", ".column")])
def test_a_hidden_tab_sends_no_request_and_continues_when_it_is_shown(chromium: Any, name: str, last: str) -> None:
    tab = Tab(chromium)
    tab.page.clock.install(time=NOW)
    sent: list[str] = []
    tab.page.on("request", lambda request: sent.append(request.url))
    page = tab.open(PAGES[name].replace(EVAL, RUNS[0]["id"]))
    page.locator(last).first.wait_for()
    page.evaluate(SET_HIDDEN, True)
    page.clock.run_for(100)
    sent.clear()
    for _ in range(6):
        page.clock.run_for(10_000)
        page.evaluate("1")  # what the page has sent by now has been noted
    assert sent == []
    page.evaluate(SET_HIDDEN, False)
    with page.expect_request("**/api/**"):
        page.clock.run_for(5000)
    tab.close()


def test_pure_functions_of_the_page(tab: Tab) -> None:
    page = tab.open("/")
    check = """async () => {
      const { splitConditions, addCondition } = await import('/static/filter.js');
      const { topRow, scrollFor, moved } = await import('/static/grid.js');
      const { EventParser } = await import('/static/stream.js');
      const { parseRoute, formatRoute } = await import('/static/route.js');
      const { duration, bytes } = await import('/static/format.js');
      const { fencedRanges, lastOccurrence } = await import('/static/text.js');
      const { addLines } = await import('/static/timeline.js');
      const parser = new EventParser();
      const million = [0, 1, 499999, 999980].map((row) => topRow(scrollFor(row, 1e6, 20, 560), 1e6, 20, 560));
      const state = addLines({}, [
        { time: 1, calls_per_s: 2, limited_by: 'window 8', retries: 1, total_ended: 3 },
        { time: 2, calls_per_s: 4, limited_by: 'window 8', retries: 4, total_ended: 5 },
        { time: 2, event: 'e', endpoint: 'u' }, { health: true, endpoint: 'u', in_flight: 3 },
      ], {});
      return {
        split: ['a = 1 and b ~ "x and y" and (c = 1 or d = 2)', 'a = 1 or b = 2', ''].map(splitConditions),
        added: [addCondition('a = 1 or b = 2', 'c = 3'), addCondition('a = 1', 'a = 1'), addCondition('', 'a = 1')],
        million, keys: [moved('End', 3, 10, 4), moved('PageUp', 3, 10, 4), moved('x', 3, 10, 4)],
        events: [...parser.push('id: 7\\nevent: lines\\nda'), ...parser.push('ta: [1]\\n\\n: keep\\n\\n')],
        route: formatRoute(parseRoute('#/run/ab/row/7?where=a+%3D+1')),
        texts: [duration(0.34), duration(250), duration(11100), bytes(1030000000)],
        fences: fencedRanges('a\\n```py\\nx\\n```\\nb'), found: lastOccurrence('3 and 3', '3'),
        live: [
          state.timeline.series.calls_per_s.mean, state.timeline.series.retries_per_s.mean,
          state.timeline.limited_by, state.endpoints.length, state.timeline.events.length,
        ],
      };
    }"""
    assert page.evaluate(check) == {
        "split": [["a = 1", 'b ~ "x and y"', "(c = 1 or d = 2)"], ["a = 1 or b = 2"], []],
        "added": ["(a = 1 or b = 2) and c = 3", "a = 1", "a = 1"],
        "million": [0, 1, 499999, 999980],
        "keys": [9, 0, None],
        "events": [{"id": "7", "event": "lines", "data": "[1]"}],
        "route": "#/run/ab/row/7?where=a+%3D+1",
        "texts": ["340 ms", "4 min 10 s", "3 h 5 min", "1.03 GB"],
        "fences": [[2, 13]],
        "found": [6, 7],
        "live": [[2, 4], [None, 3], [{"from": 1, "to": 2, "reason": "window", "text": "window 8"}], 1, 1],
    }


def test_a_live_page_that_stays_open_keeps_a_bounded_number_of_points_and_spans(tab: Tab) -> None:
    follow = """async (texts) => {
      const { addLines } = await import('/static/timeline.js');
      let state = {};
      for (let time = 0; time < 5000; time += 1) {
        state = addLines(state, [{ time, calls_per_s: 1, limited_by: texts[time % texts.length] }], {});
      }
      const spans = state.timeline.limited_by;
      const isWhole = spans.every((span, index) => index === 0 || span.from === spans[index - 1].to);
      const points = state.timeline.time.length;
      return { points, spans: spans.length, isWhole, from: spans[0].from, last: spans.at(-1) };
    }"""
    page = tab.open("/")
    same = page.evaluate(follow, ["window 40", "window 41", "claude-judge: window 42"])
    assert (same["spans"], same["from"], same["last"]["to"]) == (1, 0, 4999)
    assert same["last"]["reason"] == "window"
    turns = page.evaluate(follow, ["window 40", "quota 60 rpm"])
    assert turns["points"] <= 1500
    assert turns["spans"] <= 600
    assert turns["isWhole"]
    assert (turns["from"], turns["last"]["to"]) == (0, 4999)


def test_a_component_asks_again_as_often_as_its_newest_render_says(tab: Tab) -> None:
    page = tab.open("/")
    page.evaluate("""async () => {
      const { html, render } = await import('/static/dom.js');
      const { useData } = await import('/static/load.js');
      const Part = ({ every }) => (useData('runs', { part: 1 }, every), null);
      const place = document.body.appendChild(document.createElement('div'));
      render(html`<${Part} every=${() => 0} />`, place);
      render(html`<${Part} every=${() => 20} />`, place);
    }""")
    for _ in range(100):
        page.wait_for_timeout(10)
        if len([url for url in tab.api.asked if "part=1" in url]) > 1:
            return
    raise AssertionError("It did not ask again.")


def test_words_that_differ_are_marked_without_a_judgement(tab: Tab) -> None:
    page = tab.open(PAGES["compare"])
    page.locator(READY["compare"]).first.wait_for()
    page.locator(".grid-row").first.dblclick()
    page.locator(".difference.other").first.wait_for()
    style = "each => [getComputedStyle(each).backgroundColor, getComputedStyle(each).textDecorationLine]"
    first, other = (page.locator(f".difference.{side}").first.evaluate(style) for side in ("first", "other"))
    assert first == other
    assert "line-through" not in first[1]


def test_a_comparison_uses_the_names_of_the_runs_and_says_what_is_significant(chromium: Any) -> None:
    more_lost = {**compared({}), "counts": {**COUNTS, "won": 3, "lost": 24}}
    tab = Tab(chromium, FixtureApi(replies={"compare/rows": more_lost}))
    page = tab.open(PAGES["compare"])
    page.get_by_role("radio", name="small is better 24", checked=True).wait_for()
    page.get_by_role("radio", name="different 27", checked=False).wait_for()
    page.get_by_text("large is better by 0.0159 in strict-match (significant, p = 4.9e-5)").wait_for()
    page.get_by_role("cell", name="not significant, p = 0.210").wait_for()
    page.get_by_text("manycall compare runs/small.jsonl runs/large.jsonl").wait_for()
    heads = page.locator("th").all_inner_texts()
    assert heads[1:4] == ["small", "large", "large − small [95 %]"]
    assert {"small", "large"} <= set(page.get_by_role("columnheader").all_inner_texts())
    page.locator(".grid-row").first.dblclick()
    page.get_by_role("link", name="row of large").wait_for()
    words = " ".join(page.locator("main :is(h1, h2, h3, th, button, a, [role=columnheader])").all_inner_texts())
    assert not re.search(r"\b(first|other)\b", words, re.I)
    assert tab.faults == []
    tab.close()


def test_clicks_on_the_boxes_mark_runs_for_a_comparison(tab: Tab) -> None:
    page = tab.open("/")
    page.locator(".grid-row").first.wait_for()
    page.get_by_role("button", name="Compare: mark two runs", disabled=True).wait_for()
    boxes = page.locator(".grid").get_by_role("checkbox")
    for box in (2, 1, 2):
        boxes.nth(box).click()
    boxes.nth(0).dblclick()  # marked and not marked, and still this page
    boxes.nth(2).click()
    page.locator(".grid").get_by_role("checkbox", checked=True).nth(1).wait_for()
    page.get_by_role("button", name="Compare 2 marked").click()
    page.locator("h1", has_text="Compare").wait_for()


def test_a_click_on_an_id_opens_its_row(tab: Tab) -> None:
    page = tab.open(f"/run/{EVAL}/rows?where=ending+%3D+length")
    row = page.locator(".grid-row").nth(2)
    row.locator(".cell").nth(1).click()
    page.locator(".grid-row.selected").nth(0).wait_for()
    row.get_by_role("link").click()
    page.get_by_text("3 of 27").wait_for()


def test_cost_and_problems_of_runs_are_visible_on_a_small_screen(chromium: Any) -> None:
    tab = Tab(chromium, viewport={"width": 1366, "height": 768})
    page = tab.open("/")
    page.locator(".grid-row").first.wait_for()
    for name in ("Cost", "Problems"):
        box = page.get_by_role("columnheader", name=name).bounding_box()
        assert box["x"] + box["width"] <= 1366 - 16, name
    tab.close()
