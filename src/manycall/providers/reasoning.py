"""Separate thinking text from the answer where a server returns both in one text.

Servers with a reasoning parser return thinking text in a separate field (`chat_reply`), and then the text is never
split. Without a parser, the mark-up of the model remains in the text. A tag in the middle of an answer may be a
quotation, so the text is split only if it begins with thinking text:

* it begins with an opening tag such as `<think>`, or with a Harmony header (gpt-oss); or
* the caller knows that the model begins every answer with thinking text. The chat templates of DeepSeek-R1 and
  Qwen3-Thinking contain the opening tag, so that the text of these models has only the closing one.
"""

import re
from bisect import bisect_right
from collections import deque
from functools import lru_cache

_OPENING = re.compile(r"\s*+(?:<(think|thinking|thought|seed:think)>|\[(THINK)\])")
_CLOSING = re.compile(r"</(think|thinking|thought|seed:think)>|\[/(THINK)\]")
_HARMONY = re.compile(r"\s*+(?:<\|start\|>assistant)?<\|channel\|>")
_HARMONY_FINAL = re.compile(r"<\|channel\|>final[^<]*+(?:<\|constrain\|>[^<]*+)?<\|message\|>")
_HARMONY_END = re.compile(r"<\|(?:return|end)\|>")
_HARMONY_HEADER = re.compile(r"<\|(?:start|channel|constrain)\|>[^<]*+|<\|(?:message|end|call|return)\|>")
_BARE_HARMONY, _BARE_FINAL = "analysis", "assistantfinal"
"""What remains of the Harmony headers if the server removes special tokens without parsing them."""
_THINKING_MODELS = re.compile(r"deepseek-r1|\bqwq\b|qwen3[^/]*-thinking", re.IGNORECASE)
"""Models whose chat template contains the opening tag. Without a reasoning parser, their texts have only `</think>`."""
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)


FIRST_CHARACTERS = ("<", "[", " ", "\n", "\t", "\r")
"""The mark-up of thinking text begins with one of these characters."""


def split(text: str, *, is_thinker: bool, finish: str) -> tuple[str, str]:
    """Return (thinking text, answer). The thinking text is "" if the text does not begin with it.

    An answer of "" means that the text is all thinking text: it was truncated, or the model ended too early.

    Args:
        text: the text of a choice whose reply has no field with thinking text.
        is_thinker: the model is known to begin every answer with thinking text, with or without an opening tag.
        finish: the finish reason of the choice.
    """
    if not is_thinker and not text.startswith(FIRST_CHARACTERS):  # the usual case
        return "", text
    if opening := _OPENING.match(text):
        name = opening[1] or opening[2]
        return _split_at_closing_tag(text, opening.end(), name, finish)
    if _HARMONY.match(text):
        return _split_harmony(text)
    return _split_without_opening(text, finish) if is_thinker else ("", text)


def begins_with_thinking(text: str) -> bool:
    """Return whether a text begins with an opening tag or a Harmony header."""
    return text.startswith(FIRST_CHARACTERS) and (_OPENING.match(text) or _HARMONY.match(text)) is not None


@lru_cache(maxsize=256)
def is_thinking_model(model: str) -> bool:
    """Return whether a model of this name is known to begin every answer with thinking text."""
    return _THINKING_MODELS.search(model) is not None


def text_after_thinking(text: str) -> str:
    """Return the text after the last closing tag; the whole text if there is none."""
    if "</" not in text and "[/" not in text:  # the usual case
        return text
    closing = _last_match(_CLOSING, text)
    return text if closing is None else text[closing.end() :]


def join(thought: str, answer: str) -> str:
    """Return thinking text and answer as one text, as the chat templates of Qwen3 and DeepSeek write them."""
    return f"<think>\n{thought}\n</think>\n\n{answer}" if thought else answer


def _split_at_closing_tag(text: str, start: int, name: str, finish: str) -> tuple[str, str]:
    """Split a text whose thinking text begins at `start` and ends at the last closing tag of this name."""
    closing = f"[/{name}]" if name == "THINK" else f"</{name}>"
    end = _find_last_outside_code(text, closing, start)
    if end < 0 and finish != "length":  # the thinking text contains a code block that the model did not close
        end = text.rfind(closing, start)
    if end < 0:
        return text[start:].strip(), ""
    thought, answer = text[start:end].strip(), text[end + len(closing) :].lstrip()
    if _OPENING.match(answer):  # the model thought again
        more, answer = split(answer, is_thinker=False, finish=finish)
        thought = f"{thought}\n\n{more}".strip()
    return thought, answer


def _split_without_opening(text: str, finish: str) -> tuple[str, str]:
    """Split the text of a model that begins every answer with thinking text, if it has no opening tag."""
    if text.startswith(_BARE_HARMONY) and _BARE_FINAL in text:
        thought, _, answer = text.removeprefix(_BARE_HARMONY).rpartition(_BARE_FINAL)
        return thought.strip(), answer.lstrip()
    closing = _last_match(_CLOSING, text)
    if closing is None:
        return (text.strip(), "") if finish == "length" else ("", text)
    name = closing[1] or closing[2]
    opening = "[THINK]" if name == "THINK" else f"<{name}>"
    return ("", text) if opening in text else _split_at_closing_tag(text, 0, name, finish)


def _split_harmony(text: str) -> tuple[str, str]:
    """Split at the last message of the channel `final`. All other messages are thinking text."""
    final = _last_match(_HARMONY_FINAL, text)
    if final is None:
        return _without_headers(text), ""
    end = _HARMONY_END.search(text, final.end())
    answer = text[final.end() : end.start() if end else len(text)]
    return _without_headers(text[: final.start()]), answer.strip()


def _without_headers(text: str) -> str:
    """Return the messages of a Harmony text without their headers, separated by line breaks."""
    return "\n\n".join(part for piece in _HARMONY_HEADER.split(text) if (part := piece.strip()))


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _find_last_outside_code(text: str, tag: str, start: int) -> int:
    """Return the last position of the tag that is not inside a fenced code block; -1 if there is none."""
    blocks = _code_blocks(text)
    starts = [block[0] for block in blocks]
    at = text.rfind(tag, start)
    while at >= 0:
        before = bisect_right(starts, at) - 1
        if before < 0 or blocks[before][1] <= at:
            return at
        at = text.rfind(tag, start, at)
    return -1


def _code_blocks(text: str) -> list[tuple[int, int]]:
    """Return the start and the end of each fenced code block of a Markdown text. A block without an end is none."""
    blocks: list[tuple[int, int]] = []
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text) if "```" in text or "~~~" in text else ():
        if opening is None:
            opening = fence
        elif fence[1].startswith(opening[1]) and not fence[2].strip():
            blocks.append((opening.start(), fence.end()))
            opening = None
    return blocks
