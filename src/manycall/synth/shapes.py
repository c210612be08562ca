"""A finished row as trainers want it: messages, ShareGPT, Alpaca, preference pairs."""

import re
from collections.abc import Callable
from typing import Any

from manycall.data.templates import BadPrompt, Template
from manycall.errors import UsageError
from manycall.records import Fields, Messages, Row
from manycall.store.output import Output

Asking = Callable[[Fields], Messages]
"""What a row was asked."""
_FUNCTION = re.compile(r"function \S+( [0-9a-f]{16})?")
"""What a manifest holds of a prompt that is a function."""


def asking(output: Output, prompt: str | None, field: str) -> Asking:
    """Finds what each row was asked: in its own field, or by rendering the template once more.

    Args:
        prompt: the field that holds a text or messages; None: there was a template.
        field: the one that holds the answer.

    Raises:
        UsageError: there was none.
    """
    if prompt is not None:
        return lambda row: _messages(row, prompt)
    text = output.identity.get("prompt")
    if text is None or _FUNCTION.fullmatch(text):
        raise UsageError(f"{output.path} does not say what was asked: name the field that holds it with --prompt")
    template = Template(text, output.identity.get("system"))
    ours = {field, f"{field}_finish_reason", "original_id"}

    def asked(row: Fields) -> Messages:
        fields = {name: value for name, value in row.items() if name not in ours}
        fields["id"] = row.get("original_id", row["id"])
        try:
            return template.messages(Row(str(row["id"]), fields))
        except BadPrompt as error:
            raise UsageError(f"row {row['id']!r}: {error}") from None

    return asked


def _messages(row: Fields, name: str) -> Messages:
    value = _field(row, name)
    return list(value) if isinstance(value, list) else [{"role": "user", "content": value}]


def _field(row: Fields, name: str) -> Any:
    if name not in row:
        raise UsageError(f"row {row['id']!r} has no field {name!r} (it has {', '.join(row)})")
    return row[name]


def _answer(text: Any) -> Messages:
    return [{"role": "assistant", "content": text}]


def _as_messages(row: Fields, asked: Messages, field: str) -> Fields:
    return {"messages": [*asked, *_answer(_field(row, field))]}


FROM = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}
"""What ShareGPT calls who speaks; its derivatives have taken in the others (LLaMA-Factory: data/README.md)."""


def _as_sharegpt(row: Fields, asked: Messages, field: str) -> Fields:
    turns = [*asked, *_answer(_field(row, field))]
    return {
        "conversations": [{"from": FROM.get(turn["role"], turn["role"]), "value": _text(row, turn)} for turn in turns]
    }


def _as_alpaca(row: Fields, asked: Messages, field: str) -> Fields:
    system = [_text(row, turn) for turn in asked if turn["role"] == "system"]
    *others, last = [turn for turn in asked if turn["role"] != "system"] or [{}]
    if others or last.get("role") != "user" or len(system) > 1:
        raise UsageError(f"row {row['id']!r} is more than one question, which Alpaca has no room for: --as messages")
    made = {"instruction": _text(row, last), "input": "", "output": _field(row, field)}
    return {**made, "system": system[0]} if system else made


def _as_dpo(row: Fields, asked: Messages, field: str) -> Fields:
    """As TRL wants preference pairs of conversations."""
    return {
        "prompt": asked,
        "chosen": _answer(_field(row, "chosen")),
        "rejected": _answer(_field(row, "rejected")),
    }


def _text(row: Fields, turn: dict[str, Any]) -> str:
    content = turn.get("content")
    if not isinstance(content, str):
        raise UsageError(f"row {row['id']!r}: a message is not one text, and needs --as messages")
    return content


SHAPES: dict[str, Callable[[Fields, Messages, str], Fields]] = {
    "messages": _as_messages,
    "sharegpt": _as_sharegpt,
    "alpaca": _as_alpaca,
    "dpo": _as_dpo,
}
