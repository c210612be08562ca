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
_LAST_WORD = (
    "(?:twen|thir|for|fif|six|seven|nine)(?:teen|ty)|eight(?:een|y)|fourteen|zero|one|two|three|four|five|ten|eleven|"
    "twelve|hundred|thousand|(?:m|b|tr)illion"
)
"""Words with which lm-eval lets a number end. Because of a slip in its pattern, six to nine are not among them."""
_OTHER_WORD = r"twen|thir|for|fif|six|seven|nine|eight|[^\S\r\n]|,|and|&"
_RUN = re.compile(f"(?:{_LAST_WORD}|{_OTHER_WORD})++")
_WORD = re.compile(f"({_LAST_WORD})|{_OTHER_WORD}")


def last_number_words(text: str) -> str | None:
    """Return the last number that is written in words, in digits; None if there is none, or if it has no value.

    lm-eval stops with an error for words without a value ("thousand million").
    """
    last = ""
    for run in _RUN.finditer(text.lower()):
        ends = [word.end() for word in _WORD.finditer(run[0]) if word[1]]
        if ends:
            last = run[0][: ends[-1]]
    words = [word for word in last.split() if word in VALUES]
    try:
        return str(_value(words))
    except (IndexError, ValueError):
        return None


def _value(words: Sequence[str]) -> int:
    """Return the value of number words as word2number computes it, including its sums of unrelated numbers.

    Raises:
        IndexError, ValueError: the words have no value.
    """
    if len(words) == 1:
        return VALUES[words[0]]
    total = 0
    for scale, value in SCALES.items():
        if scale in words:
            at = words.index(scale)
            total += _below_thousand(words[:at]) * value
            words = words[at + 1 :]
            if not words:
                return total
    return total + _below_thousand(words)


def _below_thousand(words: Sequence[str]) -> int:
    if not SCALES.keys().isdisjoint(words):
        raise ValueError("a scale occurs twice or after a smaller one")
    match [VALUES[word] for word in words]:
        case [a, b, c, d]:
            return a * b + c + d
        case [a, b, c]:
            return a * b + c
        case [a, b]:
            return a * b if 100 in (a, b) else a + b
        case numbers:
            return numbers[0]
