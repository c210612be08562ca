"""Recognise the chosen letter with the help of the choices, as lm-evaluation-harness 0.4.13 does in GPQA and BBH."""

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from string import ascii_uppercase

from manycall.evals.scoring.text_answers import UNPARSED

BRACKETED_LETTER = re.compile(r"\([A-Z]\)")


def letter_or_choice(response: str, choices: Sequence[str]) -> str:
    """Return the chosen letter in brackets, for example "(B)".

    It is the last letter in brackets, whichever letter that is; else the letter of the choice whose text occurs last
    (without regard to case and punctuation); else the last letter after a colon; else UNPARSED. This is lm-eval's
    filter `multi_choice_regex` with `([A-Z])` in brackets, `group_select` -1, `ignore_case`, `ignore_punctuation`.

    Quirks of the original: if two choices have the same text, the later one is returned. If the text of a choice
    starts or ends with spaces after its punctuation is removed, the text is returned instead of its letter. If a choice
    contains only punctuation, no choice is recognised by its text.
    """
    if bracketed := BRACKETED_LETTER.findall(response):
        return str(bracketed[-1])
    texts = [_plain(choice.strip()) for choice in choices]
    letters = {text: f"({letter})" for text, letter in zip(texts, ascii_uppercase, strict=False)}
    any_text = "|".join(sorted(map(re.escape, texts), key=len, reverse=True))
    found = re.findall(any_text, _plain(response))
    if found and (text := str(found[-1]).strip()):
        return letters.get(text, text)
    if after_colon := re.findall(rf":\s*([{ascii_uppercase[: len(texts)]}])", response):
        return f"({after_colon[-1]})"
    return UNPARSED


def _plain(text: str) -> str:
    """Return a text in lower case, without the characters of the Unicode categories P*."""
    return text.lower().translate(_punctuation())


@cache
def _punctuation() -> dict[int, None]:
    return dict.fromkeys(n for n in range(sys.maxunicode) if unicodedata.category(chr(n)).startswith("P"))
