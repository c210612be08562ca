"""LLM as a judge: rate single answers on a scale or with labels, or compare the answers of two runs in pairs."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.prompt_template import PromptError, PromptLike, PromptTemplate
from manycall.data.row_source import RowsLike, RowSource
from manycall.errors import UsageError
from manycall.evals.row_grades import require_same_rows
from manycall.evals.stats.mean import Mean
from manycall.judging import verdict_format
from manycall.judging.judge_result import JudgeResult, read_judge_result
from manycall.judging.verdict_format import PAIRWISE_LABELS, VerdictFormat
from manycall.option_flags import option
from manycall.records import Completion, Messages, Row
from manycall.run.job import Job
from manycall.run.options import RunOptions
from manycall.run.reask import ask_until_valid
from manycall.run.row_client import RowClient
from manycall.run.run_result import RunResult
from manycall.store.output_reader import OutputReader

DEFAULT_SCALE = "1-5"
DEFAULT_REASK = 1
"""How many times the judge is asked again after a reply whose verdict cannot be parsed."""


def judge_job(
    answers: RowsLike,
    rubric: PromptLike,
    options: RunOptions,
    *,
    against: str | PathLike[str] | None = None,
    scale: str | None = None,
    labels: str | Sequence[str] | Mapping[str, float | None] | None = None,
    both_orders: bool = True,
    samples: int | None = None,
    system: str | None = None,
    output_field: str = "judge",
) -> Job[JudgeResult]:
    """Build the job of `manycall.judge`, which describes the arguments.

    Raises:
        UsageError: An argument is not valid, or the rubric does not fit the first row.
    """
    if options.dry_run:
        raise UsageError("judge has no dry run: it needs answers to judge.")
    form = _form(against, scale, labels)
    if output_field in ("", "id"):
        raise UsageError(
            f"{option('output_field', output_field)} is not allowed, because the field id holds the row id."
        )
    other = None if against is None else Path(against)
    source = RowSource(answers, samples=samples, id_field=options.id_field, limit=options.limit)
    template = PromptTemplate(rubric, system)
    answer_views = _SingleAnswers() if other is None else _AnswerPairs(other, options.id_field, both_orders)
    _check_rubric(template, source, answer_views)
    running_score, finish_reason_field = Mean(), f"{output_field}_finish_reason"

    async def judge_row(row: Row, llm: RowClient) -> dict[str, Any]:
        replies: list[dict[str, Any]] = []
        finish_reason = ""
        for swapped, fields in answer_views.presentations(row):
            verdict, reply, reasked = await _verdict(llm, form, template.messages(Row(row.id, fields)))
            replies.append({"verdict": verdict, "swapped": swapped, "reasked": reasked, "text": reply.text})
            finish_reason = "length" if "length" in (finish_reason, reply.finish_reason) else reply.finish_reason
        verdict = answer_views.combine(replies)
        value = form.labels[verdict]
        if value is not None:
            running_score.add(value)
        return {
            output_field: {"verdict": verdict, "score": value, "replies": replies},
            finish_reason_field: finish_reason,
        }

    def status_note() -> str:
        return f"score {running_score}" if running_score.count else ""

    settings = {
        "job": "judge",
        "rubric": template.source,
        "system": template.system_text,
        "labels": list(form.labels.items()),
        "orders": answer_views.orders,
        "field": output_field,
        "samples": samples is not None,
        "answers": _made_by(source),
        "against": None if other is None else _made_by(RowSource(other, id_field=options.id_field)),
    }

    def finish(run: RunResult) -> JudgeResult:
        return read_judge_result(run.out, output_field, run, other)

    return Job(
        name="judge",
        settings=settings,
        source=source,
        process_row=judge_row,
        finish=finish,
        status_note=status_note,
        output_fields=(output_field, finish_reason_field),
        finish_reason_field=finish_reason_field,
    )


def _form(
    against: str | PathLike[str] | None,
    scale: str | None,
    labels: str | Sequence[str] | Mapping[str, float | None] | None,
) -> VerdictFormat:
    given = [name for name, value in (("against", against), ("scale", scale), ("labels", labels)) if value]
    if len(given) > 1:
        raise UsageError(f"{option(given[0])} and {option(given[1])} cannot be combined.")
    if against is not None:
        return VerdictFormat(PAIRWISE_LABELS)
    return VerdictFormat(
        verdict_format.parse_labels(labels)
        if labels is not None
        else verdict_format.scale_labels(scale or DEFAULT_SCALE)
    )


async def _verdict(llm: RowClient, form: VerdictFormat, messages: Messages) -> tuple[str, Completion, bool]:
    """Return the label, the reply that contains it, and whether a second request was needed.

    Raises:
        AnswerInvalid: Neither the first nor the second reply contains a verdict that can be parsed.
    """
    replies: list[Completion] = []

    async def send(conversation: Messages) -> Completion:
        replies.append(await llm.chat(conversation))
        return replies[-1]

    verdict = await ask_until_valid(
        form.add_instruction(messages), send, form.parse, DEFAULT_REASK, {}, f"Answer with nothing but {form.line}"
    )
    return verdict, replies[-1], len(replies) > 1


class _SingleAnswers:
    """Present each answer on its own."""

    orders = 0

    def presentations(self, row: Row) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Yield (whether the two answers are swapped, the fields for the rubric's template)."""
        yield False, row.fields

    def combine(self, replies: Sequence[Mapping[str, Any]]) -> str:
        """Return the verdict of the row, given all replies to it."""
        return str(replies[0]["verdict"])


class _AnswerPairs(_SingleAnswers):
    """Present each answer together with the answer of another run to the same question.

    Only the byte offsets of the other run's rows are kept in memory.
    """

    def __init__(self, path: Path, id_field: str | None, both: bool) -> None:
        self._output, self._id, self._both = OutputReader(path), id_field or "id", both
        self.orders = 2 if both else 1
        self._row_offsets: dict[str, int] = {}
        for offset, row in self._output.rows():
            if self._id not in row:
                raise UsageError(
                    f"{path}, row at byte {offset:,}: the field {self._id!r}, by which answers are paired, is missing."
                )
            self._row_offsets[str(row[self._id])] = offset

    def presentations(self, row: Row) -> Iterator[tuple[bool, dict[str, Any]]]:
        row_id = str(row.fields.get(self._id, row.id))
        if row_id not in self._row_offsets:
            raise PromptError(f"{self._output.path} has no row {row_id!r:.100} to compare with.")
        other = next(self._output.read_at([self._row_offsets[row_id]]))
        if "response" in row.fields and require_same_rows(row.fields, other):
            raise PromptError(f"{self._output.path} has a different question or answer in row {row_id!r:.100}.")
        shared = {field: value for field, value in row.fields.items() if field in other and other[field] == value}
        hashed_order = blake2b(row_id.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] % 2 == 1
        for swapped in (False, True) if self._both else (hashed_order,):
            first, second = (other, row.fields) if swapped else (row.fields, other)
            yield swapped, {**shared, "first": first, "second": second}

    def combine(self, replies: Sequence[Mapping[str, Any]]) -> str:
        """Return "A" if the judged answer wins in every order, "B" if the other run's answer does, else "tie"."""
        verdicts = {_undo_swap(reply["verdict"], reply["swapped"]) for reply in replies}
        return str(verdicts.pop()) if len(verdicts) == 1 else "tie"


def _undo_swap(verdict: str, swapped: bool) -> str:
    return {"A": "B", "B": "A"}.get(verdict, verdict) if swapped else verdict


def _check_rubric(template: PromptTemplate, source: RowSource, answer_views: _SingleAnswers) -> None:
    """Check the rubric against the first row, before any call is made."""
    if template.is_constant:
        raise UsageError("The rubric does not use any field of the rows. Add a field, for example {{ response }}.")
    if (
        answer_views.orders
        and template.referenced_fields is not None
        and not {"first", "second"} <= template.referenced_fields
    ):
        raise UsageError(
            "The rubric must use both answers, for example {{ first.response }} and {{ second.response }}."
        )

    def check_row(row: Row) -> None:
        try:
            _, fields = next(answer_views.presentations(row))
        except PromptError:
            return  # this row failed in the other run; later rows may still match
        template.messages(Row(row.id, fields))

    source.check_first_row(check_row)


def _made_by(answers: RowSource) -> Any:
    """Identify the answers of one run: its settings and when it started, so that a new run with the same settings
    differs. For rows without a manifest, return their file name and checksum."""
    manifest = OutputReader(answers.path).manifest if answers.path is not None else None
    if manifest is None:
        return f"{answers.path.name if answers.path else answers.name}: {answers.checksum()}"
    started = [session.get("started") for session in manifest.sessions[:1]]
    return {**manifest.settings, "began": started}
