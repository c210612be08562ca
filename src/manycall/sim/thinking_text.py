"""Where the replies of the chat API contain thinking text: in separate fields, or in the text, between tags."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Message = dict[str, Any]
Form = Callable[[str, str], Message]
"""(thinking text, answer) -> the fields of a message. With an answer of "", the answer has not begun."""


def _tagged(opening: str, closing: str) -> Form:
    """Return the form of a model whose server has no reasoning parser."""

    def form(thinking: str, text: str) -> Message:
        end = f"{closing}{text}" if text or not thinking else ""
        return {"content": f"{opening}{thinking}{end}" if thinking else text}

    return form


def _field(name: str) -> Form:
    def form(thinking: str, text: str) -> Message:
        return {"content": text, name: thinking} if thinking else {"content": text}

    return form


def _details(thinking: str, text: str) -> Message:
    if not thinking:
        return {"content": text}
    details = [{"type": "reasoning.text", "text": thinking, "format": "unknown", "index": 0}]
    return {"content": text, "reasoning": thinking, "reasoning_details": details}


def _minimax(thinking: str, text: str) -> Message:
    return {
        "content": text,
        **({"reasoning_details": [{"type": "reasoning.text", "text": thinking}]} if thinking else {}),
    }


def _content_list(thinking: str, text: str) -> Message:
    if not thinking:
        return {"content": text}
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": thinking}]}
    return {"content": [thought, *([{"type": "text", "text": text}] if text else [])]}


REASONING_FORMS: Mapping[str, Form] = {
    "hidden": lambda thinking, text: {"content": text},
    "reasoning_content": _field("reasoning_content"),
    "reasoning": _field("reasoning"),
    "reasoning_details": _details,
    "minimax": _minimax,
    "content_list": _content_list,
    "think": _tagged("<think>\n", "\n</think>\n\n"),
    "lone_think": _tagged("", "\n</think>\n\n"),
    "thought": _tagged("<thought>", "</thought>"),
    "harmony": _tagged("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
}
_INLINE = ("think", "lone_think", "thought", "harmony")


def deltas(form: str, thinking: str, text: str, cut: Callable[[str], list[str]]) -> Iterator[Message]:
    """Yield the fields of a message in the pieces in which a stream contains them."""
    fields = REASONING_FORMS[form]
    if form in _INLINE:
        yield from ({"content": piece} for piece in cut(fields(thinking, text)["content"]))
        return
    for piece in cut(thinking):
        delta = {name: value for name, value in fields(piece, "").items() if value != ""}
        if delta:
            yield delta
    yield from ({"content": piece} for piece in cut(text))


def cut_text(text: str, pieces: int = 16) -> list[str]:
    """Return a text in at most `pieces` pieces of at least 16 characters."""
    size = max(16, -(-len(text) // pieces))
    return [text[start : start + size] for start in range(0, len(text), size)]
