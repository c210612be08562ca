"""Results of an evaluation: scores with their uncertainty, warnings and example answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.evals.stats.intervals import Interval
from manycall.evals.stats.repeated_samples import SampleMetric
from manycall.evals.tasks.registry import BENCHMARKS
from manycall.option_flags import option, rerun
from manycall.render import as_text, format_score, format_share, format_stderr, markdown_table
from manycall.run.result_views import OutputViews
from manycall.run.run_result import RunResult

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""(column names, rows of cells)."""
MAX_WRONG_EXAMPLES = 5
"""Number of wrong answers kept as examples."""
CRASHED = "function_error"
"""Failure kind of a row whose answer the task's own functions could not extract or score (`records.Unfinished`)."""
BOUNDS_COLUMN = "bounds with failed rows"
SAMPLE_COLUMNS = ("filter", "metric over samples", "value", "stderr", "questions")
GROUP_COLUMNS = ("group", "filter", "score", "stderr", "95 % interval", "rows scored")
AGGREGATE_COLUMNS = ("mean of groups", "filter", "score", "stderr", "rows scored")
MADE_UP_ROWS = (
    "The questions are not those of the benchmark, but a few made-up ones in the same form. The scores say nothing "
    "about a model."
)


class MeanEstimate(msgspec.Struct, frozen=True):
    """Mean over `count` rows. `stderr` is its standard error, None for fewer than two rows."""

    value: float
    stderr: float | None
    count: int


class Score(msgspec.Struct, frozen=True):
    """Score of one filter.

    Attributes:
        filter: name of the extraction method that was applied to the responses.
        value: mean score of `count` rows, from 0 to 1; None if no row was scored.
        stderr: standard error of the mean; None for fewer than two rows.
        count: number of rows that were scored.
        interval: 95 % confidence interval (Wilson, see `intervals.bounded_interval`); None if it cannot be computed.
        clustered_stderr: standard error that treats the samples of a question as one cluster; None if each question
            has one sample. If present, the interval is based on it.
        worst_case: the mean if all failed rows were wrong, and if all were right.
        sample_metrics: mean@k, pass@k, pass^k and maj@k, if questions have several samples.
        failed_as_wrong: the mean with every failed row counted as wrong, which is what lm-evaluation-harness reports
            for such a run; None if no row failed, if questions have several samples, or if a function of the task
            failed.
        unparsed: number of answers in which this filter found nothing. They are scored as wrong.
    """

    task: str
    filter: str
    value: float | None
    stderr: float | None
    count: int
    interval: Interval | None = None
    clustered_stderr: float | None = None
    worst_case: Interval | None = None
    sample_metrics: list[SampleMetric] = []
    failed_as_wrong: MeanEstimate | None = None
    unparsed: int = 0


def score_table(
    scores: Sequence[Score],
    score_column: str,
    rows: int,
    truncated: int,
    failure_counts: Mapping[str, int],
    no_answer: int = 0,
) -> Table:
    """Return a table of scores with their uncertainty and the counts of scored, truncated and failed rows."""
    clustered = any(score.clustered_stderr is not None for score in scores)
    has_unparsed = any(score.unparsed for score in scores)
    failed = sum(failure_counts.values())
    head = [
        "task", "filter", score_column, "stderr", *(["clustered"] if clustered else []), "95 % interval",
        *([BOUNDS_COLUMN] if failed else []), *(["unparsed"] if has_unparsed else []),
        "rows scored", *(["no answer"] if no_answer else []), "truncated", "failed", *failure_counts,
    ]  # fmt: skip
    counts = [*map(str, (rows, *([no_answer] if no_answer else []), truncated, failed, *failure_counts.values()))]
    cells = [
        [
            s.task, s.filter, format_score(s.value), format_stderr(s.stderr),
            *([format_stderr(s.clustered_stderr)] if clustered else []), str(s.interval or "N/A"),
            *([str(s.worst_case or "N/A")] if failed else []), *([str(s.unparsed)] if has_unparsed else []), *counts,
        ]
        for s in scores
    ]  # fmt: skip
    return head, cells


class WrongAnswer(msgspec.Struct, frozen=True):
    """An answer that a filter scored 0.

    Attributes:
        extracted: the extracted answer of each filter, by filter name.
    """

    id: str
    extracted: dict[str, str]
    question: str
    response: str
    answer: str

    @classmethod
    def of(cls, row: Mapping[str, Any], extracted: dict[str, str], target: str) -> "WrongAnswer":
        """Return the wrong answer of a row. `target` is the name of the field with the right answer."""
        question, response, answer = (str(row.get(name, "")) for name in ("question", "response", target))
        return cls(str(row.get("id", "")), extracted, question, response, answer)


class OutputResult(OutputViews, msgspec.Struct, kw_only=True, frozen=True):
    """Result computed from an output. `print` shows it as tables.

    Attributes:
        out: path of the output.
        scored_rows: number of rows with a score.
        truncated: number of scored rows whose response was truncated at max_tokens.
        failed: number of failed rows that are not included in any score.
        failure_counts: number of failed rows by failure kind.
        incomplete: a sentence if the run was interrupted and rows are missing; else "".
        run: result of the run that made the calls; None if no calls were made.
    """

    out: Path
    scored_rows: int
    truncated: int
    failed: int
    failure_counts: dict[str, int] = {}
    incomplete: str = ""
    run: RunResult | None = None

    def __str__(self) -> str:
        parts = [markdown_table(*cells) for cells in self.tables()]
        if self.run is not None:
            parts.append(str(self.run))
        return "\n\n".join([*parts, *self.messages()])

    def tables(self) -> list[Table]:
        """Return the tables to print."""
        raise NotImplementedError

    def messages(self) -> list[str]:
        """Return the sentences to print below the tables."""
        raise NotImplementedError


class EvalResult(OutputResult, kw_only=True, frozen=True):
    """Scores of an output. Truncated answers are scored as they are.

    Attributes:
        task: name of the task.
        scores: one score per filter.
        no_answer: number of scored rows without an answer, which are scored 0 (see `score`).
        no_answer_counts: the same by failure kind.
        wrong_examples: the first answers that were scored 0 and not truncated.
        notes: remarks about unusual answers, see `AnswerChecks`.
        groups: scores by value of the field that the rows were grouped by.
        aggregates: means of several groups by name, computed as the authority of the task does (`Task.groups`).
        made_up_rows: the questions are made-up ones and not those of the benchmark.
        num_fewshot: number of few-shot examples, if it is not that of the task's protocol; otherwise None.
        protocol_num_fewshot: number of few-shot examples in the protocol, if `num_fewshot` is another one and it is
            known; otherwise None.
        protocol_changes: parameters of the protocol that were not sent as it specifies, each with the reason.
    """

    task: str
    scores: list[Score]
    no_answer: int = 0
    no_answer_counts: dict[str, int] = {}
    wrong_examples: list[WrongAnswer] = []
    notes: list[str] = []
    groups: dict[str, list[Score]] = {}
    aggregates: dict[str, list[Score]] = {}
    made_up_rows: bool = False
    num_fewshot: int | None = None
    protocol_num_fewshot: int | None = None
    protocol_changes: list[str] = []

    @property
    def label(self) -> str:
        """The name of the task, whether its questions are made-up, and a number of few-shot examples that is not that
        of the protocol."""
        name = f"{self.task} (made-up questions)" if self.made_up_rows else self.task
        if self.num_fewshot is None:
            return name
        protocol = "" if self.protocol_num_fewshot is None else f" (protocol: {self.protocol_num_fewshot})"
        return f"{name}, {self.num_fewshot}-shot{protocol}"

    @property
    def best_score(self) -> float:
        """The highest score; 0 if no row was scored, 1 if there are no scores because it was a dry run."""
        if not self.scores:
            return 1.0
        return max((score.value for score in self.scores if score.value is not None), default=0.0)

    def score(self, name: str) -> Score:
        """Return the score of the filter `name`.

        Raises:
            UsageError: there is no filter with this name.
        """
        for score in self.scores:
            if score.filter == name:
                return score
        available = ", ".join(score.filter for score in self.scores)
        raise UsageError(f"Unknown score {name!r}. Available scores: {available}.")

    def tables(self) -> list[Table]:
        """Return the table of scores, then the tables of metrics over samples and of groups, if there are any."""
        score_column = BENCHMARKS[self.task].metric.replace("_", " ") if self.task in BENCHMARKS else ""
        if not self.scores:
            return []
        named = [msgspec.structs.replace(score, task=self.label) for score in self.scores]
        scores = score_table(
            named, score_column or "score", self.scored_rows, self.truncated, self.failure_counts, self.no_answer
        )
        sample_rows = [
            [s.filter, r.name, format_score(r.value), format_stderr(r.stderr), str(r.count)]
            for s in self.scores
            for r in s.sample_metrics
        ]
        group_rows = [
            [name, s.filter, format_score(s.value), format_stderr(s.stderr), str(s.interval or "N/A"), str(s.count)]
            for name, group_scores in self.groups.items()
            for s in group_scores
        ]
        sample_tables = [(SAMPLE_COLUMNS, sample_rows)] if sample_rows else []
        aggregate_rows = [
            [name, s.filter, format_score(s.value), format_stderr(s.stderr), str(s.count)]
            for name, scores_of_group in self.aggregates.items()
            for s in scores_of_group
        ]
        group_tables = [(GROUP_COLUMNS, group_rows)] if group_rows else []
        aggregate_tables = [(AGGREGATE_COLUMNS, aggregate_rows)] if aggregate_rows else []
        return [scores, *sample_tables, *group_tables, *aggregate_tables]

    def warnings(self) -> list[str]:
        """Return the sentences that limit what the scores mean: another protocol; missing, failed, truncated rows."""
        warnings = [MADE_UP_ROWS] if self.made_up_rows else []
        warnings += [self.incomplete] if self.incomplete else []
        if self.protocol_changes:
            warnings.append(f"Protocol parameters not sent: {', '.join(self.protocol_changes)}.")
        crashed = self.failure_counts.get(CRASHED, 0)
        if crashed:
            warnings.append(
                f"{crashed} rows have an answer that could not be scored ({CRASHED}) and are not included in the "
                "scores. Fix the task and rerun `manycall eval`, which scores them without a new call."
            )
        if unanswered := self.failed - crashed:
            retry = f" {rerun().capitalize()} to retry them." if self.run else ""
            warnings.append(f"{unanswered} rows failed and are not included in the scores.{retry}")
            if scores := self._failed_as_wrong_text():
                warnings.append(f"lm-evaluation-harness would score them as 0 and report {scores}.")
        warnings += self._no_answer_warnings()
        if self.truncated:
            warnings.append(
                f"{self.truncated} answers were truncated at max_tokens and scored as they are. "
                f"To ask for them again: a larger {option('max_tokens')} with {option('retry', 'truncated')}."
            )
        return warnings

    def _no_answer_warnings(self) -> list[str]:
        if not self.no_answer:
            return []
        listed = ", ".join(f"{count} {kind}" for kind, count in self.no_answer_counts.items())
        rows = f"of {self.scored_rows:,} rows"
        warnings = [
            f"{format_share(self.no_answer, self.scored_rows)} {rows} have no answer ({listed}) and count as wrong. "
            f"To leave them out of the scores: {option('no_answer', 'exclude')}."
        ]
        if thinking := self.no_answer_counts.get("reasoning_only"):
            warnings.append(
                f"{format_share(thinking, self.scored_rows)} {rows} ended while the model was thinking. "
                f"Raise {option('max_tokens')} with {option('retry', 'truncated')}, or lower {option('thinking')}."
            )
        return warnings

    def _failed_as_wrong_text(self) -> str:
        """Return the scores with failed rows counted as wrong, as one text; "" if there are none."""
        means = [(score.filter, score.failed_as_wrong) for score in self.scores if score.failed_as_wrong is not None]
        return ", ".join(f"{name} {mean.value:.4f} {format_stderr(mean.stderr)}" for name, mean in means)

    def messages(self) -> list[str]:
        """Return the warnings, the notes and, for a simulated endpoint, the expected score."""
        messages = [*self.warnings(), *self.notes]
        planted = (self.run.sim or {}).get("planted") if self.run else None
        # the endpoint's count is only comparable if this run sent every question to it
        if self.run and planted and planted["asked"] and self.run.calls >= self.scored_rows:
            right, asked = planted["right"], planted["asked"]
            messages.append(
                f"Expected score from the simulated endpoint: {right} of {asked} correct ({right / asked:.4f})."
            )
        return messages


def short_value(value: Any, max_characters: int = 60) -> str:
    """Return a text, or another value as JSON, shortened to at most `max_characters`."""
    text = as_text(value)
    return text if len(text) <= max_characters else f"{text[: max_characters - 3]}..."
