"""What stands in the report of an evaluation, of a comparison, of a judgement."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.data.templates import as_one_text
from manycall.evals.comparison import Comparison
from manycall.evals.judgement import Judgement
from manycall.evals.lmeval import opened
from manycall.evals.report import Evaluation, Score
from manycall.evals.reports import page as pages
from manycall.evals.reports import plots
from manycall.evals.reports.excerpts import Seen, failures, mistakes, short, verdicts
from manycall.evals.reports.page import Figure, Grid, Page, Quote, Section
from manycall.evals.reports.plots import Mark
from manycall.evals.reports.provenance import UNKNOWN, facts
from manycall.evals.stats.intervals import Z
from manycall.store.output import Output, may_write

Result = Evaluation | Comparison | Judgement


def write_report(result: Result, path: str | Path) -> None:
    """Write a page about what came out, for people: HTML (one file, no script, nothing from elsewhere) or Markdown.

    Args:
        result: what `evaluate`, `score`, `compare` or `judge` returned.
        path: .html or .md; an earlier report is overwritten.

    Raises:
        UsageError: another ending, no such folder, or the path is an output of a run.
        StoreError: the disk would not take it.
    """
    page = next(make(result) for kind, make in _PAGES.items() if isinstance(result, kind))
    pages.write_page(page, may_write(path))


def _evaluation(result: Evaluation) -> Page:
    output = opened(result.out)
    seen = Seen(output)
    head = facts(output, result.rows, result.truncated)
    figure = Figure(
        "Each score with its 95 % interval; behind it, if rows failed, what it would be if all of them had the worst "
        "score, or the best.",
        plots.dots("scores", [_mark(score, bool(result.failed)) for score in result.scores]),
    )
    return Page(
        title=f"{result.task}: {result.out.name}",
        lead=_lead(head),
        warnings=result.warnings(),
        sections=[
            Section("Scores", [figure], [Grid(*cells) for cells in result.tables()], _notes(result)),
            _provenance([head]),
            seen.lengths(),
            Section("Answers that were scored 0", quotes=mistakes(result.wrong)),
            Section("Answers that were cut", quotes=seen.cut),
            Section("Rows without a score", quotes=failures(output)),
        ],
    )


def _comparison(result: Comparison) -> Page:
    outputs = [(opened(side.out), side) for side in result.sides]
    runs, differences, *changed = (Grid(*cells) for cells in result.tables())
    names = [f"{v.run} - 1: {v.by}" for v in result.versus]
    marks = [
        Mark(name, v.difference.value, v.difference.interval, _around(v.difference.value, v.difference.unpaired))
        for name, v in zip(names, result.versus, strict=True)
    ]
    won = [(name, v.difference.losses, v.difference.wins) for name, v in zip(names, result.versus, strict=True)]
    figures = [
        Figure(
            "How much better than run 1, with the 95 % interval of the differences row by row; behind it, what one "
            "would know of two runs over different rows.",
            plots.dots("differences", marks, zero=True),
        ),
        Figure(
            "Rows on which the other run is",
            plots.sides("wins and losses", won),
            [("--other", "worse"), ("--accent", "better")],
        ),
    ]
    shown = {c.id for c in result.changes}
    quotes = [
        Quote(
            f"{c.id}: {c.by} {c.scores[0]:g} → {c.scores[1]:g} ({c.run} - 1)",
            [
                ("question", short(c.question)), ("right", short(c.answer)),
                *((run, short(text)) for run, text in zip(c.runs, c.responses, strict=True)),
            ],
        )
        for c in result.changes
    ]  # fmt: skip
    return Page(
        title=" against ".join(side.out.name for side in result.sides),
        lead=" against ".join(side.model for side in result.sides),
        warnings=result.warnings(),
        sections=[
            Section("Differences", figures, [differences, runs], _notes(result)),
            _provenance([facts(output, side.rows, side.truncated) for output, side in outputs]),
            Section(f"Questions that changed: {len(shown)} of {result.changed:,}", tables=changed, quotes=quotes),
        ],
    )


def _judgement(result: Judgement) -> Page:
    output = Output(result.out)
    head = facts(output, result.rows, result.truncated) | {"judged": result.answers}
    if result.duel:
        head["against"] = result.against
    shares = [Mark(share.verdict, share.share, share.interval) for share in result.shares]
    figures = [Figure("The share of each verdict, with its 95 % interval.", plots.dots("verdicts", shares))]
    if result.score is not None:
        mark = _mark(result.score, bool(result.failed))
        figures.append(Figure("What they are worth, on average.", plots.dots("score", [mark])))
    rubric = [(name, as_one_text(output.identity.get(name) or "")) for name in ("system", "rubric")]
    return Page(
        title=f"Judgement: {result.out.name}",
        lead=f"by {_lead(head)}",
        warnings=result.warnings(),
        sections=[
            Section("Verdicts", figures, [Grid(*cells) for cells in result.tables()], _notes(result)),
            _provenance([head]),
            Section("The rubric", quotes=[Quote("What the judge was asked", [each for each in rubric if each[1]])]),
            Section("The first verdicts", quotes=list(verdicts(output, result.field))),
            Section("Rows without a verdict", quotes=failures(output)),
        ],
    )


_PAGES: dict[type, Callable[[Any], Page]] = {
    Evaluation: _evaluation,
    Comparison: _comparison,
    Judgement: _judgement,
}


def _notes(result: Result) -> list[str]:
    """What it says besides its warnings."""
    return result.remarks()[len(result.warnings()) :]


def _lead(head: Mapping[str, str]) -> str:
    where = f" at {head['endpoint']}" if head["endpoint"] != UNKNOWN else ""
    model = head["model"] if head["model"] != UNKNOWN else "a model that is not recorded"
    return f"{model}{where}, {head['rows']}"


def _provenance(heads: Sequence[Mapping[str, str]]) -> Section:
    """The facts, one column a run."""
    names = dict.fromkeys(name for head in heads for name in head)
    rows = [[name, *(head.get(name, "") for head in heads)] for name in names]
    return Section("Where the numbers come from", tables=[Grid(["", *_numbered(heads)], rows)])


def _numbered(heads: Sequence[Any]) -> Iterable[str]:
    return (f"run {number}" for number in range(1, len(heads) + 1)) if len(heads) > 1 else [""]


def _mark(score: Score, failed: bool) -> Mark:
    return Mark(score.filter, score.value, score.interval, score.bounds if failed else None)


def _around(value: float, stderr: float | None) -> tuple[float, float] | None:
    return None if stderr is None else (value - Z * stderr, value + Z * stderr)
