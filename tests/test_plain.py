"""What is shown gives a terminal no orders; what is written stays as it came."""

import json
from pathlib import Path

import pytest

from leaks import search
from manycall.terminal import escape_json_controls, sanitize, sanitize_line
from servers import http, saying, serving
from shell import manycall, rows

ATTACKS = {
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "title": ("\x1b]0;pwned\x07ok", "ok"),
    "title that ends with ST": ("\x1b]2;pwned\x1b\\ok", "ok"),
    "clipboard (OSC 52)": ("\x1b]52;c;cm0gLXJmIH4=\x07ok", "ok"),
    "hyperlink (OSC 8)": ("\x1b]8;;http://evil\x1b\\bank\x1b]8;;\x1b\\", "bank"),
    "OSC without its end": ("a\x1b]0;pwned\nok", "a\nok"),
    "makes the terminal type (DECRQSS)": ("\x1bP$q\x1b\\ok", "ok"),
    "wipes the screen": ("\x1b[2J\x1b[Hok", "ok"),
    "over the lines above": ("\x1b[3A\x1b[2Kall 1000 done", "all 1000 done"),
    "over this line": ("failed\rdone  ", "faileddone  "),
    "backspaces": ("failed" + "\b" * 6 + "done", "faileddone"),
    "resets the terminal": ("\x1bcok", "ok"),
    "another character set": ("\x1b(0ok", "ok"),
    "alternate screen": ("\x1b[?1049hok", "ok"),
    "CSI in one character": ("\x9b31mred", "red"),
    "OSC in one character": ("\x9d0;pwned\x9cok", "ok"),
    "half a sequence at the end": ("ok\x1b[", "ok"),
    "one ESC at the end": ("ok\x1b", "ok"),
    "sequences in a sequence": ("\x1b[\x1b[31m31mred", "31mred"),
    "bell and null": ("o\x07\x00k\x7f", "ok"),
    "bidi override": ("user\u202etxt.exe", "usertxt.exe"),
    "bidi isolates": ("\u2066a\u2069\u2067b\u2068", "ab"),
    "direction marks": ("a\u200e\u200f\u061cb", "ab"),
    "what shows nothing": ("a\u200b\u2060\ufeff\u2028b", "ab"),
    "half a character": ("a\udcffb\ud83d", "a\ufffdb\ufffd"),
}
HARMLESS = [
    "讲一个吸引人的、简短的故事。",
    "👩‍👩‍👧 👍🏽 🏴󠁧󠁢󠁳󠁣󠁴󠁿 ❤️",
    "می‌خواهم",
    "עברית العربية",
    "a\tb\nc",
    "×±µé",
    "[31m [red] \\x1b",
]


@pytest.mark.parametrize("name", ATTACKS)
def test_orders_to_a_terminal_are_not_shown(name: str) -> None:
    text, shown = ATTACKS[name]
    assert sanitize(text) == shown
    assert sanitize(sanitize(text)) == shown
    assert json.loads(escape_json_controls(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_all_that_is_harmless_is_shown_as_it_is(text: str) -> None:
    assert sanitize(text) == text
    assert escape_json_controls(text) == text


def test_one_line_is_one_line() -> None:
    assert sanitize_line("a\r\nmanycall: all is well\t\x1b[1mb ") == "a manycall: all is well b"


HOSTILE = "".join(text for name, (text, _) in ATTACKS.items() if name != "half a character")
FORBIDDEN = [*(c for c in map(chr, range(32)) if c not in "\n"), "\x7f", "\x9b", "\x9d", "\u202e", "\u2066", "\u200b"]


def harmless(text: str) -> bool:
    return not any(c in text for c in FORBIDDEN)


def test_a_row_function_that_raises_a_hostile_text_is_harmless_on_the_screen_and_whole_in_the_file() -> None:
    said = "\x9b2J\u202e" + HOSTILE
    Path("f.py").write_text(f"async def f(row, llm):\n    raise ValueError({said!r})\n")
    Path("in.jsonl").write_text('{"q": 1}\n')
    for more in ((), ("--json",)):
        done = manycall("run", "f.py:f", "in.jsonl", "-u", "sim", "-m", "any", "-o", "o.jsonl", *more)
        assert done.code == 3
        assert "ValueError" in done.out
        assert harmless(done.out + done.err)
    (failure,) = rows(Path("o.jsonl.run/failures.jsonl"))
    assert "\x1b]52;c;" in failure["error"]


def test_a_servers_hostile_message_and_a_hostile_models_name_are_harmless() -> None:
    body = json.dumps({"error": {"message": HOSTILE, "code": "\x1b[31mx"}}).encode()
    with serving(saying(http(404, body))) as url:
        done = manycall("generate", "-p", "x", "-n", "2", "-u", url, "-m", "m\u202e\u200b", "-o", "o.jsonl")
    assert done.code == 4
    assert "returned status 404" in done.err
    assert "-m 'm" in done.err
    assert harmless(done.out + done.err)


def test_a_hostile_row_id_or_file_name_is_harmless() -> None:
    Path("in.jsonl").write_text(json.dumps({"id": HOSTILE, "q": 1}) + "\n")
    name = "in\u202e\u2066.jsonl"
    Path(name).write_text(Path("in.jsonl").read_text() * 2)
    generate = ("generate", "-p", "{{ q }}", "-u", "sim", "-m", "any")
    twice = manycall(*generate, name, "-o", "o.jsonl")
    assert (twice.code, "duplicate id" in twice.err) == (2, True)
    once = manycall(*generate, "in.jsonl", "-o", "o\u202e\u200b.jsonl")
    assert once.code == 0
    assert harmless(twice.out + twice.err + once.out + once.err)
    assert "\x1b]52;c;" in rows(Path("o\u202e\u200b.jsonl"))[0]["id"]


def test_a_control_character_in_the_command_is_refused() -> None:
    done = manycall("score", "a\x1b]0;pwned\x07.jsonl")
    assert (done.code, done.err.count("\n"), "control character" in done.err) == (2, 1, True)
    assert harmless(done.err)


def test_a_screen_that_knows_only_ascii_is_no_reason_to_fail() -> None:
    generate = ("generate", "-p", "讲故事", "-n", "1", "-u", "sim", "-m", "any", "-o", "故事.jsonl")
    done = manycall(*generate, env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 0
    assert "\\u6545" in done.out


def test_what_looks_for_a_key_finds_one_in_every_dress(tmp_path: Path) -> None:
    """That the canary of this suite can die."""
    key = "CANARY-0a1b2c3d4e5f60718293"
    dresses = [key, key.upper(), "CANARY%2D0a1b2c3d4e5f60718293", "QmVhcmVyIENBTkFSWS0wYTFiMmMzZDRlNWY2MDcxODI5Mw=="]
    for number, dress in enumerate(dresses):
        (tmp_path / f"{number}").write_text(f"so {dress}!")
    (tmp_path / "clean").write_text("CANARY-0a1b")
    result = search([tmp_path], key)
    assert (result.files, len(result.found)) == (5, 4)
