"""Build the sections of a report of an evaluation, a comparison or a judge run, and write it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall.comparison.comparison_result import Comparison
from manycall.comparison.ranking_result import Ranking
from manycall.data.content_parts import messages_as_text
from manycall.errors import UsageError
from manycall.evals.eval_result import EvalResult, Score
from manycall.evals.lm_eval.samples import open_output
from manycall.evals.stats.intervals import Z
from manycall.evals.suite_result import SuiteResult
from manycall.judging.judge_result import JudgeResult
from manycall.reports import page as pages
from manycall.reports import svg_plots
from manycall.reports.excerpts import AnswerLengths, failed_row_quotes, shorten, verdict_quotes, wrong_answer_quotes
from manycall.reports.page import Figure, Page, Quote, Section, TableBlock
from manycall.reports.provenance import UNKNOWN, provenance_facts
from manycall.reports.suite_pages import ranking_page, suite_page
from manycall.reports.svg_plots import IntervalMark
from manycall.store.output_reader import OutputReader
from manycall.store.paths import check_writable

ReportSource = EvalResult | SuiteResult | Comparison | Ranking | JudgeResult


def write_report(result: ReportSource, path: str | Path) -> None:
    """Write a report of a result as Markdown, or as a single HTML file without scripts or external resources.

    Args:
        result: Return value of `evaluate`, `evaluate_all`, `score`, `compare`, `rank_models` or `judge`.
        path: Path ending in .html, .htm or .md. An earlier report is overwritten.

    Raises:
        UsageError: There are no reports of such a result, the suffix is not supported, the folder does not exist, or
            the path is an output of a run.
        StorageError: The file cannot be written.
    """
    build = next((build for kind, build in _PAGES.items() if isinstance(result, kind)), None)
    if build is None:
        kinds = ", ".join(kind.__name__ for kind in _PAGES)
        raise UsageError(f"There is no report of {type(result).__name__}. A report shows one of: {kinds}.")
    page = build(result)
    pages.write_page(page, check_writable(path))


def _evaluation(result: EvalResult) -> Page:
    output = open_output(result.out)
    lengths = AnswerLengths(output)
    facts = provenance_facts(output, result.scored_rows, result.truncated, result.no_answer)
    figure = Figure(
        "Each score with its 95 % interval. If rows failed, the wide bar behind it spans the scores that would result "
        "if all failed rows had the worst or the best score.",
        svg_plots.interval_plot("scores", _marks(result.scores, bool(result.failed))),
    )
    return Page(
        title=f"{result.label}: {result.out.name}",
        lead=_lead(facts),
        warnings=result.warnings(),
        sections=[
            Section("Scores", [figure], [TableBlock(*cells) for cells in result.tables()], _notes(result)),
            _provenance([facts]),
            lengths.section(),
            Section("Answers with score 0", quotes=wrong_answer_quotes(result.wrong_examples)),
            Section("Truncated answers", quotes=lengths.truncated),
            Section("Rows without a score", quotes=failed_row_quotes(output, result.failure_counts)),
        ],
    )


def _comparison(result: Comparison) -> Page:
    outputs = [(open_output(run.out), run) for run in result.runs]
    runs, differences, *changed = (TableBlock(*cells) for cells in result.tables())
    names = [f"{d.run} - 1: {d.metric}" for d in result.differences]
    marks = [
        IntervalMark(
            name,
            d.difference.value,
            d.difference.interval,
            _normal_interval(d.difference.value, d.difference.unpaired_stderr),
        )
        for name, d in zip(names, result.differences, strict=True)
    ]
    wins = [(name, d.difference.losses, d.difference.wins) for name, d in zip(names, result.differences, strict=True)]
    figures = [
        Figure(
            "Difference to run 1 with the 95 % interval of the paired differences. The wide bar behind it is the "
            "interval that two runs over different rows would have.",
            svg_plots.interval_plot("differences", marks, zero=True),
        ),
        Figure(
            "Number of questions on which the other run is",
            svg_plots.win_loss_chart("wins and losses", wins),
            [("--other", "worse"), ("--accent", "better")],
        ),
    ]
    shown_ids = {c.id for c in result.changed_examples}
    quotes = [
        Quote(
            f"{c.id}: {c.metric} {c.scores[0]:g} → {c.scores[1]:g} ({c.run} - 1)",
            [
                ("question", shorten(c.question)), ("correct answer", shorten(c.answer)),
                *((run, shorten(text)) for run, text in zip(c.runs, c.responses, strict=True)),
            ],
        )
        for c in result.changed_examples
    ]  # fmt: skip
    return Page(
        title=" vs. ".join(run.out.name for run in result.runs),
        lead=" vs. ".join(run.model for run in result.runs),
        warnings=result.warnings(),
        sections=[
            Section("Differences", figures, [differences, runs], _notes(result)),
            _provenance([provenance_facts(output, run.rows, run.truncated, run.no_answer) for output, run in outputs]),
            Section(f"Changed questions: {len(shown_ids)} of {result.changed_count:,}", tables=changed, quotes=quotes),
        ],
    )


def _judgement(result: JudgeResult) -> Page:
    output = OutputReader(result.out)
    facts = provenance_facts(output, result.scored_rows, result.truncated) | {"judged": result.answers}
    if result.pairwise:
        facts["against"] = result.against
    shares = [IntervalMark(share.verdict, share.share, share.interval) for share in result.verdicts]
    figures = [Figure("Share of each verdict with its 95 % interval.", svg_plots.interval_plot("verdicts", shares))]
    if result.score is not None:
        marks = _marks([result.score], bool(result.failed))
        figures.append(Figure("Mean score of the verdicts.", svg_plots.interval_plot("score", marks)))
    rubric = [(name, messages_as_text(output.settings.get(name) or "")) for name in ("system", "rubric")]
    return Page(
        title=f"Judge: {result.out.name}",
        lead=f"by {_lead(facts)}",
        warnings=result.warnings(),
        sections=[
            Section("Verdicts", figures, [TableBlock(*cells) for cells in result.tables()], _notes(result)),
            _provenance([facts]),
            Section("Rubric", quotes=[Quote("Prompt of the judge", [(name, text) for name, text in rubric if text])]),
            Section("First verdicts", quotes=list(verdict_quotes(output, result.output_field))),
            Section("Rows without a verdict", quotes=failed_row_quotes(output, result.failure_counts)),
        ],
    )


_PAGES: dict[type, Callable[[Any], Page]] = {
    EvalResult: _evaluation,
    SuiteResult: suite_page,
    Ranking: ranking_page,
    Comparison: _comparison,
    JudgeResult: _judgement,
}


def _notes(result: ReportSource) -> list[str]:
    """Return the messages of a result without its warnings."""
    return result.messages()[len(result.warnings()) :]


def _lead(facts: Mapping[str, str]) -> str:
    endpoint = f" at {facts['endpoint']}" if facts["endpoint"] != UNKNOWN else ""
    model = facts["model"] if facts["model"] != UNKNOWN else "model not recorded"
    return f"{model}{endpoint}, {facts['rows']}"


def _provenance(facts_per_run: Sequence[Mapping[str, str]]) -> Section:
    """Return the section with the provenance facts, one column per run."""
    names = dict.fromkeys(name for facts in facts_per_run for name in facts)
    rows = [[name, *(facts.get(name, "") for facts in facts_per_run)] for name in names]
    return Section("Provenance", tables=[TableBlock(["", *_run_headings(facts_per_run)], rows)])


def _run_headings(runs: Sequence[Any]) -> Iterable[str]:
    return (f"run {number}" for number in range(1, len(runs) + 1)) if len(runs) > 1 else [""]


def _marks(scores: Sequence[Score], failed: bool) -> list[IntervalMark]:
    """Return a mark for each score, apart from those over no rows."""
    return [
        IntervalMark(score.filter, score.value, score.interval, score.worst_case if failed else None)
        for score in scores
        if score.value is not None
    ]


def _normal_interval(value: float, stderr: float | None) -> tuple[float, float] | None:
    return None if stderr is None else (value - Z * stderr, value + Z * stderr)
