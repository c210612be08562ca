"""A finished row as trainers want it: messages, ShareGPT, Alpaca, preference pairs."""

from collections.abc import Callable, Sequence
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
        case value if _is_messages(value):
            return value  # type: ignore[no-any-return]
    raise UsageError(f"row {row['id']!r}: the field {name!r} holds neither a text nor messages")


def keep_fields(made: Fields, row: Fields, names: Sequence[str]) -> Fields:
    """Return the shaped row with these fields of the original row added.

    Raises:
        UsageError: the row lacks one, or the shape writes another value there.
    """
    for name in names:
        value = field_of(row, name)
        if made.get(name):
            raise UsageError(f"row {row['id']!r}: the shape itself writes {name!r}: leave out --keep {name}")
        made[name] = value
    return made


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and "role" in one for one in value)


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
    system = [turn for turn in asked if turn["role"] == "system"]
    *others, last = [turn for turn in asked if turn["role"] != "system"] or [{}]
    if others or last.get("role") != "user" or len(system) > 1:
        raise UsageError(f"row {row['id']!r} is more than one question, which Alpaca has no room for: --as messages")
    made = {"instruction": _text(row, last), "input": "", "output": as_text(answers.of(row))}
    return {**made, "system": _text(row, system[0])} if system else made


def _as_dpo(row: Fields, asked: Messages, answers: Answers) -> Fields:
    """As TRL wants preference pairs of conversations."""
    chosen, rejected = field_of(row, "chosen"), field_of(row, "rejected")
    return {"prompt": asked, "chosen": _reply(chosen), "rejected": _reply(rejected)}


def _reply(answer: Any) -> Messages:
    return answer if _is_messages(answer) else _answer(answer)


def _text(row: Fields, turn: dict[str, Any]) -> str:
    content = turn.get("content")
    if not isinstance(content, str):
        raise UsageError(f"row {row['id']!r}: a message is not one text, and needs --as messages")
    others = [name for name, value in turn.items() if name not in {"role", "content"} and value]
    if others:
        raise UsageError(f"row {row['id']!r}: a message has {', '.join(others)}, and needs --as messages")
    return content


SHAPES: dict[str, Callable[[Fields, Messages, Answers], Fields]] = {
    "messages": _as_messages,
    "sharegpt": _as_sharegpt,
    "alpaca": _as_alpaca,
    "dpo": _as_dpo,
}
