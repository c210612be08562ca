"""A model judges answers: each by itself, on a scale or by labels, or two runs' answers against each other."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Unpack

from manycall.data.sources import Rows, Source
from manycall.data.templates import BadPrompt, Prompt, Template
from manycall.engine.calls import fitting
from manycall.engine.map import Job, Options, hide_key, run_job
from manycall.engine.row import RowCalls
from manycall.errors import UsageError
from manycall.evals import forms
from manycall.evals.forms import PAIR, Form
from manycall.evals.judgement import Judgement, summary
from manycall.evals.metrics import Mean
from manycall.evals.protocol import differ
from manycall.records import Completion, Messages, Row
from manycall.store.output import Output

DEFAULT_SCALE = "1-5"
REASK = 1
"""How often a verdict that cannot be read is asked for again."""


def judge(
    answers: Rows,
    rubric: Prompt,
    *,
    against: str | Path | None = None,
    scale: str | None = None,
    labels: str | Sequence[str] | Mapping[str, float | None] | None = None,
    both_orders: bool = True,
    samples: int | None = None,
    system: str | None = None,
    field: str = "judge",
    **options: Unpack[Options],
) -> Judgement:
    """Let a model judge answers, and write its verdict beside each.

    A reply without a readable verdict is asked for once more, with the reason; then the row has failed ("invalid").
    The same call tries it again, with new replies.

    Args:
        answers: what `evaluate` or `generate` wrote, or any rows.
        rubric: a Jinja template over a row's fields, as for `generate`, without the form of the verdict, which is
            added. With `against` it names the two rows: {{ first.response }}, {{ second.response }}; a field that is
            the same in both, {{ question }}, can be named alone.
        against: another output (JSONL) with the same ids: which answer is better? The judge says A, B or tie.
        scale: "1-5", which is the default: whole numbers from 1 to 5.
        labels: instead of a scale: "good,bad"; with what each is worth: "right=1,partly=0.5,wrong=0", or a mapping.
        both_orders: show the two answers in both orders, and let one win only if it wins both (Zheng et al. 2023,
            arXiv:2306.05685); else in one, which a hash of the row's id decides.
        samples: judge each row so many times, to see how far the judge agrees with itself.
        system: a template for the system message.
        field: where the verdict goes.
        options: see `manycall.Options`.

    Returns:
        What came out, over every row in the output, those of earlier runs included.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    hide_key(options)
    if options.get("dry_run"):
        raise UsageError("a dry run has no verdict: dry_run is for generate, steps, evaluate and map")
    form = _form(against, scale, labels)
    if field in ("", "id"):
        raise UsageError(f"--field {field!r} cannot take the verdict: it names the row")
    source = Source(answers, samples=samples, id_field=options.get("id_field"), limit=options.get("limit"))
    template = Template(rubric, system)
    shown = _Pairs(Path(against), options.get("id_field"), both_orders) if against is not None else _Alone()
    _try_first(template, source, shown)
    running, ending = Mean(), f"{field}_finish_reason"

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        replies: list[dict[str, Any]] = []
        why = ""
        for swapped, fields in shown.views(row):
            verdict, reply, again = await _verdict(llm, form, template.messages(Row(row.id, fields)))
            replies.append({"verdict": verdict, "swapped": swapped, "again": again, "text": reply.text})
            why = "length" if "length" in (why, reply.finish_reason) else reply.finish_reason
        verdict = shown.decided(replies)
        worth = form.labels[verdict]
        if worth is not None:
            running.add(worth)
        return {field: {"verdict": verdict, "score": worth, "replies": replies}, ending: why}

    def note() -> str:
        return f"score {running}" if running.count else ""

    identity = {
        "job": "judge",
        "rubric": template.source,
        "system": template.system_text,
        "labels": list(form.labels.items()),
        "orders": shown.orders,
        "field": field,
        "samples": samples is not None,
        "answers": _made_by(source),
        "against": _made_by(Source(Path(against), id_field=options.get("id_field"))) if against is not None else None,
    }
    job = Job("judge", identity, one, note=note, writes=(field, ending), ending=ending)
    report = run_job(job, source, options)
    return summary(report.out, field, report, Path(against) if against is not None else None)


def _form(
    against: str | Path | None, scale: str | None, labels: str | Sequence[str] | Mapping[str, float | None] | None
) -> Form:
    given = [name for name, value in (("--against", against), ("--scale", scale), ("--labels", labels)) if value]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} do not go together")
    if against is not None:
        return Form(PAIR)
    return Form(forms.labels(labels) if labels is not None else forms.scale(scale or DEFAULT_SCALE))


async def _verdict(llm: RowCalls, form: Form, messages: Messages) -> tuple[str, Completion, bool]:
    """(the label, the reply it was read in, whether it had to be asked for again).

    Raises:
        Misshapen: no verdict could be read, twice.
    """
    replies: list[Completion] = []

    async def send(asked: Messages) -> Completion:
        replies.append(await llm.chat(asked))
        return replies[-1]

    verdict = await fitting(form.on(messages), send, form.read, REASK, {}, f"Answer with nothing but {form.line}")
    return verdict, replies[-1], len(replies) > 1


class _Alone:
    """Each answer by itself."""

    orders = 0

    def views(self, row: Row) -> Iterator[tuple[bool, dict[str, Any]]]:
        """(whether the answers change places, what the rubric sees)."""
        yield False, row.fields

    def decided(self, replies: Sequence[Mapping[str, Any]]) -> str:
        """The verdict over all replies."""
        return str(replies[0]["verdict"])


class _Pairs(_Alone):
    """Each answer, and that of another run to the same question.

    Of the other run only the places of its rows are kept.
    """

    def __init__(self, path: Path, id_field: str | None, both: bool) -> None:
        self._output, self._id, self._both = Output(path), id_field or "id", both
        self.orders = 2 if both else 1
        self._places: dict[str, int] = {}
        for offset, row in self._output.rows():
            if self._id not in row:
                raise UsageError(f"{path}, the row at byte {offset:,} has no {self._id}, by which answers are paired")
            self._places[str(row[self._id])] = offset

    def views(self, row: Row) -> Iterator[tuple[bool, dict[str, Any]]]:
        name = str(row.fields.get(self._id, row.id))
        if name not in self._places:
            raise BadPrompt(f"{self._output.path} has no row {name!r:.100} to judge it against")
        other = next(self._output.at([self._places[name]]))
        if "response" in row.fields and differ(row.fields, other):
            raise BadPrompt(f"{self._output.path} has another question or answer in the row {name!r:.100}")
        shared = {field: value for field, value in row.fields.items() if field in other and other[field] == value}
        coin = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] % 2 == 1
        for swapped in (False, True) if self._both else (coin,):
            first, second = (other, row.fields) if swapped else (row.fields, other)
            yield swapped, {**shared, "first": first, "second": second}

    def decided(self, replies: Sequence[Mapping[str, Any]]) -> str:
        """A: the answers that were given win; B: those of the other run. Whoever does not win every time has a tie."""
        verdicts = {_unswapped(reply["verdict"], reply["swapped"]) for reply in replies}
        return str(verdicts.pop()) if len(verdicts) == 1 else "tie"


def _unswapped(verdict: str, swapped: bool) -> str:
    return {"A": "B", "B": "A"}.get(verdict, verdict) if swapped else verdict


def _try_first(template: Template, source: Source, shown: _Alone) -> None:
    """As far as that can be told, whether the rubric will do, before the first call."""
    if template.is_the_same_for_all:
        raise UsageError("the rubric is the same for every row; name a field in it, as in {{ response }}")
    if shown.orders and template.names is not None and not {"first", "second"} <= template.names:
        raise UsageError("the rubric must show both answers, as in {{ first.response }} and {{ second.response }}")

    def fits(row: Row) -> None:
        try:
            _, fields = next(shown.views(row))
        except BadPrompt:
            return  # this row has failed in the other run; another need not have
        template.messages(Row(row.id, fields))

    source.try_first(fits)


def _made_by(answers: Source) -> Any:
    """What tells one run's answers from another's, or from those of the same run made anew: what it was and when it
    began; of rows that do not say so, their name and checksum."""
    manifest = Output(answers.path).manifest if answers.path is not None else None
    if manifest is None:
        return f"{answers.path.name if answers.path else answers.name}: {answers.checksum()}"
    began = [session.get("started") for session in manifest.sessions[:1]]
    return {**manifest.identity, "began": began}
