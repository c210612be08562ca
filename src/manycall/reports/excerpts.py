"""Quotes of answers, failures and verdicts for a report, and the histogram of answer lengths."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from itertools import islice

import msgspec

from manycall.evals.eval_result import WrongAnswer
from manycall.records import Fields
from manycall.reports import svg_plots
from manycall.reports.page import Figure, Quote, Section, TableBlock
from manycall.reports.svg_plots import Bar
from manycall.store.jsonl import decode_lines
from manycall.store.output_reader import OutputReader

MAX_QUOTES = 5
"""Maximum number of quotes of each kind."""
MAX_QUOTE_CHARACTERS = 4000
"""Maximum length of a quoted text."""


class AnswerLengths:
    """Histogram of answer lengths, and quotes of the first truncated answers.

    Attributes:
        truncated: Quotes of the first truncated answers.
    """

    def __init__(self, output: OutputReader) -> None:
        self.truncated: list[Quote] = []
        self._counts: Counter[tuple[int, bool]] = Counter()
        for _, row in output.rows():
            response = str(row.get("response", ""))
            is_truncated = row.get("finish_reason") == "length"
            self._counts[len(response).bit_length(), is_truncated] += 1
            if is_truncated and len(self.truncated) < MAX_QUOTES:
                texts = [(name, shorten(str(row[name]))) for name in ("question", "response", "answer") if name in row]
                self.truncated.append(Quote(f"{row.get('id')}: truncated at max_tokens", texts))

    def section(self) -> Section:
        """Return the section with the histogram, whose bins are powers of two."""
        sizes = [size for size, _ in self._counts]
        rows = [
            (f"{1 << size >> 1:,} – {(1 << size) - 1:,}", self._counts[size, False], self._counts[size, True])
            for size in range(min(sizes, default=0), max(sizes, default=-1) + 1)
        ]
        chart = svg_plots.bar_chart("lengths", [Bar(label, parts) for label, *parts in rows], ["--accent", "--other"])
        legend = [("--accent", "complete"), ("--other", "truncated")]
        figure = Figure("Number of answers by length in characters:", chart, legend)
        table = TableBlock(
            ["characters", "complete", "truncated"], [[label, *map(str, parts)] for label, *parts in rows]
        )
        return Section("Answer lengths", [figure], [table])


def wrong_answer_quotes(wrong: Iterable[WrongAnswer]) -> list[Quote]:
    """Quote wrong answers together with the extracted values."""
    quotes = []
    for example in wrong:
        extracted = ", ".join(f"{name} extracted {answer!r}" for name, answer in example.extracted.items())
        texts = [(name, shorten(getattr(example, name))) for name in ("question", "response", "answer")]
        quotes.append(Quote(f"{example.id}: {extracted}", [text for text in texts if text[1]]))
    return quotes


def failed_row_quotes(output: OutputReader, kinds: Container[str]) -> list[Quote]:
    """Quote the first rows that failed with one of these kinds of failure, with their errors."""
    quotes: list[Quote] = []
    decode = msgspec.json.Decoder(Fields).decode
    lines = decode_lines(output.folder / "failures.jsonl", decode, output.path)
    for failed in islice((line for _, _, line in lines if line.get("kind") in kinds), MAX_QUOTES):
        response = [("response", shorten(failed["last_text"]))] if isinstance(failed.get("last_text"), str) else []
        error = [("error", shorten(str(failed.get("error"))))]
        quotes.append(Quote(f"{failed.get('id')}: {failed.get('kind')}", [*error, *response]))
    return quotes


def verdict_quotes(output: OutputReader, field: str) -> Iterator[Quote]:
    """Quote the first verdicts of a judge with its replies."""
    for _, row in islice(output.rows(), MAX_QUOTES):
        replies = row[field].get("replies") or []
        texts = [(f"judge{', answers swapped' * bool(r.get('swapped'))}", shorten(str(r.get("text")))) for r in replies]
        answer = [("answer", shorten(str(row[name]))) for name in ("response", "text") if name in row][:1]
        yield Quote(f"{row.get('id')}: {row[field].get('verdict')}", [*answer, *texts])


def shorten(text: str) -> str:
    """Shorten a text to the maximum length of a quote."""
    return text if len(text) <= MAX_QUOTE_CHARACTERS else f"{text[:MAX_QUOTE_CHARACTERS]} [...]"
