"""What a finished row was asked, what it answered, and whether that is whole."""

import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall import UsageError, card, export, generate, quality
from manycall.data.schema import Shape
from manycall.records import Request
from manycall.store.journal import request_key
from manycall.wire.openai import encode
from shell import manycall as command
from shell import rows

OUT, TO = Path("out.jsonl"), Path("to.jsonl")
SIM = "sim:latency=0,token_latency=0"
TOPICS = [{"id": "a", "topic": 'tea "{{ x }}"'}, {"id": "b", "topic": "rain\nfog"}]
TURNS = [
    {"role": "system", "content": 'You are {{ topic | replace("\\"", "") }}.', "name": "who"},
    {"role": "user", "content": "user: hi {% raw %}{{ id }}{% endraw %}"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "{{ topic }}"},
]
PROMPTS: dict[str, dict[str, Any]] = {
    "a text": {"prompt": "Tell {{ topic }}."},
    "a text with a system prompt": {"prompt": "Tell {{ topic }}.", "system": "You are {{ id }}."},
    "turns": {"prompt": TURNS},
    "turns in a file": {"prompt": "turns.toml"},
    "a file": {"prompt": "prompt.txt"},
}
OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def made(source: Any = None, **how: Any) -> manycall.Report:
    return generate(rows=source or TOPICS, url=SIM, model="m", out=OUT, progress=False, **how)


def steps(chain: list[dict[str, Any]], **how: Any) -> manycall.Report:
    return manycall.steps(chain, TOPICS, url=SIM, model="m", out=OUT, progress=False, **how)


def was_sent(row_id: str, messages: Any, **params: Any) -> bool:
    """Whether the journal has a call of this row with these very messages."""
    key = request_key("chat", encode(Request("chat", "m", messages, params)))
    return any((call["id"], call["key"]) == (row_id, key) for call in rows(Path("out.jsonl.run/calls.jsonl")))


@pytest.mark.parametrize("shape", ["messages", "sharegpt", "dpo"])
@pytest.mark.parametrize("form", PROMPTS)
def test_what_is_exported_is_what_was_sent(form: str, shape: str) -> None:
    Path("prompt.txt").write_text("Say {{ topic }}\nand no more.\n")
    tables = "\n".join(
        "[[messages]]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in turn.items()) for turn in TURNS
    )
    Path("turns.toml").write_text(tables)
    made([row | {"chosen": "x", "rejected": "y"} for row in TOPICS], **PROMPTS[form])
    Path("prompt.txt").unlink()
    if shape == "sharegpt" and "turns" in form:  # it has no place for the name of a turn
        with pytest.raises(UsageError, match="a message has name, and needs --as messages"):
            export(OUT, TO, shape=shape)
        return
    export(OUT, TO, shape=shape)
    for row, exported in zip(rows(OUT), rows(TO), strict=True):
        match shape:
            case "messages":
                *asked, answer = exported["messages"]
                assert answer == {"role": "assistant", "content": row["text"]}
            case "dpo":
                asked = exported["prompt"]
            case _:
                role = {"system": "system", "human": "user", "gpt": "assistant"}
                *turns, answer = exported["conversations"]
                asked = [{"role": role[turn["from"]], "content": turn["value"]} for turn in turns]
                assert answer["value"] == row["text"]
        assert was_sent(row["id"], asked)


def test_turns_are_more_than_alpaca_has_room_for() -> None:
    made(prompt=TURNS)
    with pytest.raises(UsageError, match="is more than one question"):
        export(OUT, TO, shape="alpaca")


def test_the_card_shows_turns_as_one_reads_them() -> None:
    made(prompt=TURNS)
    assert "assistant: Yes?\nuser: {{ topic }}" in str(card(OUT))


def test_a_step_that_generates_is_rendered_again() -> None:
    chain = [
        {"generate": "Draft {{ topic }}", "into": "draft", "system": "Be brief."},
        {"judge": "Good? {{ draft }}"},
        {"generate": "Mend {{ draft }}, {{ score }}", "into": "final"},
    ]
    steps(chain)
    with pytest.raises(UsageError, match=r"has several answers \(draft, final\): name one with --field"):
        export(OUT, TO, shape="messages")
    for field in ("draft", "final"):
        export(OUT, TO, shape="messages", field=field)
        for row, exported in zip(rows(OUT), rows(TO), strict=True):
            *asked, answer = exported["messages"]
            assert answer["content"] == row[field]
            assert was_sent(row["id"], asked)
    with pytest.raises(UsageError, match="does not say what was asked"):
        export(OUT, TO, shape="messages", field="score")


def test_the_only_step_that_generates_needs_no_name() -> None:
    steps([{"generate": "Tell {{ topic }}", "into": "story"}])
    export(OUT, TO, shape="alpaca")
    assert sorted(row["instruction"] for row in rows(TO)) == sorted(f"Tell {row['topic']}" for row in TOPICS)
    assert quality(OUT).field == "story"
    assert card(OUT).duplicates == 0


def test_an_object_is_exported_whole_as_json() -> None:
    made(prompt="Who drinks {{ topic }}?", schema=OBJECT)
    export(OUT, TO, shape="messages")
    for row, exported in zip(rows(OUT), rows(TO), strict=True):
        *asked, answer = exported["messages"]
        assert json.loads(answer["content"]) == {"name": row["name"], "age": row["age"]}
        assert was_sent(row["id"], asked, response_format=Shape(OBJECT).response_format)
    export(OUT, TO, shape="alpaca", field="age")
    assert [row["output"] for row in rows(TO)] == [str(row["age"]) for row in rows(OUT)]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"raw": True}, "was asked without a chat"),
        ({"schema": {"type": "array", "items": {"type": "string"}}}, "has many rows of one answer"),
        ({"parse": lambda row, text: [{"text": "a"}, {"text": "b"}]}, "has many rows of one answer"),
        ({"prompt": lambda row: "x"}, "does not say what was asked"),
    ],
)
def test_a_question_that_is_not_that_of_the_row_is_not_made_up(how: dict[str, Any], sentence: str) -> None:
    made(**{"prompt": "Tell {{ topic }}", **how})
    with pytest.raises(UsageError, match=sentence):
        export(OUT, TO, shape="messages")
    assert not TO.exists()
    assert export(OUT, TO, shape="messages", prompt="topic").rows >= 2


@pytest.mark.parametrize(("value", "content"), [(["a", 1], '["a",1]'), (1, "1"), ({"a": "从"}, '{"a":"从"}')])
@pytest.mark.parametrize("shape", ["messages", "sharegpt", "alpaca", "dpo"])
def test_every_content_is_a_text(value: Any, content: str, shape: str) -> None:
    OUT.write_text(json.dumps({"id": "a", "q": "?", "text": value, "chosen": value, "rejected": value}))
    export(OUT, TO, shape=shape, prompt="q")
    told = json.loads(TO.read_text())
    found = {
        "messages": lambda: [told["messages"][-1]["content"]],
        "sharegpt": lambda: [told["conversations"][-1]["value"]],
        "alpaca": lambda: [told["output"]],
        "dpo": lambda: [told["chosen"][0]["content"], told["rejected"][0]["content"]],
    }[shape]()
    assert set(found) == {content}


@pytest.mark.parametrize("value", [1, None, ["a", "b"], [], [{"content": "x"}]])
def test_a_question_that_is_no_text_is_refused(value: Any) -> None:
    OUT.write_text(json.dumps({"id": "a", "q": value, "text": "x"}))
    with pytest.raises(UsageError, match="the field 'q' holds neither a text nor messages"):
        export(OUT, TO, shape="messages", prompt="q")


def test_answers_of_steps_that_were_cut_are_counted() -> None:
    """Long answers and short ones; the first step's are cut."""
    steps(
        [
            {"generate": "Tell {{ topic }}", "into": "story", "params": {"max_tokens": 3}},
            {"generate": "Name {{ topic }}", "into": "name", "params": {"max_tokens": 4000}},
        ]
    )
    for field, cut in ((None, 2), ("story", 2), ("name", 0)):
        pytest.importorskip("pyarrow")
        done = export(OUT, "to.parquet", field=field)  # whose rows are read twice
        assert (done.truncated, card(OUT, field=field).truncated) == (cut, cut)
    q = quality(OUT, field="story", rejects="rejects.jsonl")
    assert (q.truncated, q.rejected) == (2, 2)


def test_answers_of_a_batch_that_were_cut_are_counted() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    lines = [{"custom_id": str(n), "url": "/v1/chat/completions", "body": body} for n in range(3)]
    Path("in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert command("run", "in.jsonl", "-u", SIM, "-o", OUT).code == 0
    assert card(OUT).truncated == export(OUT, TO).truncated == 3


@pytest.mark.parametrize("samples", [None, 2])
def test_requests_and_replies_of_a_batch_are_conversations(samples: int | None) -> None:
    asked = {
        name: [{"role": "system", "content": "Be brief."}, {"role": "user", "content": name * 9}] for name in "abcd"
    }
    asked["d"] = [{"role": "user"}]  # to which the answer is 400
    for name, messages in asked.items():
        body = {"model": "m", "messages": messages}
        with Path("in.jsonl").open("a") as file:
            file.write(json.dumps({"custom_id": name, "url": "/v1/chat/completions", "body": body}) + "\n")
    manycall.batch("in.jsonl", samples=samples, url=SIM, out=OUT, progress=False)
    with pytest.raises(
        UsageError, match=r"has no text for an answer; --without out\.jsonl\.run/failures\.jsonl leaves"
    ):
        export(OUT, TO, shape="messages")
    assert not TO.exists()
    export(OUT, TO, shape="messages", without=["out.jsonl.run/failures.jsonl"])
    answered = [row for row in rows(OUT) if row["response"]["status_code"] == 200]
    assert len(answered) == 3 * (samples or 1)
    assert rows(TO) == [
        {"messages": [*asked[row["id"][0]], {"role": "assistant", "content": choice["message"]["content"]}]}
        for row in answered
        for choice in row["response"]["body"]["choices"]
    ]
    Path("in.jsonl").unlink()
    with pytest.raises(UsageError, match=r"in\.jsonl, which says what was asked, is not there any more"):
        export(OUT, TO, shape="messages", without=["out.jsonl.run/failures.jsonl"])


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ([{"message": {"content": "one"}}, {"message": {"content": "two"}}], r"row 'a' has several answers \(n > 1\)"),
        ([{"message": {"content": "so", "tool_calls": [{"id": "t"}]}}], "row 'a' answers with tool calls"),
    ],
)
def test_what_a_conversation_cannot_hold_of_a_reply_is_refused(choices: list[Any], sentence: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request = {"custom_id": "a", "url": "/v1/chat/completions", "body": body}
    Path("in.jsonl").write_text(json.dumps(request) + "\n")
    manycall.batch("in.jsonl", url=SIM, out=OUT, progress=False)
    (row,) = rows(OUT)
    row["response"]["body"]["choices"] = choices
    OUT.write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=f"{sentence}.*, which only --as rows can hold"):
        export(OUT, TO, shape="messages")
    assert export(OUT, TO).rows == 1


def test_what_cannot_be_known_is_not_nought() -> None:
    made(prompt="{{ topic }}", parse=lambda row, text: {"words": len(text)})
    assert export(OUT, TO).truncated is card(OUT).truncated is None
    assert "| cut at max_tokens | not known |" in " ".join(str(card(OUT)).split())
    assert card(OUT).duplicates is None  # which field is the answer?


def test_an_object_is_compared_whole() -> None:
    made(prompt="Who drinks {{ topic }}?", schema=OBJECT)
    told = quality(OUT)
    assert (told.field, told.rows, told.truncated) == ("name, age", 2, 0)
    assert card(OUT).duplicates == told.duplicates
