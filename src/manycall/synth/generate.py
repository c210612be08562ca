"""A prompt for every row, and the text, or the fields, that come back."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Unpack

from manycall.data.schema import Schema
from manycall.data.sources import Rows, Source
from manycall.data.templates import Prompt
from manycall.data.values import Spec
from manycall.data.variables import Draw, combinations
from manycall.engine.calls import RE_ASKED, Tally
from manycall.engine.map import Job, Options, hide_key, run_job
from manycall.engine.report import Report
from manycall.engine.row import RowCalls
from manycall.errors import UsageError
from manycall.records import Made, Row
from manycall.store.parts import PARTS
from manycall.synth.ask import DUPLICATES, REASK, Ask

Parse = Callable[[dict[str, Any], Any], Made]
"""parse(row, text), or parse(row, value) where there is a schema: makes fields of it, or a list of such, a row each."""
Variables = Mapping[str, Spec]
"""Name -> what it is drawn from, or its values (data/variables.py, data/values.py)."""


def generate(
    prompt: Prompt,
    rows: Rows = None,
    *,
    samples: int | None = None,
    system: str | None = None,
    field: str = "text",
    schema: Schema | None = None,
    parse: Parse | None = None,
    raw: bool = False,
    reask: int = REASK,
    draw: Variables | None = None,
    cross: Variables | None = None,
    seed: int = 0,
    **options: Unpack[Options],
) -> Report:
    """Ask for one text for each row, and write it beside the row's own fields.

    >>> rows = [{"topic": "tea"}, {"topic": "rain"}]
    >>> report = manycall.generate(
    ...     "A story about {{ topic }}.", rows, url="sim", model="any", out="stories.jsonl", progress=False
    ... )
    >>> report.done, sorted(row["topic"] for row in report.results())
    (2, ['rain', 'tea'])

    Args:
        prompt: a Jinja template over the row's fields ("Tell a story about {{ topic }}."), the path of one
            (.j2, .jinja, .txt, .md) or of several turns (.toml, .json), messages with templates in them, or a function
            of the row's fields that returns a text or messages.
        rows: a path or mappings; None: the prompt alone, `samples` times.
        samples: do each row so many times, as `id#0`, `id#1`, ...
        system: a template for the system message.
        field: where the text goes; why it ended goes to `<field>_finish_reason`.
        schema: the shape of the answer, whose fields are then the row's: a JSON schema (a file, a dict) or a type
            (msgspec, pydantic). Of a list each item becomes a row, as `id/0`, `id/1`, ...
        parse: what is kept of an answer; a list makes rows as above. It is told the text, or the schema's fields. One
            that gives a field of the row another value has failed: what was asked could not be told any more.
        raw: send the prompt as it is to /completions, without a chat template.
        reask: how often an answer that does not fit the schema is asked for again.
        draw: variables drawn for each row; cross: variables of which each row gets every combination; seed: of the
            draws. See docs/generate.md.
        options: see `manycall.Options`.

    Raises:
        UsageError: before any call; also if the prompt does not fit the first row.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    hide_key(options)
    tally: Tally = {}
    ask = Ask(prompt, system=system, into=field, schema=schema, raw=raw, reask=reask, tally=tally)
    source, drawn = varied(rows, samples, draw, cross, seed, options)
    source.try_first(ask.template.messages)
    if rows is not None and ask.template.is_the_same_for_all:
        names = ", ".join(source.first or {}) or "its fields"
        raise UsageError(
            f"the prompt is the same for every row; name a field in it, as in {{{{ field }}}} (a row has {names}). "
            "For the same prompt many times leave the rows out, and say -n"
        )

    async def one(row: Row, llm: RowCalls) -> Made:
        assert parse is not None
        made = await ask(row, llm)
        answer = made[field] if isinstance(made, dict) and ask.shape is None else made
        return beside(row, parse({**deepcopy(row.fields), "id": row.id}, answer))

    identity = {
        "job": "generate",
        **ask.identity,
        "samples": samples is not None and rows is not None,
        **({"parse": getattr(parse, "__name__", "function")} if parse is not None else {}),
        **drawn,
    }
    is_text = ask.shape is None and parse is None
    job = Job(
        "generate",
        identity,
        ask if parse is None else one,
        note=lambda: told(tally),
        writes=ask.writes if parse is None else (PARTS,),
        ending=ask.writes[-1] if is_text else "",
        may_be_many=parse is not None or (ask.shape is not None and ask.shape.is_list),
        tally=tally,
    )
    return run_job(job, source, options)


def beside(row: Row, made: Made) -> Made:
    """The fields that a `parse` made, which stand beside the row's own.

    Raises:
        ValueError: one of them is the row's own, with another value.
    """
    for each in made if isinstance(made, list) else [made]:
        own = row.fields.keys() & each.keys() - {"id"} if isinstance(each, dict) else ()
        if changed := [name for name in own if each[name] != row.fields[name]]:
            raise ValueError(f"parse changed the row's own field {min(changed)!r}: call what it makes otherwise")
    return made


def varied(
    rows: Rows,
    samples: int | None,
    draw: Variables | None,
    cross: Variables | None,
    seed: int,
    options: Options,
) -> tuple[Source, dict[str, Any]]:
    """The rows with their variables, and what a run that goes on must draw too.

    Raises:
        UsageError: rows or variables that cannot be used.
    """
    drawing = Draw(draw, seed) if draw else None
    source = Source(
        rows, samples=samples, id_field=options.get("id_field"), limit=options.get("limit"),
        crossing=combinations(cross) if cross else None, draw=drawing,
    )  # fmt: skip
    return source, {"draw": drawing.identity} if drawing is not None else {}


def told(tally: Tally) -> str:
    """What was counted, for the status line."""
    return " ".join(f"{what} {tally[what]}" for what in (RE_ASKED, DUPLICATES) if what in tally)
