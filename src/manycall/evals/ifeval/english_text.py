"""Count the words, sentences and capitalised words of a text, and detect its language.

lm-evaluation-harness uses nltk and langdetect for this. nltk downloads its sentence model when it is first used. The
packages of the extra `ifeval` bring the same model and need no network.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from manycall.evals.tasks.extras import require_extra

SEED = 0
"""Seed of langdetect, which samples from a text. lm-eval does not set it, so its verdict on a text may change."""
UNDETECTABLE = ""
"""Language of a text without letters."""


def count_words(text: str) -> int:
    r"""Return the number of matches of `\w+`, in which `regex`, unlike `re`, includes combining marks."""
    return len(_compiled(r"\w+").findall(text))


def count_sentences(text: str) -> int:
    """Return the number of sentences that the English Punkt model finds (Kiss and Strunk, 2006)."""
    return len(_sentences(text))


def count_capital_words(text: str) -> int:
    """Return the number of tokens whose letters are all capitals."""
    return sum(token.isupper() for sentence in _sentences(text) for token in _tokens(sentence))


def detect_language(text: str) -> str:
    """Return the code of the language of a text, for example "en"; UNDETECTABLE if it has no letters."""
    detector = _languages().create()
    from langdetect.lang_detect_exception import LangDetectException

    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return UNDETECTABLE


@cache
def _languages() -> Any:
    """Return a factory of detectors. It is not langdetect's own, so other users of the library keep their seed."""
    require_extra("ifeval", "ifeval")
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.set_seed(SEED)
    factory.load_profile(PROFILES_DIRECTORY)
    return factory


def _sentences(text: str) -> list[str]:
    require_extra("ifeval", "ifeval")
    from manycall.evals.ifeval.punkt_sentences import sentence_splitter

    return sentence_splitter().split(text)


@cache
def _compiled(pattern: str) -> Any:
    require_extra("ifeval", "ifeval")
    import regex

    return regex.compile(pattern)


_BEFORE_PADDING: tuple[tuple[str, str], ...] = (
    # opening quotes
    (r"([«“‘„]|[`]+)", r" \1 "),
    (r'^"', "``"),
    ("(``)", r" \1 "),
    (r"""([ ([{<])("|'{2})""", r"\1 `` "),
    (r"(?i)(?<!\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", r"\1 "),
    # the last period of a sentence, and punctuation
    (r"""([^.])(\.)([\])}>"' »”’]*+)\s*$""", r"\1 \2 \3 "),
    (r"([:,])([^\d])", r" \1 \2"),
    (r"([:,])$", r" \1 "),
    (r"\.{2,}|[;@#$%&\u2012-\u2015]", r" \g<0> "),
    (r"""([^.])(\.)([\])}>"']*)\s*$""", r"\1 \2\3 "),
    ("[?!]", r" \g<0> "),
    ("([^'])' ", r"\1 ' "),
    (r"[*\[\](){}<>]|--", r" \g<0> "),
)
_AFTER_PADDING: tuple[tuple[str, str], ...] = (
    # closing quotes, and endings such as 's and n't
    ("([»”’])", r" \1 "),
    ("''|\"", " '' "),
    (r"\s+", " "),
    (r"([^' ])('[sSmMdD]|') ", r"\1 \2 "),
    (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r"\1 \2 "),
)
"""The rules of nltk's word tokenizer, which follow the Penn Treebank: each pattern and what replaces its matches, in
their order. Between the two tables the text gets a space at both ends."""
_CONTRACTIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        *(rf"\b({a})({b})\b" for a, b in (("can", "not"), ("d", "'ye"), ("gim", "me"), ("gon", "na"), ("got", "ta"))),
        r"\b(lem)(me)\b",
        r"\b(more)('n)\b",
        r"\b(wan)(na)(?=\s)",
        r" ('t)(is|was)\b",
    )
)


def _tokens(sentence: str) -> list[str]:
    """Return the tokens of a sentence, as nltk's `word_tokenize` splits it; quotation marks are changed."""
    text = _replaced(f" {_replaced(sentence, _BEFORE_PADDING)} ", _AFTER_PADDING)
    for contraction in _CONTRACTIONS:
        text = contraction.sub(r" \1 \2 ", text)
    return text.split()


def _replaced(text: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        text = _compiled(pattern).sub(replacement, text)
    return text
