"""How good a dataset is, as far as it can be counted: duplicates, variety, pieces of benchmarks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from manycall.engine.report import Printable, table
from manycall.store.lines import write_whole, writing
from manycall.store.output import Output, may_write
from manycall.synth.answers import Answers
from manycall.synth.contamination import WORDS, Benchmarks
from manycall.synth.duplicates import Duplicates
from manycall.synth.near import Near
from manycall.synth.texts import grams, words

SAMPLE = 10_000
"""Rows whose distinct n-grams are counted. The share falls with the number of rows, so it must be the same for all."""
DUPLICATE = "duplicate: but for case, white space and punctuation, an earlier row has the same text"

TRUNCATED = "truncated: the text was cut at max_tokens"


class Distinct:
    """The share of n-grams that are different, of all there are (Li et al. 2016, "A Diversity-Promoting Objective
    Function for Neural Conversation Models")."""

    def __init__(self, n: int) -> None:
        self._n, self._all, self._met = n, 0, set[str]()

    def __repr__(self) -> str:
        return f"<distinct-{self._n} {self.share}>"

    def add(self, sequence: list[str]) -> None:
        """The words of one more text."""
        pieces = list(grams(sequence, self._n))
        self._all += len(pieces)
        self._met.update(pieces)

    @property
    def share(self) -> float | None:
        """From 0 to 1; None if there was nothing."""
        return round(len(self._met) / self._all, 4) if self._all else None


class Found(msgspec.Struct):
    """What was found of one benchmark: of so many items, so many; `short` ones could not be looked for."""

    file: str
    items: int
    found: int
    short: int


class Quality(Printable, msgspec.Struct, kw_only=True):
    """What was counted. `print` it for a table.

    Attributes:
        duplicates: rows whose text came before, but for case, white space and punctuation.
        near: other rows whose text is much like an earlier one; None if that was not asked.
        truncated: rows whose answer was cut at max_tokens; None if none tells.
        distinct_1, distinct_2: shares of words and of pairs of words that are different, in `sampled` rows.
        contaminated: rows that hold a piece of a benchmark; None if none was given.
        rejects: the file with every row that any of this speaks against, and the reason; None if none was asked for.
    """

    out: Path
    field: str
    rows: int = 0
    duplicates: int = 0
    near: int | None = None
    truncated: int | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    sampled: int = 0
    contaminated: int | None = None
    benchmarks: list[Found] = []
    rejected: int = 0
    rejects: Path | None = None

    def lines(self) -> list[tuple[str, str]]:
        """What there is to say, as (what, how much)."""
        lines = [
            ("rows", f"{self.rows:,}"),
            ("duplicates", share(self.duplicates, self.rows)),
            ("truncated", share(self.truncated, self.rows)),
            ("distinct-1, -2", f"{self.distinct_1}, {self.distinct_2} in {self.sampled:,} rows"),
        ]
        if self.near is not None:
            lines.insert(2, ("near duplicates", share(self.near, self.rows)))
        if self.contaminated is not None:
            lines.append(("contaminated", share(self.contaminated, self.rows)))
        lines += [
            (each.file, f"{each.found:,} of {each.items:,} items found; {each.short:,} are too short to be looked for")
            for each in self.benchmarks
        ]
        if self.rejects is not None:
            lines.append(("rejects", f"{self.rejected:,} rows in {self.rejects}"))
        return lines

    def __str__(self) -> str:
        return table((f"{self.out}: {self.field}", ""), self.lines())


def share(count: int | None, of: int) -> str:
    """`12 (1.2%)`."""
    if count is None:
        return "not known"
    return f"{count:,} ({count / of:.1%})" if of else f"{count:,}"


def added(count: int | None, one: bool | None) -> int | None:
    """A count that stays None until something is known."""
    return count if one is None else (count or 0) + one


def quality(
    out: str | Path,
    *,
    field: str | None = None,
    near: float | None = None,
    against: Sequence[str | Path] = (),
    words: int = WORDS,
    rejects: str | Path | None = None,
) -> Quality:
    """Count what is wrong with an output; nothing in it is changed, and nothing is called.

    Args:
        out: what `generate` or `run` wrote, or any JSON lines with an `id`.
        field: what is looked at (default: see `Answers`).
        near: count near duplicates too: those that have such a share of their five-word pieces in common.
        against: benchmark files; a row that has `words` words in a row with one of their items is contaminated.
        words: how many that are.
        rejects: write the rows that any of this speaks against there, with the reasons; `export` and `card` leave them
            out if they are told (`without`).

    Raises:
        UsageError: a file that cannot be read, a row without the field, or an extra that is not installed.
    """
    output = Output(out)
    answers = Answers(output, field)
    looked = Quality(out=output.path, field=answers.name)
    benchmarks = Benchmarks([Path(each) for each in against], words)
    like = Near(near) if near is not None else None
    found = _rejects(output, answers, looked, like, benchmarks if against else None)
    if rejects is None:
        for _ in found:
            pass
    else:
        looked.rejects = may_write(rejects, [*output.reads, *map(Path, against)])
        with writing(looked.rejects):
            write_whole(looked.rejects, found)
    looked.benchmarks = [
        Found(file, items, len(benchmarks.found[file]), benchmarks.short[file])
        for file, items in benchmarks.items.items()
    ]
    return looked


def _rejects(
    output: Output, answers: Answers, q: Quality, near: Near | None, benchmarks: Benchmarks | None
) -> Iterator[bytes]:
    """The lines of the rows that something speaks against; what was counted goes to `q`."""
    duplicates, distinct = Duplicates(), (Distinct(1), Distinct(2))
    every = sum(1 for _ in output.places()) // SAMPLE + 1
    q.near = None if near is None else 0
    q.contaminated = None if benchmarks is None else 0
    for _, row in output.rows():
        text = answers.text(row)
        if q.rows % every == 0:
            q.sampled += 1
            for each in distinct:
                each.add(words(text))
        q.rows += 1
        reasons = []
        if duplicates.add(text):
            reasons.append(DUPLICATE)
        elif near is not None and (like := near.like(str(row["id"]), text)):
            q.near = (q.near or 0) + 1
            reasons.append(f"near duplicate: of {like}")
        cut = answers.is_cut(row)
        q.truncated = added(q.truncated, cut)
        if cut:
            reasons.append(TRUNCATED)
        if benchmarks is not None and (piece := benchmarks.look(row)):
            q.contaminated = (q.contaminated or 0) + 1
            reasons.append(f"contaminated: {piece}")
        if reasons:
            q.rejected += 1
            yield msgspec.json.encode({"id": row["id"], "reason": "; ".join(reasons), "row": row}) + b"\n"
    q.duplicates = duplicates.count
    q.distinct_1, q.distinct_2 = (each.share for each in distinct)
