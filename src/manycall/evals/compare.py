"""Runs beside each other, row by row: which is better, by how much, and on which rows."""

import math
from array import array
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from manycall.errors import UsageError
from manycall.evals.comparison import Change, Comparison, Side, Versus
from manycall.evals.judgement import worths
from manycall.evals.lmeval import opened
from manycall.evals.metrics import Mean
from manycall.evals.own import scoring
from manycall.evals.protocol import ASKED, differing, must_be_same
from manycall.evals.regrade import Grader, grader, standing
from manycall.evals.report import Score
from manycall.evals.score import written_by
from manycall.evals.stats.intervals import RIGHT_OR_WRONG
from manycall.evals.stats.paired import change, difference, holm
from manycall.evals.tasks import Task
from manycall.store.lines import write_whole, writing
from manycall.store.output import Output, may_write

MOST_SHOWN = 10
"""Changes that are kept in the comparison itself; all of them go to the file."""


def compare(
    *runs: str | Path,
    as_: str | Task | None = None,
    by: str | None = None,
    across: str | Collection[str] = (),
    anyway: bool = False,
    out: str | Path | None = None,
) -> Comparison:
    """Compare the scores of the second run, and of any others, with those of the first, on the rows that both have.

    Answers are scored again, by the task as it is now; verdicts of a judge stand as they are.

    Args:
        runs: what `evaluate` or `judge` wrote, or lm-eval's samples_*.jsonl; also any JSONL with `id` and `score`,
            with `anyway`.
        as_: what scores all of them: as for `score`; default: the task that wrote each.
        by: the score to compare: a filter, or any field with a number as it stands, `judge.score`; default: each that
            all have.
        across: what may differ, because it is what one wants to compare: "prompt", "shots"; of judgements, "model".
            The model and the parameters always may; of judgements, what was judged.
        anyway: compare whatever differs, other questions too, and files that do not say how they were made.
        out: where the changes go, one a line.

    Raises:
        UsageError: fewer than two runs, no row or no score in common, different protocols, or scores of functions
            that are not at hand.
        StoreError: `out` cannot be written.
    """
    if len(runs) < 2:
        raise UsageError("there must be two runs or more to compare")
    outputs = [opened(run) for run in runs]
    target = may_write(out, [path for output in outputs for path in output.reads]) if out is not None else None
    if not anyway:
        for output in outputs[1:]:
            must_be_same(outputs[0], output, [across] if isinstance(across, str) else across)
    read = [_Read(output, *_scored(output, as_, by, anyway)) for output in outputs]
    names = [name for name in read[0].scores if all(name in other.scores for other in read)]
    if by is not None and (without := [str(each.output.path) for each in read if not each.scores]):
        raise UsageError(f"--by {by!r} names no number in the rows of {' and '.join(without)}")
    if not names:
        had = "; ".join(f"{each.output.path}: {', '.join(each.scores) or 'none'}" for each in read)
        raise UsageError(f"the runs have no score in common ({had}): name one with --by")
    pairs = [_Pair(number, read[0], other, name) for number, other in enumerate(read[1:], 2) for name in names]
    for other in read[1:]:
        _must_be_asked_the_same(read[0], other, anyway)
    versus = [pair.versus() for pair in pairs]
    adjusted = holm([v.difference.p for v in versus])
    changed = [[(pair, question) for question in pair.changed()] for pair in pairs]
    if target is not None:
        with writing(target):
            write_whole(target, (msgspec.json.encode(pair.change(q)) + b"\n" for each in changed for pair, q in each))
    by_turns = [each for turn in zip_longest(*changed) for each in turn if each is not None]
    return Comparison(
        sides=[each.side(names) for each in read],
        versus=[replace(v, p_holm=p) for v, p in zip(versus, adjusted, strict=True)],
        differs=differing(outputs),
        changes=[pair.change(question) for pair, question in by_turns[:MOST_SHOWN]],
        changed=len({question for _, question in by_turns}),
        changes_out=target,
    )


def _scored(output: Output, as_: str | Task | None, by: str | None, anyway: bool) -> tuple[Grader, set[float]]:
    """(what gives the scores of a row, what a score may be: the worst, the best, any between; empty if unknown).

    Raises:
        UsageError: they were made by functions that are not at hand.
    """
    kind, _, _ = str(output.identity.get("job", "")).partition(" ")
    task, only = scoring(as_) if isinstance(as_, str) else (as_, "")
    if task is None and kind == "eval":
        try:
            task = written_by(output)
        except UsageError:
            if by is None and not anyway:
                raise UsageError(
                    f"{output.path} was scored by functions that it does not hold: --as FILE.py:task scores the "
                    "answers with them; --by NAME takes the score of this name that stands in each row"
                ) from None
    if task is None or (as_ is None and by is not None and by not in task.filters):
        field = str(output.identity.get("field", "judge"))
        known = {worth for worth in worths(output).values() if worth is not None}
        fields = [field] if kind == "judge" else ["score", field]
        return standing(fields, by), known if by in (None, field, f"{field}.score") else set()
    grade, one = grader(output.path, task), by or only
    return lambda offset, row: {k: v for k, v in grade(offset, row).items() if one in ("", k)}, set(RIGHT_OR_WRONG)


class _Read:
    """The scores of one run, and where its rows stand: some hundred bytes a question, and none of its texts."""

    def __init__(self, output: Output, grade: Grader, worths: set[float]) -> None:
        self.output, self.grade, self.worths = output, grade, worths
        self.scores: dict[str, dict[str, array[float]]] = {}  # name -> question -> that of each of its samples
        self.places: dict[str, int] = {}
        self.asked: dict[str, tuple[int | None, ...]] = {}
        self.rows = self.truncated = 0
        for offset, row in output.rows():
            if "id" not in row:
                raise UsageError(f"{output.path}, the row at byte {offset:,} has no id, by which rows are paired")
            question, _ = output.split(str(row["id"]))
            self.rows += 1
            self.truncated += row.get("finish_reason") == "length"
            self.places.setdefault(question, offset)
            self.asked[question] = tuple(hash(repr(row[name])) if name in row else None for name in ASKED)
            for name, (_, value) in grade(offset, row).items():
                self.scores.setdefault(name, {}).setdefault(question, array("d")).append(value)

    def side(self, names: Iterable[str]) -> Side:
        """What is said of this run alone."""
        output = self.output
        task = str(output.identity.get("job", "?"))
        scale = (min(self.worths), max(self.worths)) if self.worths else None
        scores = []
        for name in names:
            mean = Mean()
            for question in self.scores[name].values():
                mean.add(_mean(question))
            scores.append(Score(task, name, mean.value, mean.stderr, mean.count, mean.interval(scale)))
        model = str(output.identity.get("model", "?"))
        return Side(output.path, model, scores, self.rows, self.truncated, output.failed, output.missing(self.rows))


def _mean(samples: Sequence[float]) -> float:
    return math.fsum(samples) / len(samples)  # the same in whatever order they finished


class _Pair(NamedTuple):
    """The first run and another, under one score."""

    number: int
    first: _Read
    other: _Read
    name: str

    def shared(self) -> dict[str, tuple[float, float]]:
        """Question -> its score in both, where both have one."""
        first, other = (side.scores[self.name] for side in (self.first, self.other))
        return {question: (_mean(first[question]), _mean(other[question])) for question in first if question in other}

    def versus(self) -> Versus:
        """How much better the other is."""
        pairs = self.shared()
        shares = self.first.worths | self.other.worths <= {0.0, 1.0}
        alone = [len(side.scores[self.name]) - len(pairs) for side in (self.first, self.other)]
        return Versus(self.number, self.name, difference(pairs.values(), shares=shares), *alone)

    def changed(self) -> list[str]:
        """The questions on which they differ."""
        return [question for question, pair in self.shared().items() if change(*pair)]

    def change(self, question: str) -> Change:
        """How they differ on one."""
        sides = (self.first, self.other)
        offsets = [side.places[question] for side in sides]
        rows = [next(side.output.at([offset])) for side, offset in zip(sides, offsets, strict=True)]
        read = [side.grade(offset, row) for side, offset, row in zip(sides, offsets, rows, strict=True)]
        return Change(
            id=question,
            run=self.number,
            by=self.name,
            scores=[_mean(side.scores[self.name][question]) for side in sides],
            question=str(rows[0].get("question", "")),
            answer=str(rows[0].get("answer", "")),
            extracted=[str(grades[self.name][0]) if self.name in grades else "" for grades in read],
            responses=[str(row.get("response", row.get("text", ""))) for row in rows],
            runs=[str(side.output.path) for side in sides],
        )


def _must_be_asked_the_same(first: _Read, other: _Read, anyway: bool) -> None:
    """Refuse two runs without a question in common, or in which one id names two."""
    both = [question for question in first.places if question in other.places]
    if not both:
        examples = [repr(next(iter(read.places), "no row")) for read in (first, other)]
        raise UsageError(f"{first.output.path} and {other.output.path} have no id in common ({', '.join(examples)})")
    for question in both:
        told = zip(first.asked[question], other.asked[question], strict=True)
        if not anyway and any(a != b for a, b in told if a is not None and b is not None):
            raise UsageError(
                f"the row {question!r:.100} has another question or answer in {other.output.path} than in "
                f"{first.output.path}; --anyway compares them all the same"
            )
