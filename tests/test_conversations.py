"""`messages`: the conversation in a field of each row is sent as it is."""

import json
from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.data.row_prompt import ConversationField
from manycall.errors import UsageError
from manycall.records import Row
from manycall.testing import MemoryTransport, run_virtual
from shell import manycall as command
from shell import rows

OUT, NOWHERE = Path("out.jsonl"), "http://127.0.0.1:9/v1"
USER, ASSISTANT = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
TOOL = {"role": "tool", "tool_call_id": "1", "content": "7"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "hi"}]}


def messages(value: Any, system: str | None = None) -> Any:
    return ConversationField("chat", system).messages(Row("1", {"chat": value, "mood": "kind"}))


@pytest.mark.parametrize("chat", [[USER], [SYSTEM, USER, ASSISTANT, USER], [USER, CALL, TOOL], [PARTS]])
def test_messages_are_sent_unchanged(chat: list[Any]) -> None:
    assert messages(chat) == chat


def test_turns_in_sharegpts_form_become_messages() -> None:
    turns = [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]
    assert messages([*turns, {"from": "human", "value": "hi"}]) == [SYSTEM, USER, ASSISTANT, USER]


def test_a_system_prompt_goes_before_messages_without_one() -> None:
    assert messages([USER], "Be {{ mood }}.") == [{"role": "system", "content": "Be kind."}, USER]
    with pytest.raises(Exception, match=r"The field 'chat' already has a system message\. Omit system="):
        messages([SYSTEM, USER], "Be {{ mood }}.")


@pytest.mark.parametrize(
    ("chat", "sentence"),
    [
        ("hi", "is not a list of messages"),
        ([], "is not a list of messages"),
        ([{"content": "hi"}], "is not a list of messages"),
        ([USER, ASSISTANT], "ends with a message of the assistant, so there is nothing to answer"),
        ([{"role": "human", "content": "hi"}], "message 1 has the role 'human'. Roles: system,"),
        ([{"from": "narrator", "value": "hi"}], "has a turn from 'narrator'"),
        ([USER, {"role": "user"}], "message 2 has no content"),
        ([{"role": "user", "content": [{"text": "hi"}]}], "has a part without a type"),
        ([{"role": "user", "content": [{"type": "image", "image": "/etc/x.png"}]}], "name a field with the images"),
    ],
)
def test_what_is_no_conversation_to_answer_is_refused(chat: Any, sentence: str) -> None:
    with pytest.raises(Exception, match=f"The field 'chat' .*{sentence}"):
        messages(chat)


def write(*chats: Any) -> Path:
    path = Path("rows.jsonl")
    path.write_text("".join(json.dumps({"id": str(n), "chat": chat}) + "\n" for n, chat in enumerate(chats)))
    return path


def test_a_file_is_checked_as_a_whole_before_the_first_call() -> None:
    write([USER], [USER, ASSISTANT])
    ended = command("generate", "rows.jsonl", "--messages", "chat", "-m", "m", "-u", NOWHERE, "-o", OUT)
    assert (ended.code, OUT.exists()) == (2, False)
    assert "rows.jsonl, line 2: The field 'chat' ends with a message of the assistant" in ended.err


def test_a_row_of_a_program_fails_alone_and_the_others_are_resumed() -> None:
    bodies: list[Any] = []

    results: list[manycall.results.RunResult] = []

    def answer(body: Any) -> str:
        bodies.append(body)
        return "fine"

    async def work(source: list[Any]) -> None:
        async with manycall.Client("m", base_url="http://h/v1", transport=MemoryTransport(answer, 0)) as llm:
            results.append(await llm.generate(None, source, messages="chat", out=OUT, progress=False).result())

    run_virtual(work([{"id": "a", "chat": [USER]}, {"id": "b", "chat": [ASSISTANT]}]))
    run_virtual(work([{"id": "a", "chat": [USER]}, {"id": "b", "chat": [SYSTEM, USER]}]))
    assert [(each.done, each.failed) for each in results] == [(1, 1), (2, 0)]
    assert [body["messages"] for body in bodies] == [[USER], [SYSTEM, USER]]
    assert rows(OUT)[0] == {"id": "a", "chat": [USER], "text": "fine", "text_finish_reason": "stop"}


def test_a_template_that_is_a_conversation_names_the_option() -> None:
    how: dict[str, Any] = {"model": "m", "base_url": NOWHERE, "out": OUT}
    with pytest.raises(UsageError, match=r"To send it as the messages of the call: messages='chat'\."):
        manycall.generate("{{ chat }}", [{"chat": [USER]}], **how)
    with pytest.raises(UsageError, match="Nothing to send"):
        manycall.generate(None, [{"chat": [USER]}], **how)
    with pytest.raises(UsageError, match="cannot be combined: choose one"):
        manycall.generate("{{ chat }}", [{"chat": [USER]}], messages="chat", **how)
    with pytest.raises(UsageError, match="sends plain text and cannot be combined"):
        manycall.generate(None, [{"chat": [USER]}], messages="chat", api="completions", **how)


def test_steps_and_exports_know_the_messages() -> None:
    write([SYSTEM, USER])
    steps = [{"messages": "chat", "output_field": "reply"}, {"keep": "reply"}]
    how: dict[str, Any] = {"model": "m", "base_url": "sim:latency=0,token_latency=0", "progress": False}
    assert manycall.run_steps(steps, "rows.jsonl", out=OUT, **how).done == 1
    manycall.export(OUT, "train.jsonl", format="messages")
    reply = {"role": "assistant", "content": rows(OUT)[0]["reply"]}
    assert rows(Path("train.jsonl")) == [{"messages": [SYSTEM, USER, reply]}]
