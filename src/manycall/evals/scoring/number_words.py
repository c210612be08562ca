"""The last English number words in a text, as lm-evaluation-harness 0.4.13 reads them with word2number in BBH."""

import re
from collections.abc import Sequence

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
SCALES = {"billion": 10**9, "million": 10**6, "thousand": 1000}
VALUES = {
    **{word: number for number, word in enumerate(_ONES)},
    **{word: 10 * number for number, word in enumerate(_TENS, 2)},
    "hundred": 100,
    **SCALES,
}
_WORD = (
    "(?:twen|thir|for|fif|six|seven|nine)(?:teen|ty)|eight(?:een|y)|fourteen|zero|one|two|three|four|five|ten|eleven|"
    "twelve|hundred|thousand|(?:m|b|tr)illion"
)
"""Words with which a number can end. Because of a slip in lm-eval's pattern, six to nine are not among them."""
_PART = r"twen|thir|for|fif|six|seven|nine|[^\S\r\n]|,|and|&"
_RUN = re.compile(f"(?:{_WORD}|eight)(?:{_WORD}|{_PART})*+")
_NEXT = re.compile(f"({_WORD})|{_PART}|eight")


def last_number_words(text: str) -> str | None:
    """Return the last number that is written in words, in digits; None if there is none, or if it has no value.

    lm-eval stops with an error for words without a value ("thousand million").
    """
    text, at, last = text.lower(), 0, ""
    while run := _RUN.search(text, at):
        words = list(_NEXT.finditer(run[0]))
        ends = [word.end() for word in (words[0], *words[2:]) if word[1]]  # the last of several is never the second
        at = run.start() + (ends[-1] if ends else words[0].end())
        last = text[run.start() : at] if ends else last
    try:
        return str(_value([word for word in last.split() if word in VALUES]))
    except (IndexError, ValueError):
        return None


def _value(words: Sequence[str]) -> int:
    """Return the value of number words as word2number computes it, including its sums of unrelated numbers.

    Raises:
        IndexError, ValueError: the words have no value.
    """
    if not words:
        raise ValueError("there are no number words")
    if len(words) == 1:
        return VALUES[words[0]]
    present = [scale for scale in SCALES if scale in words]
    total, start = 0, 0
    for scale in present:
        at = words.index(scale)
        total += _below_thousand(words[start:at]) * VALUES[scale]
        start = at + 1
    if not SCALES.keys().isdisjoint(words[start:]):
        raise ValueError("a scale occurs twice, or after a smaller one")
    # what follows the smallest scale; if nothing does, what follows the next larger one is added again
    rests = [words[words.index(scale) + 1 :] for scale in reversed(present)] or [words]
    return total + _sum(next(filter(None, rests), ["zero"]))


def _below_thousand(words: Sequence[str]) -> int:
    if not SCALES.keys().isdisjoint(words):
        raise ValueError("a scale occurs twice, or after a smaller one")
    return _sum(words)


def _sum(words: Sequence[str]) -> int:
    match [VALUES[word] for word in words]:
        case [a, b, c, d]:
            return a * b + c + d
        case [a, b, c]:
            return a * b + c
        case [a, b]:
            return a * b if 100 in (a, b) else a + b
        case numbers:
            return numbers[0]
