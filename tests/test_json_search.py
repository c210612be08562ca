"""JSON in the text of an answer: values that are found, repairs, refused guesses, and linear time."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manycall.data.json_search import RAW_CONTROL, TRAILING_COMMA, read_json

VALUE = {"a": [1, {"b": "}, ]"}], "c": "x"}
JSON = json.dumps(VALUE)


def with_a(value: Any) -> Any:
    if not isinstance(value, dict) or "a" not in value:
        raise ValueError("a is missing")
    return value


@pytest.mark.parametrize(
    ("text", "is_extracted", "repairs"),
    [
        (JSON, False, ()),
        (f"  {JSON}\n", False, ()),
        (f"Sure! {JSON}", True, ()),
        (f"Use {{x}} as in [1] or \\frac{{a}}{{b}}: {JSON} Done [see above].", True, ()),
        (f"```json\n{JSON}\n```", True, ()),
        (f"Here:\n```\n{JSON}\n```\nGood?", True, ()),
        (f'I want {{"a": 1}}.\n</think>\n\n{JSON}', True, ()),
        (f"<think>hm</think>```json\n{JSON}\n```", True, ()),
        (f"{JSON[:-1]},}}", False, (TRAILING_COMMA,)),
        (JSON.replace('}, ]"}]', '}, ]"} , \n ]'), False, (TRAILING_COMMA,)),
        (f"Sure! {JSON[:-1]}\n,\n}}", True, (TRAILING_COMMA,)),
        (f'{{"other": 1}} {JSON}', True, ()),
        (f"{JSON} or, as before, {JSON}", True, ()),
    ],
)
def test_json_is_found_in_an_answer(text: str, is_extracted: bool, repairs: tuple[str, ...]) -> None:
    assert read_json(text, with_a) == (VALUE, is_extracted, repairs)


def test_line_breaks_and_tabs_in_strings_are_escaped() -> None:
    found = read_json('{"a": "one\n\ttwo\\n"}', with_a)
    assert found == ({"a": "one\n\ttwo\n"}, False, (RAW_CONTROL,))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I cannot do that.", "not valid JSON"),
        ("", "not valid JSON"),
        ('{"b": 1}', "a is missing"),
        ('Sure: {"b": 1}', "a is missing"),
        ('Sure: {"a": "cut of', "incomplete JSON, from character 6"),
        ('{"a": [1, 2', "incomplete"),
        ('{"b": {"a": 1}', "incomplete"),
        ('{"a": 1} and then {"a": ', "incomplete"),
        ('{"a": [1}]', "unexpected '}'"),
        ('{"a": "he said "hi" to me"}', "not valid JSON"),
        ('{"a": 1, "b"}', "not valid JSON"),
        ('{"b": 1, "x": {"a": 1} "c": 2}', "not valid JSON"),
        ("{'a': 1}", "not valid JSON"),
        ('First {"a": 1}, better {"a": 2}', "several different"),
        ('{"a": 1}' * 101, "more than 100"),
    ],
)
def test_a_value_that_is_incomplete_or_ambiguous_is_never_guessed(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_json(text, with_a)


@pytest.mark.parametrize(
    "unit",
    ["{", "[", '{"a":', '{"', '"', '"\\', "{a ", '[{"a":1},', "{'", "word, ", ", ", "```json\n{", "{}", "{ ", "[1,",
     '{"a":"\n"},', "</think>", '{"a":[', " \n", "[[1],", '{"a":"\\"', '[1,     '],
)  # fmt: skip
def test_hostile_answers_take_linear_time(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit)) + "\\"
        begin = time.process_time()
        with pytest.raises(ValueError, match=r"."):
            read_json(text, with_a)
        return time.process_time() - begin

    assert seconds(400_000) < 1.5  # quadratic time would take minutes


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({"a": values}), st.text(alphabet="abc ,.:'!?\n", max_size=20), st.booleans())
def test_every_value_is_found_in_prose(value: dict[str, Any], prose: str, fenced: bool) -> None:
    text = json.dumps(value, ensure_ascii=False)
    wrapped = f"{prose}\n```json\n{text}\n```\n{prose}" if fenced else f"{prose}{text}{prose}"
    if "</think>" not in wrapped:
        assert read_json(wrapped, with_a).value == value


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='{}[]",:\\a1 \n`'))
def test_any_text_gives_a_value_or_a_reason(text: str) -> None:
    with suppress(ValueError):
        assert "a" in read_json(text, with_a).value


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({"a": values}), st.data())
def test_a_truncated_value_is_never_completed(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = data.draw(st.integers(1, len(text) - 1))
    with pytest.raises(ValueError, match=r"."):
        read_json(text[:cut], with_a)
