"""A finished row as trainers want it: messages, ShareGPT, Alpaca, preference pairs."""

from collections.abc import Callable
from typing import Any

from manycall.errors import UsageError
from manycall.records import Fields, Messages, as_text
from manycall.synth.answers import Answers, field_of


def messages_in(row: Fields, name: str) -> Messages:
    """What a row was asked, where a field says it, as a text or as messages.

    Raises:
        UsageError: it is neither, or there is no such field.
    """
    match field_of(row, name):
        case str() as text:
            return [{"role": "user", "content": text}]
        case [*turns] if turns and all(isinstance(turn, dict) and "role" in turn for turn in turns):
            return turns
    raise UsageError(f"row {row['id']!r}: the field {name!r} holds neither a text nor messages")


def _answer(answer: Any) -> Messages:
    return [{"role": "assistant", "content": as_text(answer)}]


def _as_messages(row: Fields, asked: Messages, answers: Answers) -> Fields:
    return {"messages": [*asked, *_answer(answers.of(row))]}


FROM = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
"""What ShareGPT calls who speaks; its derivatives have taken in the others (LLaMA-Factory: data/README.md)."""


def _as_sharegpt(row: Fields, asked: Messages, answers: Answers) -> Fields:
    turns = [*asked, *_answer(answers.of(row))]
    return {
        "conversations": [{"from": FROM.get(turn["role"], turn["role"]), "value": _text(row, turn)} for turn in turns]
    }


def _as_alpaca(row: Fields, asked: Messages, answers: Answers) -> Fields:
    system = [_text(row, turn) for turn in asked if turn["role"] == "system"]
    *others, last = [turn for turn in asked if turn["role"] != "system"] or [{}]
    if others or last.get("role") != "user" or len(system) > 1:
        raise UsageError(f"row {row['id']!r} is more than one question, which Alpaca has no room for: --as messages")
    made = {"instruction": _text(row, last), "input": "", "output": as_text(answers.of(row))}
    return {**made, "system": system[0]} if system else made


def _as_dpo(row: Fields, asked: Messages, answers: Answers) -> Fields:
    """As TRL wants preference pairs of conversations."""
    return {
        "prompt": asked,
        "chosen": _answer(field_of(row, "chosen")),
        "rejected": _answer(field_of(row, "rejected")),
    }


def _text(row: Fields, turn: dict[str, Any]) -> str:
    content = turn.get("content")
    if not isinstance(content, str):
        raise UsageError(f"row {row['id']!r}: a message is not one text, and needs --as messages")
    return content


SHAPES: dict[str, Callable[[Fields, Messages, Answers], Fields]] = {
    "messages": _as_messages,
    "sharegpt": _as_sharegpt,
    "alpaca": _as_alpaca,
    "dpo": _as_dpo,
}
