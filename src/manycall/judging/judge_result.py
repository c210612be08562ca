"""The result of a judge run: verdicts, score and the reliability of the judge."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from manycall.errors import UsageError
from manycall.evals.eval_result import OutputResult, Score, Table, score_table
from manycall.evals.score_accumulator import ScoreAccumulator
from manycall.evals.stats.mean import MAX_SCORE_MAGNITUDE
from manycall.judging.built_in_rubrics import RUBRICS, derived_scores
from manycall.judging.reliability import (
    PairwiseResult,
    PositionBias,
    PositionCounter,
    SelfAgreement,
    VerdictShare,
    WinCounter,
    self_agreement,
    verdict_share,
)
from manycall.option_flags import rerun
from manycall.run.run_result import RunResult
from manycall.store.output_reader import OutputReader
from manycall.terminal import sanitize_line

RUBRIC_SETTING = "rubric_name"
"""Name of the setting with the name of a built-in rubric."""


class JudgeResult(OutputResult, kw_only=True, frozen=True):
    """Verdicts of a judge on an output, with its score and reliability.

    Attributes:
        judge_model: The model that judged.
        answers: File of the judged answers and the model that wrote them.
        against: The same for the answers that they were compared with; "" for single answers.
        output_field: The field that holds the verdict.
        verdicts: Number and share of the rows for each verdict.
        score: Mean value of the verdicts. In a pairwise comparison, the share of wins of the judged answers, a tie
            counting as half a win. None if the labels have no values.
        self_agreement: Agreement of repeated verdicts; None if no row was judged more than once.
        position_bias: Influence of the order of the answers; None for single answers.
        pairwise: Wins, losses and ties; None for single answers.
        derived: Numbers that the authors of a built-in rubric report in addition to the verdicts, as (name, value).
        reasked_rows: Rows that needed a second request because the first reply had no readable verdict.
        not_judged: Sentences about rows of the run whose answers were judged that have no answer.
    """

    judge_model: str
    answers: str
    against: str
    output_field: str
    verdicts: list[VerdictShare]
    score: Score | None
    self_agreement: SelfAgreement | None
    position_bias: PositionBias | None
    pairwise: PairwiseResult | None
    reasked_rows: int
    derived: list[tuple[str, float]]
    not_judged: list[str]

    def tables(self) -> list[Table]:
        """Return tables as (header, rows): the verdicts, then the score."""
        rows = [[s.verdict, str(s.count), f"{s.share:.4f}", str(s.interval or "N/A")] for s in self.verdicts]
        tables: list[Table] = [(["verdict", "rows", "share", "95 % interval"], rows)]
        if self.score is not None:
            tables.append(score_table([self.score], "score", self.scored_rows, self.truncated, self.failure_counts))
        if self.derived:
            tables.append((["measure", "value"], [[name, f"{value:.4f}"] for name, value in self.derived]))
        return tables

    def warnings(self) -> list[str]:
        """Return sentences about incomplete, failed and truncated rows."""
        warnings = [*([self.incomplete] if self.incomplete else []), *self.not_judged]
        if self.failed:
            warnings.append(
                f"{self.failed} rows have no verdict and are excluded from all scores. "
                f"{rerun().capitalize()} to retry them."
            )
        if self.truncated:
            warnings.append(f"{self.truncated} rows have a judge reply that was truncated at max_tokens.")
        return warnings

    def messages(self) -> list[str]:
        """Return the warnings and sentences about the reliability of the judge."""
        messages = self.warnings()
        if d := self.pairwise:
            messages.append(
                f"A is {self.answers}: {d.wins} wins. B is {self.against}: {d.losses}. Ties: {d.ties}. "
                f"p = {d.p_value:.2g} (exact sign test over questions)."
            )
        if self.reasked_rows:
            messages.append(f"{self.reasked_rows} verdicts needed a second request.")
        if a := self.self_agreement:
            kappa = "" if a.kappa is None else f", κ {a.kappa:.2f}"
            messages.append(
                f"Self-agreement: {a.value:.1%} of pairs of verdicts on one row are equal{kappa} ({a.questions} rows)."
            )
        if p := self.position_bias:
            if p.both:
                messages.append(f"Both orders gave the same verdict for {p.consistent} of {p.both} rows.")
            messages.append(
                f"Position bias: the first position won {p.first} questions, the second {p.second} "
                f"(p = {p.p_value:.2g})."
            )
        return messages


def label_values(output: OutputReader) -> dict[str, float | None]:
    """Return the labels and their values; an empty dict if the manifest has none."""
    try:
        return dict(msgspec.convert(output.settings.get("labels", []), list[tuple[str, float | None]]))
    except msgspec.ValidationError:
        return {}


class _JudgeReply(msgspec.Struct):
    verdict: str
    reasked: bool = False


class JudgedRow(msgspec.Struct):
    """The value that `judge` writes into the output field."""

    verdict: str
    score: Annotated[float, msgspec.Meta(gt=-MAX_SCORE_MAGNITUDE, lt=MAX_SCORE_MAGNITUDE)] | None = None
    replies: list[_JudgeReply] = []


def read_judge_result(out: Path, field: str, run: RunResult | None = None, against: Path | None = None) -> JudgeResult:
    """Read the result from the output of a judge run, without making calls.

    Args:
        against: File of the other answers. The manifest records how they were made, but not their file.

    Raises:
        UsageError: A row has no verdict.
    """
    output = OutputReader(out)
    labels = label_values(output)
    numbers = [value for value in labels.values() if value is not None]
    lowest, highest = min(numbers, default=0.0), max(numbers, default=1.0)
    scores = ScoreAccumulator("judge", [field], output, output.failed, (lowest, highest))
    counts: Counter[str] = Counter()
    repeats: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # question -> row -> verdicts
    positions, wins = PositionCounter(output.has_samples), WinCounter(output.has_samples)
    rows = reasked = truncated = scored = 0
    for offset, row in output.rows():
        try:
            judged_row = msgspec.convert(row.get(field), JudgedRow)
        except msgspec.ValidationError:
            raise UsageError(f"{out}, row at byte {offset:,}: no verdict in {field!r}.") from None
        row_id = str(row.get("id", ""))
        rows += 1
        counts[judged_row.verdict] += 1
        reasked += any(reply.reasked for reply in judged_row.replies)
        truncated += row.get(f"{field}_finish_reason") == "length"
        question, _ = output.split_sample_id(row_id)
        positions.add(question, [reply.verdict for reply in judged_row.replies])
        wins.add(question, judged_row.verdict)
        if output.has_samples:
            answer_id = row_id.rpartition("#")[0] if output.settings.get("samples") else row_id
            repeats[question][answer_id].append(judged_row.verdict)
        if judged_row.score is not None:
            scored += 1
            scores.add(row_id, {field: (judged_row.verdict, judged_row.score)})
    questions = [Counter(v for verdicts in answers.values() for v in verdicts) for answers in repeats.values()]
    shares = [verdict_share(v, counts[v], rows, questions) for v in labels or counts if rows]
    (mean,) = scores.scores()
    identity, source = output.settings, output.manifest.source if output.manifest else {}
    orders = identity.get("orders")
    return JudgeResult(
        out=out, judge_model=str(identity.get("model", "?")), output_field=field, verdicts=shares,
        answers=_named(source.get("input"), identity.get("answers")), against=_named(against, identity.get("against")),
        score=msgspec.structs.replace(mean, sample_metrics=[]) if scored else None,
        derived=derived_scores(counts) if rows and identity.get(RUBRIC_SETTING) in RUBRICS else [],
        self_agreement=self_agreement(verdicts for answers in repeats.values() for verdicts in answers.values()),
        position_bias=positions.result() if orders else None, pairwise=wins.result() if orders else None,
        scored_rows=rows, reasked_rows=reasked, truncated=truncated,
        failed=output.failed, failure_counts=output.failure_counts,
        incomplete=output.incomplete_message(rows), run=run, not_judged=_not_judged(source),
    )  # fmt: skip


def _not_judged(source: Mapping[str, Any]) -> list[str]:
    """Return sentences about rows without an answer in the run whose output is the source of a judge run."""
    path = Path(str(source.get("input")))
    if not source.get("is_file") or not path.is_file() or (answers := OutputReader(path)).manifest is None:
        return []
    rows = sum(1 for _ in answers.row_offsets())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in answers.failure_counts.items())
    unanswered = sanitize_line(
        f"{answers.failed:,} of {rows + answers.failed:,} rows of {path} have no answer ({kinds}) and were not judged. "
        "The verdicts and scores leave them out."
    )
    incomplete = answers.incomplete_message(rows)
    return [
        *([unanswered] if answers.failed else []),
        *([f"{sanitize_line(str(path))}: {incomplete}"] if incomplete else []),
    ]


def _named(path: Any, made_by: Any) -> str:
    """Return a short name of a run, such as "g1.jsonl (small)"."""
    if not isinstance(made_by, dict):
        return sanitize_line(str(path or made_by or ""))
    model = made_by.get("model", "?")
    return sanitize_line(f"{path} ({model})" if path else f"the answers of {model}")
