"""Generation: one prompt per row; the answer becomes a text field or the fields of a schema."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from manycall.data.answer_schema import SchemaLike
from manycall.data.brace_hint import brace_hint
from manycall.data.prompt_template import PromptLike
from manycall.data.row_input import RowsLike
from manycall.data.row_prompt import RowPrompt
from manycall.data.row_source import RowSource
from manycall.data.variable_values import VariableSpec
from manycall.data.variables import VariableSampler, make_grid
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields, Row, RowOutput
from manycall.run.argument_types import with_checked_types
from manycall.run.input_rows import files_folder, open_rows
from manycall.run.job import Job, read_earlier_settings
from manycall.run.options import RunOptions
from manycall.run.reask import REASK_COUNTS, ReaskCounts
from manycall.run.reasoning_field import add_to_first, refuse_inline
from manycall.run.row_client import RowClient
from manycall.run.run_result import RunResult
from manycall.store.row_parts import PARTS, SAMPLE_MARK, PartsLayout
from manycall.synth.call_checks import TextApi, check_form
from manycall.synth.prompt_call import DEFAULT_REASK, DUPLICATE_REASON, MISSING_CHOICES, PromptCall
from manycall.synth.reply_fields import parse_keep

Parse = Callable[[dict[str, Any], Any], RowOutput]
"""parse(row, text), or parse(row, value) with a schema. Returns the fields of the output row, or a list of such."""
Variables = Mapping[str, VariableSpec]
"""Name of the variable → its values (data/variables.py, data/variable_values.py)."""


@with_checked_types
def generate_job(
    prompt: PromptLike | None,
    rows: RowsLike,
    options: RunOptions,
    *,
    messages: str | None = None,
    images: Sequence[str] = (),
    samples: int | None = None,
    system: str | None = None,
    output_field: str = "text",
    schema: SchemaLike | None = None,
    extract: str | None = None,
    parse: Parse | None = None,
    keep: str | Sequence[str] = (),
    api: TextApi = "chat",
    reask: int = DEFAULT_REASK,
    random_vars: Variables | None = None,
    grid_vars: Variables | None = None,
    seed: int = 0,
) -> Job[RunResult]:
    """Build the job of `manycall.generate`, which describes the arguments.

    Raises:
        UsageError: an argument is not valid, or the prompt cannot be rendered for the first row.
    """
    counts: ReaskCounts = {}
    choices, kept = requested_choices(options), parse_keep(keep)
    sent = RowPrompt(prompt, messages=messages, system=system, images=images, folder=files_folder(rows))
    call = PromptCall(
        sent, output_field=output_field, schema=schema, extract=extract, api=api, reask=reask,
        reasoning=options.reasoning, keep=kept, choices=choices, counts=counts,
        earlier_settings=partial(read_earlier_settings, options),
    )  # fmt: skip
    if parse is not None:
        refuse_inline(options.reasoning, "parse does not get thinking text.")
        check_form(choices, kept)
    if choices > 1 and rows is not None and samples is not None:
        raise UsageError(
            f"The parameter n makes several samples of each row. Omit {option('samples')}, or use it without n."
        )
    source, variable_settings = source_with_variables(
        rows, samples, random_vars, grid_vars, seed, options, check=sent.check_row if messages is not None else None
    )
    source.check_first_row(sent.messages)
    if rows is not None and sent.is_constant:
        fields = source.first_row or {}
        add = f" Add a field, for example {{{{ field }}}} (a row has {', '.join(fields) or 'its fields'})."
        raise UsageError(
            f"The prompt does not use any field of the rows.{brace_hint(sent.text, fields) or add} "
            f"To run one prompt many times, omit the rows and pass {option('samples')}."
        )

    async def generate_and_parse(row: Row, llm: RowClient) -> RowOutput:
        assert parse is not None
        answer, reply = await call.answer(row, llm)
        made = check_unchanged_fields(row, parse({**deepcopy(row.fields), "id": row.id}, answer))
        result: RowOutput = add_to_first(made, call.reply_fields(reply))
        return result

    settings = {
        "job": "generate",
        **call.identity,
        **call.thinking.identity,
        "samples": (samples is not None and rows is not None) or choices > 1,
        **({"parse": getattr(parse, "__name__", "function")} if parse is not None else {}),
        **variable_settings,
    }
    return Job(
        name="generate",
        settings=settings,
        source=source,
        process_row=call.process_row if parse is None else generate_and_parse,
        finish=lambda result: result,
        status_note=lambda: reask_note(counts),
        output_fields=call.writes if parse is None else (PARTS, *call.thinking.writes, *call.parts.writes),
        finish_reason_field=call.finish_reason_field if parse is None and choices == 1 else "",
        other_finish_reasons=(call.finish_reason_field,) if choices > 1 else (),
        layout=PartsLayout(SAMPLE_MARK) if choices > 1 else None,
        takes_choices=True,
        rows_may_split=parse is not None or call.may_split,
        counts=counts,
    )


def requested_choices(options: RunOptions) -> int:
    """Return the number of answers to one call: the parameter `n`.

    Raises:
        UsageError: it is not a number of at least 1.
    """
    choices = (options.params or {}).get("n", 1)
    if isinstance(choices, bool) or not isinstance(choices, int) or choices < 1:
        raise UsageError(f"The parameter n must be a number of at least 1, not {choices!r:.100}.")
    return choices


def check_unchanged_fields(row: Row, made: RowOutput) -> RowOutput:
    """Return the result of a `parse` function if it keeps the values of the row's own fields.

    Raises:
        ValueError: it changes the value of a field of the row.
    """
    for each in made if isinstance(made, list) else [made]:
        own = row.fields.keys() & each.keys() - {"id"} if isinstance(each, dict) else ()
        if changed := [name for name in own if each[name] != row.fields[name]]:
            raise ValueError(
                f"The parse function changed the field {min(changed)!r} of the row. "
                "Return the new value under another name."
            )
    return made


def source_with_variables(
    rows: RowsLike,
    samples: int | None,
    random_vars: Variables | None,
    grid_vars: Variables | None,
    seed: int,
    options: RunOptions,
    *,
    check: Callable[[Fields], object] | None = None,
) -> tuple[RowSource, dict[str, Any]]:
    """Return the rows with their variables, and the settings that a resumed run must share.

    Args:
        check: see `RowSource`.

    Raises:
        UsageError: the rows or the variables are not valid.
    """
    sampler = VariableSampler(random_vars, seed) if random_vars else None
    grid = make_grid(grid_vars) if grid_vars else None
    source = open_rows(rows, options, samples=samples, grid=grid, sampler=sampler, check=check)
    return source, {"random_vars": sampler.identity} if sampler is not None else {}


def reask_note(counts: ReaskCounts) -> str:
    """Return the numbers of reasked, duplicate and missing answers for the status line."""
    return " ".join(
        f"{what} {counts[what]}" for what in (REASK_COUNTS, DUPLICATE_REASON, MISSING_CHOICES) if what in counts
    )
