"""Pipelines of steps: generate, evolve, judge, keep, assign.

Each row passes through all steps independently, so the second step of one row may run while the first step of another
row is still running.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from manycall.data.config_files import read_config
from manycall.data.row_input import RowsLike
from manycall.data.row_source import RowSource
from manycall.errors import RowRejected, UsageError
from manycall.records import Row
from manycall.run.argument_types import with_checked_types
from manycall.run.input_rows import files_folder
from manycall.run.job import Job, read_earlier_settings
from manycall.run.options import RunOptions
from manycall.run.reask import ReaskCounts
from manycall.run.reasoning_field import ReasoningField, refuse_inline
from manycall.run.row_client import RowClient
from manycall.run.run_result import RunResult
from manycall.synth.call_checks import check_reask
from manycall.synth.generate import Variables, reask_note, source_with_variables
from manycall.synth.prompt_call import DEFAULT_REASK
from manycall.synth.step_base import CompiledStep, Step, StepContext
from manycall.synth.step_types import parse_step

StepsLike = str | Path | Sequence[Step | Mapping[str, Any]]
"""A file (.toml, .json) with a list `steps`, or the list itself."""


class StepsFile(msgspec.Struct, forbid_unknown_fields=True):
    """A file of steps with its variables."""

    steps: list[Any]
    random_vars: dict[str, Any] = {}
    grid_vars: dict[str, Any] = {}
    seed: int = 0


@with_checked_types
def steps_job(
    steps: StepsLike,
    rows: RowsLike,
    options: RunOptions,
    *,
    samples: int | None = None,
    reask: int = DEFAULT_REASK,
    random_vars: Variables | None = None,
    grid_vars: Variables | None = None,
    seed: int | None = None,
) -> Job[RunResult]:
    """Build the job of `manycall.run_steps`, which describes the arguments.

    Raises:
        UsageError: a step that is not valid, or needs a field that the rows do not have.
    """
    file = _read(steps) if isinstance(steps, str | Path) else StepsFile(list(steps))
    used_seed = file.seed if seed is None else seed
    counts: ReaskCounts = {}
    refuse_inline(options.reasoning, "later steps read the text.")
    earlier = partial(read_earlier_settings, options)
    context = StepContext(check_reask(reask), used_seed, counts, options.reasoning, earlier, files_folder(rows))
    compiled = [parse_step(each, number).compile(context) for number, each in enumerate(file.steps, 1)]
    source, variable_settings = source_with_variables(
        rows, samples, {**file.random_vars, **(random_vars or {})}, {**file.grid_vars, **(grid_vars or {})},
        used_seed, options,
    )  # fmt: skip
    _check(compiled, source)

    async def run_all_steps(row: Row, llm: RowClient) -> dict[str, Any]:
        results: dict[str, Any] = {}
        for each in compiled:
            try:
                results |= await each.function(Row(row.id, {**row.fields, **results}), llm)
            except RowRejected as rejection:
                raise rejection.replace(fields={**results, **rejection.fields}) from rejection.__cause__
        return results

    settings = {
        "job": "steps",
        "steps": [each.identity for each in compiled],
        "samples": samples is not None and rows is not None,
        "seed": used_seed,
        **ReasoningField("", options.reasoning).identity,
        **variable_settings,
    }
    return Job(
        name="steps",
        settings=settings,
        source=source,
        process_row=run_all_steps,
        finish=lambda result: result,
        status_note=lambda: reask_note(counts),
        output_fields=tuple(field for each in compiled for field in each.writes),
        other_finish_reasons=tuple(each.finish_reason_field for each in compiled if each.finish_reason_field),
        counts=counts,
        endpoints=tuple(dict.fromkeys(each.endpoint for each in compiled if each.endpoint)),
    )


def _read(path: str | Path) -> StepsFile:
    try:
        return msgspec.convert(read_config(Path(path)), StepsFile)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{path}: {error}. Expected [[steps]], and optionally [random_vars], [grid_vars] and seed."
        ) from None


def _check(compiled: list[CompiledStep], source: RowSource) -> None:
    """Check that the first row or an earlier step has the fields that each step needs.

    Raises:
        UsageError: a field is missing, two steps write the same field, or a step writes `id`.
    """
    available, written = set(source.first_row or {}), set[str]()
    for number, each in enumerate(compiled, 1):
        if source.first_row is not None and (missing := each.needs - available):
            raise UsageError(
                f"Step {number} uses the field {min(missing)!r}, which is not defined before it. "
                f"Defined: {', '.join(sorted(available))}."
            )
        if "id" in each.writes:
            raise UsageError(f"Step {number} writes 'id', which is reserved for the row id. Rename the field.")
        if duplicates := written & set(each.writes):
            raise UsageError(
                f"Step {number}: field {min(duplicates)!r} is already written by an earlier step. Set output_field."
            )
        available.update(each.writes)
        written.update(each.writes)
    if not compiled:
        raise UsageError("No steps are given. Add at least one step.")
