"""A chain of steps for every row: generate, evolve, judge, keep. Each row goes through all of them by itself, so the
second step of one row begins while another's first is still on its way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import msgspec

from manycall.data.settings import settings
from manycall.data.sources import Rows, Source
from manycall.engine.calls import Tally
from manycall.engine.map import Job, Options, hide_key, run_job
from manycall.engine.report import Report
from manycall.engine.row import RowCalls
from manycall.errors import Rejected, UsageError
from manycall.records import Row
from manycall.synth.ask import REASK, chances
from manycall.synth.generate import Variables, told, varied
from manycall.synth.kinds import Compiled, Shared, Step, step

Chain = str | Path | Sequence[Step | Mapping[str, Any]]
"""A file (.toml, .json) with a list `steps`, or the list itself."""


class Recipe(msgspec.Struct, forbid_unknown_fields=True):
    """A file of steps, and the variables that it brings along."""

    steps: list[Any]
    draw: dict[str, Any] = {}
    cross: dict[str, Any] = {}
    seed: int = 0


def steps(
    chain: Chain,
    rows: Rows = None,
    *,
    samples: int | None = None,
    reask: int = REASK,
    draw: Variables | None = None,
    cross: Variables | None = None,
    seed: int | None = None,
    **options: Unpack[Options],
) -> Report:
    """Take each row through a chain of steps; what they make is written beside the row's own fields.

    A row that a step does not want goes to `<out>.run/rejected.jsonl`, with the reason and with what was made so far:
    done + rejected + failed = rows.

    Args:
        chain: the steps, or the file that has them, and perhaps `draw`, `cross` and `seed` too.
        rows: a path or mappings; None: rows without fields, `samples` of them.
        reask: how often an answer that does not fit is asked for again.
        samples, draw, cross, seed, options: see `manycall.generate`.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, or somebody interrupted; the same call goes on from there.
    """
    hide_key(options)
    recipe = _read(chain) if isinstance(chain, str | Path) else Recipe(list(chain))
    seeded = recipe.seed if seed is None else seed
    tally: Tally = {}
    shared = Shared(chances(reask), seeded, tally)
    compiled = [step(each, number).compiled(shared) for number, each in enumerate(recipe.steps, 1)]
    source, drawn = varied(
        rows, samples, {**recipe.draw, **(draw or {})}, {**recipe.cross, **(cross or {})}, seeded, options
    )
    _check(compiled, source)

    async def one(row: Row, llm: RowCalls) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for each in compiled:
            try:
                made |= await each.function(Row(row.id, {**row.fields, **made}), llm)
            except Rejected as why:
                why.fields = {**made, **why.fields}
                raise
        return made

    identity = {
        "job": "steps",
        "steps": [each.identity for each in compiled],
        "samples": samples is not None and rows is not None,
        "seed": seeded,
        **drawn,
    }
    writes = tuple(field for each in compiled for field in each.writes)
    return run_job(Job("steps", identity, one, note=lambda: told(tally), writes=writes, tally=tally), source, options)


def _read(path: str | Path) -> Recipe:
    try:
        return msgspec.convert(settings(Path(path)), Recipe)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}. It needs [[steps]], and may have [draw], [cross] and seed") from None


def _check(compiled: list[Compiled], source: Source) -> None:
    """What a step needs must be there before: in the rows, as the first one tells, or made by an earlier step.

    Raises:
        UsageError: it is not; or two steps write the same field, or one the row's name.
    """
    there, written = set(source.first or {}), set[str]()
    for number, each in enumerate(compiled, 1):
        if source.first is not None and (missing := each.needs - there):
            raise UsageError(f"step {number} needs {min(missing)!r}; there are {', '.join(sorted(there))}")
        if "id" in each.writes:
            raise UsageError(f"step {number} writes 'id', which names the row: call it otherwise")
        if twice := written & set(each.writes):
            raise UsageError(f"step {number} writes {min(twice)!r}, as one before it does: say `into`")
        there.update(each.writes)
        written.update(each.writes)
    if not compiled:
        raise UsageError("there are no steps")
