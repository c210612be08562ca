"""Training formats for finished rows: messages, ShareGPT, Alpaca, preference pairs (DPO)."""

from collections.abc import Callable, Sequence
from typing import Any

from manycall.dataset.answer_reader import AnswerReader, require_field
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.providers.reasoning import join
from manycall.records import Fields, Messages
from manycall.render import as_text


def messages_in(row: Fields, name: str) -> Messages:
    """Return the prompt in a field of the row, which holds a text or messages.

    Raises:
        UsageError: The field holds neither, or does not exist.
    """
    match require_field(row, name):
        case str() as text:
            return [{"role": "user", "content": text}]
        case value if _is_messages(value):
            return value  # type: ignore[no-any-return]
    raise UsageError(f"Row {row['id']!r}: the field {name!r} contains neither text nor messages.")


def keep_fields(converted: Fields, row: Fields, names: Sequence[str]) -> Fields:
    """Add the named fields of a row to its converted form.

    Raises:
        UsageError: The row does not have a field, or the format writes the field itself.
    """
    for name in names:
        value = require_field(row, name)
        if converted.get(name):
            omit = f"Omit {option('keep', name)}."
            raise UsageError(f"Row {row['id']!r}: the format writes the field {name!r} itself. {omit}")
        converted[name] = value
    return converted


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "role" in item for item in value)


def _answer(answer: Any) -> Messages:
    return [{"role": "assistant", "content": as_text(answer)}]


def _as_messages(row: Fields, prompt: Messages, answers: AnswerReader, thought: str) -> Fields:
    """Convert to messages. Thinking text is the field `reasoning_content` that chat templates such as Qwen3's read."""
    (turn,) = _answer(answers.answer(row))
    return {"messages": [*prompt, {**turn, "reasoning_content": thought} if thought else turn]}


FROM = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
"""Role -> ShareGPT's name for it, including those added by derived formats (LLaMA-Factory: data/README.md)."""


def _as_sharegpt(row: Fields, prompt: Messages, answers: AnswerReader, thought: str) -> Fields:
    turns = [*prompt, *_answer(join(thought, as_text(answers.answer(row))))]
    return {
        "conversations": [{"from": FROM.get(turn["role"], turn["role"]), "value": _text(row, turn)} for turn in turns]
    }


def _as_alpaca(row: Fields, prompt: Messages, answers: AnswerReader, thought: str) -> Fields:
    system = [turn for turn in prompt if turn["role"] == "system"]
    *others, last = [turn for turn in prompt if turn["role"] != "system"] or [{}]
    if others or last.get("role") != "user" or len(system) > 1:
        raise UsageError(
            f"Row {row['id']!r} is not a single question, as Alpaca requires. Use {option('format', 'messages')}."
        )
    converted = {"instruction": _text(row, last), "input": "", "output": join(thought, as_text(answers.answer(row)))}
    return {**converted, "system": _text(row, system[0])} if system else converted


def _as_dpo(row: Fields, prompt: Messages, answers: AnswerReader, thought: str) -> Fields:
    """Convert to TRL's conversational preference format."""
    chosen, rejected = require_field(row, "chosen"), require_field(row, "rejected")
    return {"prompt": prompt, "chosen": _reply(chosen), "rejected": _reply(rejected)}


def _reply(answer: Any) -> Messages:
    return answer if _is_messages(answer) else _answer(answer)


def _text(row: Fields, turn: dict[str, Any]) -> str:
    content = turn.get("content")
    if not isinstance(content, str):
        raise UsageError(f"Row {row['id']!r}: a message is not a single text. Use {option('format', 'messages')}.")
    others = [name for name, value in turn.items() if name not in {"role", "content"} and value]
    if others:
        raise UsageError(f"Row {row['id']!r}: a message has {', '.join(others)}. Use {option('format', 'messages')}.")
    return content


TRAINING_FORMATS: dict[str, Callable[[Fields, Messages, AnswerReader, str], Fields]] = {
    "messages": _as_messages,
    "sharegpt": _as_sharegpt,
    "alpaca": _as_alpaca,
    "dpo": _as_dpo,
}
"""Name of the format -> function of (row, its prompt, reader, thinking text to write with the answer)."""
FORMATS_WITH_THINKING = {"messages", "sharegpt", "alpaca"}
"""Formats with a place for thinking text. LLaMA-Factory expects it in `<think>` tags in the last two."""
