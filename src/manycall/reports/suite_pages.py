"""The pages of reports about several tasks and models."""

from manycall.comparison.ranking_result import Ranking
from manycall.evals.lm_eval.samples import open_output
from manycall.evals.suite_result import SuiteResult
from manycall.reports import svg_plots
from manycall.reports.excerpts import wrong_answer_quotes
from manycall.reports.page import Figure, Page, Section, TableBlock
from manycall.reports.provenance import provenance_facts
from manycall.reports.svg_plots import IntervalMark


def suite_page(result: SuiteResult) -> Page:
    """Return the page of several tasks with several models."""
    scores, *runs = (TableBlock(*cells) for cells in result.tables())
    marks = [
        IntervalMark(f"{run.model}, {run.task}: {score.filter}", score.value, score.interval)
        for run in sorted(result.runs, key=lambda run: run.task)
        if run.result is not None
        for score in run.result.scores
        if score.value is not None
    ]
    figure = Figure(
        "Each score with its 95 % interval. Differences between models are tested by manycall compare FOLDER, question "
        "by question.",
        svg_plots.interval_plot("scores", marks),
    )
    models = dict.fromkeys(run.model for run in result.runs)
    tasks = dict.fromkeys(run.task for run in result.runs)
    return Page(
        title=f"{len(tasks)} tasks, {len(models)} models: {result.folder.name}",
        lead=f"{', '.join(tasks)} with {', '.join(models)}",
        warnings=result.warnings(),
        sections=[
            Section("Scores", [figure] if marks else [], [scores], result.messages()[len(result.warnings()) :]),
            Section("Runs", tables=runs),
            Section("Provenance", tables=[_provenance_table(result)]),
            *(
                Section(f"{run.task}, {run.model}: answers with score 0", quotes=quotes)
                for run in result.runs
                if run.result is not None and (quotes := wrong_answer_quotes(run.result.wrong_examples))
            ),
        ],
    )


def _provenance_table(result: SuiteResult) -> TableBlock:
    """Return a table with one row for each run."""
    facts = [
        provenance_facts(open_output(run.out), run.result.scored_rows, run.result.truncated, run.result.no_answer)
        for run in result.runs
        if run.result is not None
    ]
    names = [*dict.fromkeys(name for each in facts for name in each)]
    return TableBlock(names, [[each.get(name, "") for name in names] for each in facts])


def ranking_page(result: Ranking) -> Page:
    """Return the page of a ranking of models."""
    compared = [(f"{each.task}: {each.model}", each.difference.difference) for each in result.models if each.difference]
    marks = [IntervalMark(name, paired.value, paired.interval) for name, paired in compared]
    figure = Figure(
        "Difference to the best model of the task with the 95 % interval of the paired differences.",
        svg_plots.interval_plot("differences", marks, zero=True),
    )
    notes = result.messages()[len(result.warnings()) :]
    return Page(
        title=f"Ranking: {result.folder.name}",
        lead=", ".join(dict.fromkeys(each.model for each in result.models)),
        warnings=result.warnings(),
        sections=[Section("Models", [figure], [TableBlock(*cells) for cells in result.tables()], notes)],
    )
