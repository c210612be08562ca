"""The 25 verifiable instructions of IFEval: one function each, and the table that names them.

A check gets a response and the arguments of its instruction, and returns whether the response follows it. The functions
reproduce lm-evaluation-harness 0.4.13, including its quirks: keywords are regular expressions, a `---` rule is a bullet
point, and a language that cannot be detected is the right one. Where lm-eval's patterns take quadratic time, equivalent
ones are used here.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from manycall.evals.ifeval.english_text import (
    UNDETECTABLE,
    count_capital_words,
    count_sentences,
    count_words,
    detect_language,
)

InstructionCheck = Callable[..., bool]
"""(response, **arguments of the instruction) -> does the response follow it?"""

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
FENCES = ("```json", "```Json", "```JSON", "```")
FIRST_WORD_END = re.compile(r"""[.,?!'"]""")


def _holds(relation: str, count: int, limit: int) -> bool:
    """Compare a count with its limit.

    Raises:
        ValueError: the relation is neither "less than" nor "at least".
    """
    if relation not in ("less than", "at least"):
        raise ValueError(f"the relation {relation!r:.100} must be 'less than' or 'at least'")
    return count < limit if relation == "less than" else count >= limit


def _keywords_exist(text: str, keywords: list[str]) -> bool:
    return all(re.search(keyword, text, re.IGNORECASE) for keyword in keywords)


def _keyword_frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _holds(relation, len(re.findall(keyword.strip(), text, re.IGNORECASE)), frequency)


def _no_forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    return not any(re.search(rf"\b{word}\b", text, re.IGNORECASE) for word in forbidden_words)


def _letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """Count any given character. lm-eval draws a random letter in place of "#" and "!" (keys 1122 and 1129)."""
    return _holds(let_relation, text.lower().count(letter.strip().lower()), let_frequency)


def _response_language(text: str, language: str) -> bool:
    return detect_language(text) in (language, UNDETECTABLE)


def _is_english(text: str) -> bool:
    return _response_language(text, "en")


def _number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _holds(relation, count_sentences(text), num_sentences)


def _number_words(text: str, num_words: int, relation: str) -> bool:
    return _holds(relation, count_words(text), num_words)


def _number_paragraphs(text: str, num_paragraphs: int) -> bool:
    inner = _inner_parts(re.split(r"\s?\*\*\*\s?", text))
    return all(inner) and len(inner) == num_paragraphs


def _two_responses(text: str) -> bool:
    parts = _inner_parts(text.split("******"))
    return all(parts) and len(parts) == 2 and parts[0] != parts[1]


def _inner_parts(parts: list[str]) -> list[str]:
    """Return the stripped parts without an empty one at each end."""
    stripped = [part.strip() for part in parts]
    start = 0 if stripped[0] else 1
    return stripped[start : len(stripped) if stripped[-1] else -1]


def _nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    paragraphs = [part.strip() for part in text.split("\n\n")]
    count = sum(map(bool, paragraphs))
    if nth_paragraph > count or not paragraphs[nth_paragraph - 1]:
        return False
    word = paragraphs[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    word = "".join(map(str.lower, FIRST_WORD_END.split(word)[0]))  # letter by letter: a final sigma stays σ
    return count == num_paragraphs and word == first_word.lower()


def _number_placeholders(text: str, num_placeholders: int) -> bool:
    r"""Count the matches of `\[.*?\]`, in linear time."""
    count = 0
    for line in text.split("\n"):
        at = line.find("[")
        while at >= 0 and (end := line.find("]", at)) >= 0:
            count += 1
            at = line.find("[", end)
    return count >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    marker = postscript_marker.strip()
    pattern = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(marker, marker.lower())
    return re.search(pattern, text.lower()) is not None


def _number_bullet_lists(text: str, num_bullets: int) -> bool:
    stars = re.findall(r"^[^\S\n]*+\*[^*].*$", text, re.MULTILINE)
    dashes = re.findall(r"^[^\S\n]*+-.*$", text, re.MULTILINE)
    return len(stars) + len(dashes) == num_bullets


def _highlighted_sections(text: str, num_highlights: int) -> bool:
    single, double = re.findall(r"\*([^\n*]*)\*", text), re.findall(r"\*\*([^\n*]*)\*\*", text)
    return sum(bool(inner.strip()) for inner in (*single, *double)) >= num_highlights


def _multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.split(rf"\s?{section_spliter.strip()}\s?\d+\s?", text)) - 1 >= num_sections


def _json_format(text: str) -> bool:
    text = text.strip()
    for fence in FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):  # lm-eval stops with a RecursionError
        return False
    return True


def _title(text: str) -> bool:
    """Find `<<[^\n]+>>` that is not empty, in linear time: in each line, from the first << to the last >>."""
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2 and line[start:end].lstrip("<").rstrip(">").strip():
            return True
    return False


def _repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end_phrase(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    return _holds(capital_relation, count_capital_words(text), capital_frequency)


def _quotation(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


CHECKS: Mapping[str, InstructionCheck] = {
    "keywords:existence": _keywords_exist,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph_first_word,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:constrained_response": lambda text: any(option in text for option in OPTIONS),
    "detectable_format:number_highlighted_sections": _highlighted_sections,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:json_format": _json_format,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_phrase,
    "change_case:capital_word_frequency": _capital_word_frequency,
    "change_case:english_capital": lambda text: text.isupper() and _is_english(text),
    "change_case:english_lowercase": lambda text: text.islower() and _is_english(text),
    "punctuation:no_comma": lambda text: "," not in text,
    "startend:quotation": _quotation,
}
"""Checks by the id of their instruction."""


def follows(instruction: str, arguments: Mapping[str, Any], response: str) -> bool:
    """Return whether a response follows an instruction. An empty response follows none.

    Raises:
        ValueError: the instruction is not known.
        TypeError: its arguments are not those of the check.
    """
    if instruction not in CHECKS:
        raise ValueError(f"the instruction {instruction!r:.100} is not known")
    return bool(response.strip()) and CHECKS[instruction](response, **arguments)


def loose_variants(response: str) -> list[str]:
    """Return the response and its variants without the first line, the last line and all asterisks."""
    lines = response.split("\n")
    parts = (lines[1:], lines[:-1], lines[1:-1])
    texts = [response, *("\n".join(part).strip() for part in parts)]
    return list(dict.fromkeys(each for text in texts for each in (text, text.replace("*", ""))))


def followed_instructions(row: Mapping[str, Any], response: str, *, loose: bool = False) -> list[bool]:
    """Return for each instruction of a row whether the response follows it.

    Args:
        row: a row of IFEval, with `instruction_id_list` and, in the same order, `kwargs`. Empty arguments are ignored.
        response: the text of the model.
        loose: try the variants of the response too; one that follows the instruction is enough.
    """
    texts = loose_variants(response) if loose else [response]
    return [
        any(follows(name, {key: value for key, value in given.items() if value}, text) for text in texts)
        for name, given in zip(row["instruction_id_list"], row["kwargs"], strict=True)
    ]
