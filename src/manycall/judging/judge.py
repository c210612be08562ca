"""LLM as a judge: rate single answers on a scale or with labels, or compare the answers of two runs in pairs."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.brace_hint import brace_hint
from manycall.data.prompt_error import PromptError
from manycall.data.prompt_template import PromptLike
from manycall.data.row_input import RowsLike
from manycall.data.row_prompt import RowPrompt
from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.evals.planted_answers import uses_sim
from manycall.evals.stats.mean import Mean
from manycall.judging.answer_views import AnswerPairs, SingleAnswers
from manycall.judging.built_in_rubrics import GRADES, RUBRICS, BuiltInRubric, LetterFormat, planted_grades
from manycall.judging.judge_result import RUBRIC_SETTING, JudgeResult, read_judge_result
from manycall.judging.verdict_format import PAIRWISE_LABELS, VerdictFormat, parse_labels, scale_labels
from manycall.option_flags import option, spelled
from manycall.records import Completion, Messages, Row
from manycall.run.argument_types import with_checked_types
from manycall.run.input_rows import files_folder, open_rows
from manycall.run.job import Job
from manycall.run.options import RunOptions
from manycall.run.reask import ask_until_valid, read_at_once
from manycall.run.reasoning_field import ReasoningField, refuse_inline
from manycall.run.row_client import RowClient
from manycall.run.run_result import RunResult
from manycall.store.output_reader import OutputReader

DEFAULT_SCALE = "1-5"
DEFAULT_REASK = 1
"""How many times the judge is asked again after a reply whose verdict cannot be parsed."""


@with_checked_types
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
    images: Sequence[str] = (),
    output_field: str = "judge",
) -> Job[JudgeResult]:
    """Build the job of `manycall.judge`, which describes the arguments.

    Raises:
        UsageError: An argument is not valid, or the rubric does not fit the first row.
    """
    if options.dry_run:
        raise UsageError("judge has no dry run: it needs answers to judge.")
    built_in = RUBRICS.get(rubric) if isinstance(rubric, str) else None
    verdict_format = _verdict_format(against, scale, labels, built_in)
    if output_field in ("", "id"):
        raise UsageError(
            f"{option('output_field', output_field)} is not allowed, because the field id holds the row id."
        )
    other = None if against is None else Path(against)
    source = open_rows(answers, options, samples=samples)
    if built_in is not None:
        rubric, system = built_in.text, built_in.system if system is None else system
    prompt = RowPrompt(rubric, system=system, images=images, folder=files_folder(answers))
    for path in (source.path, other):
        _refuse_inline_answers(path)
    answer_views = SingleAnswers() if other is None else AnswerPairs(other, options.id_field, both_orders)
    _check_rubric(prompt, source, answer_views)
    refuse_inline(options.reasoning, "the verdict is read from the text of the reply.")
    keeps_thinking = options.reasoning == "separate"
    running_score, finish_reason_field = Mean(), f"{output_field}_finish_reason"

    async def judge_row(row: Row, llm: RowClient) -> dict[str, Any]:
        replies: list[dict[str, Any]] = []
        finish_reason = ""
        for swapped, fields in answer_views.presentations(row):
            verdict, reply, reasked = await _verdict(llm, verdict_format, prompt.load(Row(row.id, fields)))
            entry = {"verdict": verdict, "swapped": swapped, "reasked": reasked, "text": reply.text}
            replies.append(entry | ({"reasoning": reply.reasoning} if keeps_thinking and reply.reasoning else {}))
            finish_reason = "length" if "length" in (finish_reason, reply.finish_reason) else reply.finish_reason
        verdict = answer_views.combine(replies)
        value = verdict_format.labels[verdict]
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
        "rubric": prompt.template.source,
        "system": prompt.system_text,
        **({"images": list(images)} if images else {}),
        "labels": list(verdict_format.labels.items()),
        "orders": answer_views.orders,
        **({} if built_in is None else {RUBRIC_SETTING: built_in.name}),
        "output_field": output_field,
        "samples": samples is not None,
        **ReasoningField(output_field, options.reasoning).identity,
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
        answer_key="" if built_in is None or not uses_sim(options) else planted_grades(built_in, source.path),
    )


def _verdict_format(
    against: str | PathLike[str] | None,
    scale: str | None,
    labels: str | Sequence[str] | Mapping[str, float | None] | None,
    built_in: BuiltInRubric | None,
) -> VerdictFormat:
    given = [name for name, value in (("against", against), ("scale", scale), ("labels", labels)) if value]
    if built_in is not None:
        if given:
            raise UsageError(f"{option('rubric', built_in.name)} and {option(given[0])} cannot be combined.")
        return LetterFormat(GRADES)
    if len(given) > 1:
        raise UsageError(f"{option(given[0])} and {option(given[1])} cannot be combined.")
    if against is not None:
        return VerdictFormat(PAIRWISE_LABELS)
    return VerdictFormat(parse_labels(labels) if labels is not None else scale_labels(scale or DEFAULT_SCALE))


async def _verdict(llm: RowClient, verdict_format: VerdictFormat, messages: Messages) -> tuple[str, Completion, bool]:
    """Return the label, the reply that contains it, and whether a second request was needed.

    Raises:
        AnswerInvalid: Neither the first nor the second reply contains a verdict that can be parsed.
    """
    replies: list[Completion] = []

    async def send(conversation: Messages) -> Completion:
        replies.append(await llm.chat(conversation))
        return replies[-1]

    verdict, _ = await ask_until_valid(
        verdict_format.add_instruction(messages),
        send,
        read_at_once(verdict_format.parse),
        DEFAULT_REASK,
        {},
        f"Answer with nothing but {verdict_format.line}",
    )
    return verdict, replies[-1], len(replies) > 1


def _check_rubric(prompt: RowPrompt, source: RowSource, answer_views: SingleAnswers) -> None:
    """Check the rubric against the first row, before any call is made."""
    if prompt.template.is_constant:
        hint = brace_hint(prompt.text, source.first_row or {}) or " Add a field, for example {{ response }}."
        raise UsageError(f"The rubric does not use any field of the rows.{hint}")
    if answer_views.orders and not {"first", "second"} <= prompt.referenced_fields:
        raise UsageError(
            "The rubric must use both answers, for example {{ first.response }} and {{ second.response }}."
        )

    def check_row(row: Row) -> None:
        try:
            _, fields = next(answer_views.presentations(row))
        except PromptError:
            return  # this row failed in the other run; later rows may still match
        prompt.messages(Row(row.id, fields))

    source.check_first_row(check_row)


def _refuse_inline_answers(answers: Path | None) -> None:
    """Refuse an output whose answers contain thinking text, which could influence the judge.

    Raises:
        UsageError: the output was written with `reasoning` "inline".
    """
    if answers is not None and OutputReader(answers).settings.get("reasoning") == "inline":
        raise UsageError(
            f"{answers} has thinking text in its answers ({option('reasoning', 'inline')}), and a judge must not get "
            f"it. Write the answers again, without calls: {spelled('the command', 'the call')} that made them with "
            f"{option('from_', answers)}, {option('reasoning', 'separate')} and another {option('out')}."
        )


def _made_by(answers: RowSource) -> Any:
    """Identify the answers of one run: its settings and when the sessions that replaced its rows started, so that a new
    run with the same settings differs. For rows without a manifest, return their file name and checksum."""
    manifest = OutputReader(answers.path).manifest if answers.path is not None else None
    if answers.path is None or manifest is None:
        return f"{answers.path.name if answers.path else answers.name}: {answers.checksum()}"
    replaced = (each for each in manifest.sessions[1:] if _replaced_rows(each, answers.path))
    return {**manifest.settings, "started_at": [each.get("started_at") for each in (*manifest.sessions[:1], *replaced)]}


def _replaced_rows(session: Mapping[str, Any], out: Path) -> bool:
    """Return whether a session replaced rows of its output: truncated ones (`retry`), or all (`from_`)."""
    return bool(session.get("retried")) or Path(session.get("from") or "").name == out.name
