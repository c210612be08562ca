"""Export of rows that are training rows already, of any other file, and what is refused because it is ambiguous."""

import json
from pathlib import Path
from typing import Any

import pytest

from manycall import export, generate, run_steps
from manycall.errors import UsageError
from shell import manycall, rows

OUT, TO = Path("out.jsonl"), Path("to.jsonl")
SIM: dict[str, Any] = {"model": "any", "base_url": "sim:latency=0", "out": OUT, "progress": False}
QUESTION, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
WORSE = {"role": "assistant", "content": "Go away."}
BE = {"role": "system", "content": "Be kind."}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}


def write(path: str, *given: dict[str, Any]) -> Path:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in given))
    return Path(path)


def exported(source: str | Path, **options: Any) -> list[dict[str, Any]]:
    export(source, TO, **options)
    return rows(TO)


TURNS = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]
ALPACA = {"instruction": "Hi", "input": "", "output": "Hello."}
SINGLE: list[dict[str, Any]] = [
    {"messages": [QUESTION, ANSWER]},
    {"conversations": TURNS},
    ALPACA,
    {"instruction": "Hi", "output": "Hello."},
    {"instruction": "Hi", "response": "Hello."},
    {"prompt": "Hi", "completion": "Hello."},
    {"prompt": [QUESTION], "completion": [ANSWER]},
    {"question": "Hi", "answer": "Hello."},
]


@pytest.mark.parametrize("row", SINGLE, ids="+".join)
@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("messages", {"messages": [QUESTION, ANSWER]}),
        ("prompt-completion", {"prompt": [QUESTION], "completion": [ANSWER]}),
        ("sharegpt", {"conversations": TURNS}),
        ("alpaca", ALPACA),
    ],
)
def test_a_training_row_of_any_form_becomes_one_of_any_other(row: Any, format: str, expected: Any) -> None:
    assert exported(write("in.jsonl", row), format=format) == [expected]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"content": None}, "<think>\nhm\n</think>\n\n"),
        ({}, "<think>\nhm\n</think>\n\n"),
        ({"content": "Hi."}, "<think>\nhm\n</think>\n\nHi."),
        (
            {"content": [{"type": "text", "text": "Hi."}]},
            [{"type": "text", "text": "<think>\nhm\n</think>\n\n"}, {"type": "text", "text": "Hi."}],
        ),
    ],
)
def test_thinking_text_precedes_an_answer_of_any_form(content: dict[str, Any], expected: Any) -> None:
    turn = {"role": "assistant", **content, "tool_calls": CALL["tool_calls"], "reasoning_content": "hm"}
    (row,) = exported(write("in.jsonl", {"messages": [QUESTION, turn]}), format="messages", reasoning="inline")
    assert row["messages"][-1] == {"role": "assistant", "content": expected, "tool_calls": CALL["tool_calls"]}


PAIRS: list[dict[str, Any]] = [
    {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go away."},
    {"prompt": [QUESTION], "chosen": [ANSWER], "rejected": [WORSE]},
    {"chosen": [QUESTION, ANSWER], "rejected": [QUESTION, WORSE]},
    {"prompt": "Hi", "chosen": [QUESTION, ANSWER], "rejected": [QUESTION, WORSE]},
    {"instruction": "Hi", "input": "", "chosen": "Hello.", "rejected": "Go away."},
    {"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": {"from": "gpt", "value": "Go away."}},
]


@pytest.mark.parametrize("row", PAIRS, ids="+".join)
@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("dpo", {"prompt": [QUESTION], "chosen": [ANSWER], "rejected": [WORSE]}),
        ("dpo-alpaca", {"instruction": "Hi", "input": "", "chosen": "Hello.", "rejected": "Go away."}),
        (
            "dpo-sharegpt",
            {"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": {"from": "gpt", "value": "Go away."}},
        ),
    ],
)
def test_a_preference_pair_of_any_form_becomes_one_of_any_other(row: Any, format: str, expected: Any) -> None:
    assert exported(write("in.jsonl", row), format=format) == [expected]


def test_a_dialogue_keeps_its_turns_and_its_system_prompt_in_every_format() -> None:
    turns = [BE, QUESTION, ANSWER, {"role": "user", "content": "And?"}, WORSE]
    source = write("in.jsonl", {"messages": turns})
    for format in ("sharegpt", "alpaca", "prompt-completion", "messages"):
        export(source, TO, format=format)
        TO.replace("next.jsonl")
        assert exported("next.jsonl", format="messages") == [{"messages": turns}], format
    (row,) = exported(source, format="alpaca")
    assert row == {
        "instruction": "And?", "input": "", "output": "Go away.", "system": "Be kind.", "history": [["Hi", "Hello."]]
    }  # fmt: skip


def test_what_belongs_to_the_prompt_is_named_and_the_rest_is_reported() -> None:
    done = export(write("in.jsonl", {**ALPACA, "system": "Be kind.", "history": []}), TO, format="messages")
    assert (done.prompt, done.answer, done.not_written) == ("instruction, input, system, history", "output", [])
    talk = {"messages": [BE, QUESTION, ANSWER], "system": "Be brief.", "history": [["a", "b"]]}
    done = export(write("in.jsonl", talk), TO, format="messages")
    assert (done.prompt, done.not_written) == ("messages", ["history", "system"])


def test_an_alpaca_row_keeps_instruction_and_input_separate() -> None:
    given = [{"instruction": "Translate.", "input": "Tea"}, {"instruction": "Name a river.", "input": ""}]
    generate("{{ instruction }}\n{{ input }}", given, system="Be kind.", **SIM)
    made = {row["instruction"]: row for row in rows(OUT)}
    for row in exported(OUT, format="alpaca"):
        source = made[row["instruction"]]
        asked = {"instruction": source["instruction"], "input": source["input"]}
        assert row == {**asked, "output": source["text"], "system": "Be kind."}
    assert {row["messages"][1]["content"] for row in exported(OUT, format="messages")} == {
        "Translate.\nTea", "Name a river.\n"
    }  # fmt: skip


@pytest.mark.parametrize("shape", ["object", "list"])
def test_rows_that_a_schema_made_are_training_rows(shape: str) -> None:
    texts = {name: {"type": "string"} for name in ALPACA}
    schema: dict[str, Any] = {"type": "object", "properties": texts, "required": [*texts]}
    generate(
        "Make a task.", samples=3, schema=schema if shape == "object" else {"type": "array", "items": schema}, **SIM
    )
    made = [{name: row[name] for name in ALPACA} for row in rows(OUT)]
    assert exported(OUT, format="alpaca") == made
    assert len(made) >= 3


def test_other_structured_answers_are_written_as_json() -> None:
    schema = {"type": "object", "properties": {"mood": {"enum": ["good"]}}, "required": ["mood"]}
    generate("Mood of {{ title }}?", [{"title": "tea"}], schema=schema, **SIM)
    assert exported(OUT, format="alpaca") == [{"instruction": "Mood of tea?", "input": "", "output": '{"mood":"good"}'}]


AMBIGUOUS: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"instruction": "Hi"}, "Briefly: {{ instruction }}", ["prompt_field='instruction'", "format='messages'"]),
    (ALPACA, "{{ instruction }}{{ input }}", ["text_field='output'", "text_field='text'"]),
]


@pytest.mark.parametrize(("row", "prompt", "choices"), AMBIGUOUS)
def test_a_field_that_the_format_would_replace_is_refused_with_both_commands(
    row: Any, prompt: str, choices: list[str]
) -> None:
    generate(prompt, [row], **SIM)
    with pytest.raises(UsageError) as told:
        export(OUT, TO, format="alpaca")
    assert all(choice in str(told.value) for choice in choices)
    for choice in choices:
        name, _, value = choice.partition("=")
        options: dict[str, Any] = {"format": "alpaca", name: value.strip("'")}
        export(OUT, TO, **options)
    assert not Path("to.jsonl.new").exists()


@pytest.mark.parametrize(
    ("row", "options", "sentence"),
    [
        (PAIRS[0], {"format": "alpaca"}, "To write the pairs: format='dpo'. Only the chosen: text_field='chosen'"),
        ({**ALPACA, "response": "?"}, {"format": "messages"}, "Choose one: text_field="),
        ({"text": "x"}, {"format": "messages"}, "Name the field that holds it with prompt_field="),
        ({"chosen": [QUESTION, ANSWER], "rejected": "no"}, {"format": "dpo"}, "in only one of the fields"),
        ({"chosen": [QUESTION, ANSWER], "rejected": [ANSWER, WORSE]}, {"format": "dpo"}, "different prompts"),
        (PAIRS[0], {"format": "dpo", "text_field": "chosen"}, "Omit text_field="),
        ({"messages": [QUESTION, CALL]}, {"format": "sharegpt"}, "a message with tool_calls. Use format='messages'"),
        ({**ALPACA, "tools": '[{"name": "f"}]'}, {"format": "alpaca"}, "has tools, for which Alpaca has no field"),
        (
            {"conversations": [{"from": "bot", "value": "x"}]},
            {"format": "messages"},
            "has a turn from 'bot'",
        ),
        (
            {"messages": [{"role": ["x"], "content": "Hi"}, ANSWER]},
            {"format": "sharegpt"},
            r"Row .*line 1 has a message whose role is not a text: \['x'\]",
        ),
        ({**ALPACA, "history": 3}, {"format": "messages"}, "has a field 'history' with neither"),
        ({**ALPACA, "tools": "[" * 100_000}, {"format": "messages"}, "has tools that are not valid JSON"),
        ({"prompt": "Hi"}, {"format": "messages"}, "A row has no field 'text'. Its fields: prompt"),
        (ALPACA, {"format": "alpaca", "exclude": ["x.jsonl"]}, "the row has no id, so exclude="),
    ],
)
def test_what_cannot_be_decided_or_written_is_one_sentence(row: Any, options: Any, sentence: str) -> None:
    write("x.jsonl", {"id": "x"})
    with pytest.raises(UsageError, match=sentence):
        export(write("in.jsonl", row), TO, **options)
    assert not TO.exists()


def test_a_row_that_has_no_id_is_named_by_its_line() -> None:
    with pytest.raises(UsageError, match=r"Row at in\.jsonl, line 2 has no field 'output'"):
        export(write("in.jsonl", ALPACA, {"instruction": "Hi"}), TO, format="alpaca")


def test_steps_that_assemble_a_dialogue_write_training_rows() -> None:
    dialogue = '{{ [{"role": "user", "content": q}, {"role": "assistant", "content": a}] }}'
    steps: list[dict[str, Any]] = [
        {"generate": "Ask.", "output_field": "q"},
        {"generate": "{{ q }}", "output_field": "a"},
        {"assign": {"messages": dialogue}},
    ]
    run_steps(steps, samples=2, **SIM)
    made = [{"messages": row["messages"]} for row in rows(OUT)]
    assert exported(OUT, format="messages") == made
    run_steps(steps[:2], samples=2, **SIM | {"out": "two.jsonl"})
    with pytest.raises(UsageError, match="Choose one: text_field='q' or text_field='a'"):
        export("two.jsonl", TO, format="messages")


def test_a_continued_text_is_written_as_text() -> None:
    generate("Once {{ n }}", [{"n": 1}], api="completions", **SIM)
    (row,) = rows(OUT)
    assert exported(OUT, format="prompt-completion") == [{"prompt": "Once 1", "completion": row["text"]}]
    with pytest.raises(UsageError, match="or use format='prompt-completion'"):
        export(OUT, TO, format="messages")


def test_columns_that_only_some_rows_have_are_null_in_the_others() -> None:
    source = write("in.jsonl", ALPACA, {**ALPACA, "system": "Be kind."})
    assert [row["system"] for row in exported(source, format="alpaca")] == [None, "Be kind."]


@pytest.mark.parametrize("suffix", ["csv", "arrow", "parquet", "jsonl"])
def test_a_table_of_any_type_is_read_and_written(suffix: str) -> None:
    pytest.importorskip("pyarrow")
    given = [{"instruction": f'"{n}", 从\n前', "input": "", "output": "a\tb"} for n in range(3000)]
    export(write("in.jsonl", *given), f"table.{suffix}")
    assert exported(f"table.{suffix}", format="alpaca") == given


def test_arrow_files_of_both_formats_are_read() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"instruction": ["a", "b"], "output": ["c", "d"]})
    for name, opened in (("file", pyarrow.ipc.new_file), ("stream", pyarrow.ipc.new_stream)):
        with opened(f"{name}.arrow", table.schema) as file:
            file.write_table(table)
        assert exported(f"{name}.arrow") == table.to_pylist()


def test_csv_refuses_what_it_cannot_hold_and_notes_what_it_changes() -> None:
    source = write("in.jsonl", {"messages": [QUESTION, ANSWER], "n": 1, "none": None})
    with pytest.raises(UsageError, match="lists of messages, which CSV cannot hold"):
        export(source, "to.csv", format="messages")
    assert export(source, "to.csv").notes == ["messages (written as JSON text)"]
    history = write("history.jsonl", {**ALPACA, "history": [["a", "b"]]})
    with pytest.raises(UsageError, match="has a list in 'history'"):
        export(history, "to.csv", format="alpaca")


def test_equal_rows_are_dropped_and_the_first_is_kept() -> None:
    texts = ["Hello.", "HELLO!", "你好，世界", "你好 世界", "4"]
    given = [{"prompt": "Hi", "completion": text} for text in texts]
    given += [{"prompt": "2+2", "completion": "4"}, {"prompt": "2*2", "completion": "4"}]
    done = export(write("in.jsonl", *given), TO, format="prompt-completion", drop_duplicates=True, shard_rows=None)
    assert (done.rows, done.dropped) == (5, {"duplicates": 2})
    kept = [(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in rows(TO)]
    assert kept == [("Hi", "Hello."), ("Hi", "你好，世界"), ("Hi", "4"), ("2+2", "4"), ("2*2", "4")]
    assert "dropped: duplicates" in str(done)


def test_without_a_training_format_rows_with_the_same_answer_are_equal() -> None:
    write("in.jsonl", *({"id": n, "topic": n, "text": "Once." if n else "Twice."} for n in range(4)))
    assert export("in.jsonl", TO, drop_duplicates=True).dropped == {"duplicates": 2}


def test_contaminated_rows_are_dropped() -> None:
    item = "在一个标准大气压下，保温瓶里装有质量为一千克、温度为八十摄氏度的水，倒出一半后，其温度和比热容分别是多少"
    write("bench.jsonl", {"question": item})
    source = write("in.jsonl", {**ALPACA, "instruction": f"题目：{item[:40]}"}, ALPACA)
    done = manycall(
        "export",
        source,
        "-o",
        TO,
        "--format",
        "alpaca",
        "--drop-contaminated",
        "bench.jsonl",
        "--drop-duplicates",
        "--json",
    )
    assert json.loads(done.out)["dropped"] == {"duplicates": 0, "contaminated": 1}
    assert rows(TO) == [ALPACA]


def test_shards_are_numbered_after_dropping() -> None:
    done = export(write("in.jsonl", ALPACA, ALPACA, ALPACA), TO, drop_duplicates=True, shard_rows=2)
    assert [path.name for path in done.files] == ["to-00000-of-00001.jsonl"]


INFO = Path("data/dataset_info.json")


def test_the_entry_for_llama_factory_names_the_columns_that_exist() -> None:
    export(write("in.jsonl", {**ALPACA, "system": "Be kind."}), "data/first.jsonl", format="alpaca", dataset_info=INFO)
    export(write("in.jsonl", ALPACA), "data/second.csv", format="alpaca", dataset_info=INFO)
    export(write("in.jsonl", PAIRS[0]), "data/third.jsonl", format="dpo-sharegpt", dataset_info=INFO)
    done = export(write("in.jsonl", ALPACA), "data/first.jsonl", format="alpaca", dataset_info=INFO)  # replaced
    assert done.dataset_info == INFO
    columns = {"prompt": "instruction", "query": "input", "response": "output"}
    assert json.loads(INFO.read_text()) == {
        "first": {"file_name": "first.jsonl", "columns": columns},
        "second": {"file_name": "second.csv", "columns": columns},
        "third": {
            "file_name": "third.jsonl", "formatting": "sharegpt", "ranking": True,
            "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "options", "sentence"),
    [
        (ALPACA, {"format": "prompt-completion"}, "Use format='messages' or format='sharegpt'"),
        (PAIRS[0], {"format": "dpo"}, "Use format='dpo-sharegpt' or format='dpo-alpaca'"),
        (ALPACA, {"format": "rows"}, "LLaMA-Factory does not read format='rows'"),
        (ALPACA, {"format": "alpaca", "shard_rows": 1}, "Omit shard_rows="),
        ({"messages": [QUESTION, QUESTION, ANSWER]}, {"format": "sharegpt"}, "which LLaMA-Factory skips"),
        (
            {"messages": [QUESTION, {**ANSWER, "reasoning_content": "Hm."}]},
            {"format": "messages", "reasoning": "separate"},
            "a message with reasoning_content, which LLaMA-Factory does not read",
        ),
    ],
)
def test_what_llama_factory_would_lose_is_refused(row: Any, options: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        export(write("in.jsonl", row), TO, dataset_info=INFO, **options)
    assert not TO.exists()
    assert not INFO.exists()


def test_an_entry_of_another_file_is_not_replaced() -> None:
    INFO.parent.mkdir()
    INFO.write_text('{"to": {"hf_hub_url": "somebody/else"}}')
    with pytest.raises(UsageError, match="has another dataset 'to'"):
        export(write("in.jsonl", ALPACA), TO, format="alpaca", dataset_info=INFO)
    assert json.loads(INFO.read_text()) == {"to": {"hf_hub_url": "somebody/else"}}


def test_rows_that_failed_are_counted() -> None:
    generate("{{ q }}", [{"q": "tea"}, {"q": 5, "z": {}}], **SIM | {"base_url": "sim:latency=0,error_rate=0"})
    Path("out.jsonl.run/failures.jsonl").write_text('{"id": "x", "kind": "empty", "row": {}}\n')
    done = export(OUT, TO, format="messages")
    assert done.failed == 1
    assert "failed in the run" in str(done)
