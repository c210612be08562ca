"""What a finished row was asked, what it answered, and whether that is whole."""

import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall import check_data, dataset_card, export, generate
from manycall.data.answer_schema import AnswerSchema
from manycall.errors import UsageError
from manycall.providers.openai import encode
from manycall.records import Request
from manycall.store.journal_line import request_hash
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


def made(source: Any = None, **how: Any) -> manycall.results.RunResult:
    return generate(rows=source or TOPICS, base_url=SIM, model="m", out=OUT, progress=False, **how)


def steps(chain: list[dict[str, Any]], **how: Any) -> manycall.results.RunResult:
    return manycall.run_steps(chain, TOPICS, base_url=SIM, model="m", out=OUT, progress=False, **how)


def was_sent(row_id: str, messages: Any, **params: Any) -> bool:
    """Whether the journal has a call of this row with these very messages."""
    key = request_hash("chat", encode(Request("chat", "m", messages, params)))
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
        with pytest.raises(UsageError, match=r"has a message with name\. Use format='messages'"):
            export(OUT, TO, format=shape)
        return
    export(OUT, TO, format=shape)
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
    with pytest.raises(UsageError, match=r"has a message with name\. Use format='messages'"):
        export(OUT, TO, format="alpaca")


def test_the_card_shows_turns_as_one_reads_them() -> None:
    made(prompt=TURNS)
    assert "assistant: Yes?\nuser: {{ topic }}" in str(dataset_card(OUT))


def test_a_step_that_generates_is_rendered_again() -> None:
    chain = [
        {"generate": "Draft {{ topic }}", "output_field": "draft", "system": "Be brief."},
        {"judge": "Good? {{ draft }}"},
        {"generate": "Mend {{ draft }}, {{ score }}", "output_field": "final"},
    ]
    steps(chain)
    with pytest.raises(UsageError, match=r"wrote several answers\. Choose one: text_field='draft' or"):
        export(OUT, TO, format="messages")
    for field in ("draft", "final"):
        export(OUT, TO, format="messages", text_field=field)
        for row, exported in zip(rows(OUT), rows(TO), strict=True):
            *asked, answer = exported["messages"]
            assert answer["content"] == row[field]
            assert was_sent(row["id"], asked)
    with pytest.raises(UsageError, match="does not record the prompt"):
        export(OUT, TO, format="messages", text_field="score")


def test_the_only_step_that_generates_needs_no_name() -> None:
    steps([{"generate": "Tell {{ topic }}", "output_field": "story"}])
    export(OUT, TO, format="alpaca")
    assert sorted(row["instruction"] for row in rows(TO)) == sorted(f"Tell {row['topic']}" for row in TOPICS)
    assert check_data(OUT).field == "story"
    assert dataset_card(OUT).duplicates == 0


def test_an_object_is_exported_whole_as_json() -> None:
    made(prompt="Who drinks {{ topic }}?", schema=OBJECT)
    export(OUT, TO, format="messages")
    for row, exported in zip(rows(OUT), rows(TO), strict=True):
        *asked, answer = exported["messages"]
        assert json.loads(answer["content"]) == {"name": row["name"], "age": row["age"]}
        assert was_sent(row["id"], asked, response_format=AnswerSchema(OBJECT).response_format)
    export(OUT, TO, format="alpaca", text_field="age")
    assert [row["output"] for row in rows(TO)] == [str(row["age"]) for row in rows(OUT)]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"api": "completions"}, "was made with the completions API"),
        ({"schema": {"type": "array", "items": {"type": "string"}}}, "has several rows per answer"),
        ({"parse": lambda row, text: [{"text": "a"}, {"text": "b"}]}, "has several rows per answer"),
        ({"prompt": lambda row: "x"}, "does not record the prompt"),
    ],
)
def test_a_question_that_is_not_that_of_the_row_is_not_made_up(how: dict[str, Any], sentence: str) -> None:
    made(**{"prompt": "Tell {{ topic }}", **how})
    with pytest.raises(UsageError, match=sentence):
        export(OUT, TO, format="messages")
    assert not TO.exists()
    assert export(OUT, TO, format="messages", prompt_field="topic").rows >= 2


@pytest.mark.parametrize(("value", "content"), [(["a", 1], '["a",1]'), (1, "1"), ({"a": "从"}, '{"a":"从"}')])
@pytest.mark.parametrize("shape", ["messages", "sharegpt", "alpaca", "dpo"])
def test_every_content_is_a_text(value: Any, content: str, shape: str) -> None:
    answers = {"chosen": value, "rejected": value} if shape == "dpo" else {"text": value}
    OUT.write_text(json.dumps({"id": "a", "q": "?", **answers}))
    export(OUT, TO, format=shape, prompt_field="q")
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
    with pytest.raises(UsageError, match="contains neither text nor messages in the field 'q'"):
        export(OUT, TO, format="messages", prompt_field="q")


def test_truncated_answers_of_steps_are_counted() -> None:
    """Long answers and short ones; the first step's are cut."""
    steps(
        [
            {"generate": "Tell {{ topic }}", "output_field": "story", "params": {"max_tokens": 3}},
            {"generate": "Name {{ topic }}", "output_field": "name", "params": {"max_tokens": 4000}},
        ]
    )
    for field, cut in ((None, 2), ("story", 2), ("name", 0)):
        pytest.importorskip("pyarrow")
        done = export(OUT, "to.parquet", text_field=field)  # whose rows are read twice
        assert (done.truncated, dataset_card(OUT, text_field=field).truncated) == (cut, cut)
    q = check_data(OUT, text_field="story", flagged="rejects.jsonl")
    assert (q.truncated, q.flagged_rows) == (2, 2)


def test_truncated_answers_of_a_batch_are_counted() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
    lines = [{"custom_id": str(n), "url": "/v1/chat/completions", "body": body} for n in range(3)]
    Path("in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert command("run-batch", "in.jsonl", "-u", SIM, "-o", OUT).code == 0
    assert dataset_card(OUT).truncated == export(OUT, TO).truncated == 3


@pytest.mark.parametrize("form", ["array", "blank lines", "byte order mark"])
def test_the_prompts_of_a_batch_are_read_from_every_file_that_can_be_run(form: str) -> None:
    bodies = [{"model": "m", "messages": [{"role": "user", "content": name}]} for name in "ab"]
    requests = [{"custom_id": str(n), "url": "/v1/chat/completions", "body": body} for n, body in enumerate(bodies)]
    lines = [json.dumps(request) + "\n" for request in requests]
    texts = {
        "array": json.dumps(requests),
        "blank lines": "\n\n".join(["", *lines]),
        "byte order mark": "\ufeff" + "".join(lines),
    }
    Path("in.jsonl").write_text(texts[form], encoding="utf-8")
    assert manycall.run_batch("in.jsonl", base_url=SIM, out=OUT, progress=False).done == 2
    export(OUT, TO, format="messages", in_order=True)
    assert [row["messages"][0] for row in rows(TO)] == [body["messages"][0] for body in bodies]


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
    manycall.run_batch("in.jsonl", samples=samples, base_url=SIM, out=OUT, progress=False)
    with pytest.raises(
        UsageError, match=r"has no answer text\. To exclude failed rows: exclude='out\.jsonl\.run/failures\.jsonl'\."
    ):
        export(OUT, TO, format="messages")
    assert not TO.exists()
    export(OUT, TO, format="messages", exclude=["out.jsonl.run/failures.jsonl"])
    answered = [row for row in rows(OUT) if row["response"]["status_code"] == 200]
    assert len(answered) == 3 * (samples or 1)
    assert rows(TO) == [
        {"messages": [*asked[row["id"][0]], {"role": "assistant", "content": choice["message"]["content"]}]}
        for row in answered
        for choice in row["response"]["body"]["choices"]
    ]
    Path("in.jsonl").unlink()
    with pytest.raises(UsageError, match=r"in\.jsonl, the file of requests that holds the prompts, no longer exists"):
        export(OUT, TO, format="messages", exclude=["out.jsonl.run/failures.jsonl"])


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ([{"message": {"content": "one"}}, {"message": {"content": "two"}}], r"Row 'a' has several answers \(n > 1\)"),
        ([{"message": {"content": "so", "tool_calls": [{"id": "t"}]}}], "Row 'a' has tool calls"),
        ([{"message": {"content": None, "tool_calls": [{"id": "t"}]}}], "Row 'a' has tool calls"),
    ],
)
def test_what_a_conversation_cannot_hold_of_a_reply_is_refused(choices: list[Any], sentence: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    request = {"custom_id": "a", "url": "/v1/chat/completions", "body": body}
    Path("in.jsonl").write_text(json.dumps(request) + "\n")
    manycall.run_batch("in.jsonl", base_url=SIM, out=OUT, progress=False)
    (row,) = rows(OUT)
    row["response"]["body"]["choices"] = choices
    OUT.write_text(json.dumps(row) + "\n")
    with pytest.raises(UsageError, match=rf"{sentence}\. Use format='rows'\."):
        export(OUT, TO, format="messages")
    assert export(OUT, TO).rows == 1


@pytest.mark.parametrize("drop_duplicates", [False, True])
def test_lines_of_a_batch_without_a_text_are_exported_as_rows(drop_duplicates: bool) -> None:
    """An embedding, and a request that failed."""
    chats = {"model": "m", "messages": [{"role": "user"}]}
    embeddings = {"model": "m", "input": "x"}
    requests = [
        {"custom_id": "a", "url": "/v1/embeddings", "body": embeddings},
        {"custom_id": "b", "url": "/v1/chat/completions", "body": chats},
    ]
    Path("in.jsonl").write_text("".join(json.dumps(request) + "\n" for request in requests))
    assert manycall.run_batch("in.jsonl", base_url=SIM, out=OUT, progress=False).failed == 1
    assert export(OUT, TO, drop_duplicates=drop_duplicates).rows == 2
    assert rows(TO) == rows(OUT)


def test_what_cannot_be_known_is_not_nought() -> None:
    made(prompt="{{ topic }}", parse=lambda row, text: {"words": len(text)})
    assert export(OUT, TO).truncated is dataset_card(OUT).truncated is None
    assert "| truncated at max_tokens | not known |" in " ".join(str(dataset_card(OUT)).split())
    assert dataset_card(OUT).duplicates is None  # which field is the answer?


def test_an_object_is_compared_whole() -> None:
    made(prompt="Who drinks {{ topic }}?", schema=OBJECT)
    told = check_data(OUT)
    assert (told.field, told.rows, told.truncated) == ("name, age", 2, 0)
    assert dataset_card(OUT).duplicates == told.duplicates
