"""One training example, apart from any format: the prompt, the answer and the rejected answer of a preference pair."""

import json
from typing import Any, Literal

import msgspec

from manycall.data.conversations import as_messages, is_conversation
from manycall.option_flags import option
from manycall.providers.reasoning import join
from manycall.records import Fields, Messages
from manycall.render import as_text

ReasoningPlace = Literal["inline", "separate", "drop"]
"""Where thinking text is written: in `<think>` tags before the answer, in `reasoning_content`, or nowhere."""


class UnsuitableRow(Exception):
    """A row cannot be exported. The message is a predicate: "has no field 'output'."."""


class TrainingExample(msgspec.Struct):
    """A prompt and its answer as messages.

    Attributes:
        prompt: The messages before the answer, with the system message.
        answer: The turns of the answer, usually one. Thinking text is the field `reasoning_content` of a turn. For a
            preference pair, the preferred answer.
        rejected: The other answer of a preference pair; None if it is not a pair.
        instruction: (instruction, input) of the last user message, if the row has them in two fields; None otherwise.
        tools: The tools that the answer may use; None if there are none.
        is_text: The prompt is plain text that the answer continues, and not a message.
    """

    prompt: Messages
    answer: Messages
    rejected: Messages | None = None
    instruction: tuple[str, str] | None = None
    tools: Any = None
    is_text: bool = False


def field_of(row: Fields, name: str) -> Any:
    """Return the value of a field.

    Raises:
        UnsuitableRow: The row has no such field.
    """
    if name not in row:
        raise UnsuitableRow(f"has no field {name!r}. Its fields: {', '.join(row)}.")
    return row[name]


def begins_with_prompt(value: Any) -> bool:
    """Return whether a value is a whole conversation, and not only the turns of an answer."""
    return is_conversation(value) and turns_as_messages(value)[0]["role"] != "assistant"


def turns_as_messages(turns: list[dict[str, Any]]) -> Messages:
    """Return turns in OpenAI's form.

    Raises:
        UnsuitableRow: A turn has a role that has no equivalent.
    """
    try:
        messages = as_messages(turns)
    except ValueError as problem:
        raise UnsuitableRow(str(problem)) from None
    for message in messages:
        if not isinstance(message["role"], str):
            raise UnsuitableRow(f"has a message whose role is not a text: {message['role']!r:.100}.")
    return messages


def prompt_in(row: Fields, name: str) -> tuple[Messages, tuple[str, str] | None]:
    """Return the prompt in a field, and (instruction, input) if it is in two fields as in the Alpaca format.

    A system prompt in the field `system`, and earlier turns in the field `history`, become messages.

    Raises:
        UnsuitableRow: The field holds neither text nor messages, or does not exist.
    """
    value, split = field_of(row, name), None
    if isinstance(value, str):
        if name == "instruction":
            split = (value, as_text(row.get("input") or ""))
            value = "\n".join(filter(None, split))
        turns: Messages = [*_history(row), {"role": "user", "content": value}]
    elif is_conversation(value):
        turns = turns_as_messages(value)
    else:
        raise UnsuitableRow(f"contains neither text nor messages in the field {name!r}.")
    system = row.get("system")
    if isinstance(system, str) and system and turns[0]["role"] != "system":
        turns = [{"role": "system", "content": system}, *turns]
    return turns, split


def _history(row: Fields) -> Messages:
    """Return the earlier turns in the field `history`: messages, or pairs of a question and its answer."""
    history = row.get("history")
    if not history:
        return []
    if is_conversation(history):
        return turns_as_messages(history)
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise UnsuitableRow("has a field 'history' with neither messages nor pairs of a question and an answer.")
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in history for role, text in zip(roles, pair, strict=True)]


def answer_turns(value: Any, thought: Any = None, tool_calls: Any = None) -> Messages:
    """Return an answer as turns of the assistant. What is neither text nor messages is written as JSON."""
    if isinstance(value, dict) and is_conversation([value]):
        value = [value]
    turns = turns_as_messages(value) if is_conversation(value) else [{"role": "assistant", "content": as_text(value)}]
    others = {"reasoning_content": as_text(thought)} if thought else {}
    if tool_calls:
        others["tool_calls"] = tool_calls
    return [*turns[:-1], {**turns[-1], **others}]


def split_conversation(value: Any, name: str) -> tuple[Messages, Messages]:
    """Split a conversation into (prompt, answer) before its last turn.

    Raises:
        UnsuitableRow: It is not a conversation that ends with a turn of the assistant.
    """
    turns = turns_as_messages(value) if is_conversation(value) else []
    if len(turns) < 2 or turns[-1]["role"] != "assistant":
        raise UnsuitableRow(f"has no conversation that ends with an answer in the field {name!r}.")
    return turns[:-1], turns[-1:]


def split_pair(chosen: Any, rejected: Any) -> tuple[Messages, Messages, Messages]:
    """Split two conversations that begin equally into (prompt, chosen, rejected).

    Raises:
        UnsuitableRow: One of them is not a conversation, or they differ from the first turn on.
    """
    if not (is_conversation(chosen) and is_conversation(rejected)):
        raise UnsuitableRow("has a whole conversation in only one of the fields 'chosen' and 'rejected'.")
    ours, theirs = turns_as_messages(chosen), turns_as_messages(rejected)
    pairs = zip(ours[:-1], theirs[:-1], strict=False)
    length = next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(ours), len(theirs)) - 1)
    if not length:
        raise UnsuitableRow("has different prompts in the fields 'chosen' and 'rejected'.")
    return ours[:length], ours[length:], theirs[length:]


def place_reasoning(example: TrainingExample, place: ReasoningPlace | None) -> TrainingExample:
    """Return the example with its thinking text where the user wants it.

    Raises:
        UnsuitableRow: There is thinking text, and the user did not say where it belongs.
    """

    def placed(turn: dict[str, Any]) -> dict[str, Any]:
        thought = turn.get("reasoning_content")
        if not thought or place == "separate":
            return turn
        if place is None:
            inline, drop = option("reasoning", "inline"), option("reasoning", "drop")
            raise UnsuitableRow(f"has thinking text. To write it before the answer: {inline}. To leave it out: {drop}.")
        rest = {name: value for name, value in turn.items() if name != "reasoning_content"}
        return {**rest, "content": _with_thought(as_text(thought), turn.get("content"))} if place == "inline" else rest

    def all_placed(turns: Messages) -> Messages:
        return [placed(turn) for turn in turns]

    rejected = None if example.rejected is None else all_placed(example.rejected)
    return msgspec.structs.replace(
        example, prompt=all_placed(example.prompt), answer=all_placed(example.answer), rejected=rejected
    )


def _with_thought(thought: str, content: Any) -> Any:
    """Return the content of a message, which may be null or a list of parts, with thinking text before it."""
    if isinstance(content, list):
        return [{"type": "text", "text": join(thought, "")}, *content]
    return join(thought, as_text(content or ""))


def tools_in(row: Fields) -> Any:
    """Return the tools of a row as a list; None if it has none. ShareGPT data has them as JSON text."""
    tools = row.get("tools")
    if isinstance(tools, str) and tools:
        try:
            return json.loads(tools)
        except (ValueError, RecursionError):
            raise UnsuitableRow("has tools that are not valid JSON.") from None
    return tools or None
