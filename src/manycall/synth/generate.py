"""A prompt for every row, and the text that comes back."""

from pathlib import Path
from typing import Any, Unpack

import msgspec

from manycall.data.sources import Rows, Source
from manycall.data.templates import BadPrompt, Prompt, Template
from manycall.engine.map import Job, Options, hide_key, run_job
from manycall.engine.report import Report
from manycall.engine.row import RowCalls
from manycall.errors import UsageError
from manycall.records import Row
from manycall.store.output import Output
from manycall.synth.duplicates import Duplicates


def generate(
    prompt: Prompt,
    rows: Rows = None,
    *,
    samples: int | None = None,
    system: str | None = None,
    field: str = "text",
    duplicates: bool = False,
    **options: Unpack[Options],
) -> Report:
    """Ask for one text for each row, and write it beside the row's own fields.

    Args:
        prompt: a Jinja template over the row's fields ("Tell a story about {{ topic }}."), the path of one
            (.j2, .jinja, .txt, .md), or a function of the row's fields that returns a text or messages.
        rows: a path or mappings; None: the prompt alone, `samples` times.
        samples: do each row so many times, as `id#0`, `id#1`, ...
        system: a template for the system message.
        field: where the text goes; why it ended goes to `<field>_finish_reason`.
        duplicates: count them in the status line, as `quality` does; 15 bytes a row.
        options: see `manycall.Options`.

    Raises:
        UsageError: before any call; also if the prompt does not fit the first row.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    hide_key(options)
    if field in ("", "id"):
        raise UsageError(f"--field {field!r} cannot take the answer: it names the row")
    ending = f"{field}_finish_reason"
    source = Source(rows, samples=samples, id_field=options.get("id_field"), limit=options.get("limit"))
    template = Template(prompt, system)
    _try_first(template, source)
    if rows is not None and template.is_the_same_for_all:
        names = ", ".join(source.first or {}) or "its fields"
        raise UsageError(
            f"the prompt is the same for every row; name a field in it, as in {{{{ field }}}} (a row has {names}). "
            "For the same prompt many times leave the rows out, and say -n"
        )

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        reply = await llm.chat(template.messages(row))
        return {field: reply.text, ending: reply.finish_reason}

    identity = {
        "job": "generate",
        "prompt": template.text,
        "system": template.system_text,
        "field": field,
        "samples": samples is not None and rows is not None,
    }
    job = Job("generate", identity, one, writes=(field, ending), ending=ending)
    return run_job(counting(job, field, options) if duplicates else job, source, options)


def counting(job: Job, field: str, options: Options) -> Job:
    """The same job, with the duplicates among its texts in the status line."""
    met, out = Duplicates(), Path(options["out"])
    if out.is_file() and not options.get("fresh"):
        for row in Output(out).rows():
            met.add(str(row.get(field)))

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        result = await job.function(row, llm)
        met.add(result[field])
        return result

    return msgspec.structs.replace(job, function=one, note=lambda: f"dup {met.count}")


def _try_first(template: Template, source: Source) -> None:
    """A misspelt name costs nothing if it is found before the first call."""
    if source.first is not None:
        try:
            template.messages(Row("first", source.first))
        except BadPrompt as error:
            raise UsageError(f"{source.name}: {error}") from None
