"""What is quoted in a report, and counted for it, by a look at every row."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec

from manycall.evals.report import Wrong
from manycall.evals.reports import plots
from manycall.evals.reports.page import Figure, Grid, Quote, Section
from manycall.evals.reports.plots import Bar
from manycall.records import Fields
from manycall.store.output import Output
from manycall.store.reading import parsed

MOST_QUOTES = 5
"""Of each kind."""
MOST_CHARACTERS = 4000
"""Of a quoted text."""


class Seen:
    """What a look at every row gives: how long the answers are, and the first of those that were cut."""

    def __init__(self, output: Output) -> None:
        self.cut: list[Quote] = []
        self._counts: Counter[tuple[int, bool]] = Counter()
        for _, row in output.rows():
            response = str(row.get("response", ""))
            cut = row.get("finish_reason") == "length"
            self._counts[len(response).bit_length(), cut] += 1
            if cut and len(self.cut) < MOST_QUOTES:
                texts = [(name, short(str(row[name]))) for name in ("question", "response", "answer") if name in row]
                self.cut.append(Quote(f"{row.get('id')}: cut at max_tokens", texts))

    def lengths(self) -> Section:
        """A histogram by powers of two."""
        sizes = [size for size, _ in self._counts]
        rows = [
            (f"{1 << size >> 1:,} – {(1 << size) - 1:,}", self._counts[size, False], self._counts[size, True])
            for size in range(min(sizes, default=0), max(sizes, default=-1) + 1)
        ]
        drawn = plots.bars("lengths", [Bar(label, parts) for label, *parts in rows], ["--accent", "--other"])
        figure = Figure("Answers by their length in characters:", drawn, [("--accent", "whole"), ("--other", "cut")])
        grid = Grid(["characters", "whole", "cut"], [[label, *map(str, parts)] for label, *parts in rows])
        return Section("How long the answers are", [figure], [grid])


def mistakes(wrong: Iterable[Wrong]) -> list[Quote]:
    """Wrong answers, and what was read in them."""
    quotes = []
    for each in wrong:
        read = ", ".join(f"{name} read {answer!r}" for name, answer in each.read.items())
        texts = [(name, short(getattr(each, name))) for name in ("question", "response", "answer")]
        quotes.append(Quote(f"{each.id}: {read}", [text for text in texts if text[1]]))
    return quotes


def failures(output: Output) -> list[Quote]:
    """The first rows that were given up, and why."""
    quotes: list[Quote] = []
    decode = msgspec.json.Decoder(Fields).decode
    for _, _, failed in islice(parsed(output.folder / "failures.jsonl", decode, output.path), MOST_QUOTES):
        said = [("what the server said", short(failed["raw"]))] if isinstance(failed.get("raw"), str) else []
        error = [("error", short(str(failed.get("error"))))]
        quotes.append(Quote(f"{failed.get('id')}: {failed.get('verdict')}", [*error, *said]))
    return quotes


def verdicts(output: Output, field: str) -> Iterator[Quote]:
    """The first verdicts of a judge, and what it said."""
    for _, row in islice(output.rows(), MOST_QUOTES):
        replies = row[field].get("replies") or []
        said = [(f"judge{', places changed' * bool(r.get('swapped'))}", short(str(r.get("text")))) for r in replies]
        answer = [("answer", short(str(row[name]))) for name in ("response", "text") if name in row][:1]
        yield Quote(f"{row.get('id')}: {row[field].get('verdict')}", [*answer, *said])


def short(text: str) -> str:
    """A text that is not too long to be quoted."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} [...]"
