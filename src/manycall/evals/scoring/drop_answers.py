"""Exact match and F1 of DROP, as OpenAI's simple-evals computes them (`drop_eval.py`).

Both compare words: in lower case, without punctuation and articles, and numbers by value. Hyphens separate words.
"""

import re
from collections.abc import Callable
from string import punctuation

_ANSWER = re.compile(r"(?i)Answer\s*:\s*([^\n]+)")
_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", punctuation)


def stated_answer(response: str) -> str:
    """Return the text after the first "Answer:", up to the end of the line; without one, the whole response."""
    match = _ANSWER.search(response)
    return match[1] if match else response


def best_exact_match(answer: str, references: str) -> float:
    """Return 1.0 if the answer has the same words as one of the references, which `|` separates; else 0.0."""
    return _best(lambda words, right: float(words == right), answer, references)


def best_word_f1(answer: str, references: str) -> float:
    """Return the F1 of the distinct words, rounded to four digits, for the most similar reference."""
    return _best(_f1, answer, references)


def _best(compare: Callable[[list[str], list[str]], float], answer: str, references: str) -> float:
    words = drop_words(answer)
    given = (drop_words(each) for each in references.split("|") if each.strip())
    return max((compare(words, right) for right in given), default=0.0)


def drop_words(text: str) -> list[str]:
    """Return the words of a text. Numbers are written as Python floats."""
    return [word for token in re.split("[ -]", text) for word in _words(token.lower())]


def _words(token: str) -> list[str]:
    if (number := _number(token)) is None:
        token = token.translate(_NO_PUNCTUATION)
        number = _number(token)
    return _ARTICLE.sub(" ", token if number is None else str(number)).split()


def _number(token: str) -> float | None:
    try:
        return float(token)
    except ValueError:
        return None


def _f1(answer: list[str], right: list[str]) -> float:
    """Return the F1; 0 if the right answer contains numbers and the answer none of them."""
    found, expected = set(answer), set(right)
    numbers = {word for word in expected if _number(word) is not None}
    if numbers and not numbers & found:
        return 0.0
    common = len(found & expected)
    precision = common / len(found) if found else 1.0
    recall = common / len(expected) if expected else 1.0
    if precision == recall == 0.0:
        return 0.0
    return round(2 * precision * recall / (precision + recall) * 100 * 100) / 100 / 100
