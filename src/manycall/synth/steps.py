"""A chain of steps for every row: generate, evolve, judge, keep. Each row goes through all of them by itself, so the
second step of one row begins while another's first is still on its way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from manycall.data.settings import settings
from manycall.data.sources import Rows
from manycall.engine.map import Job, Options, hide_key, run_job
from manycall.engine.report import Report
from manycall.engine.row import RowCalls
from manycall.errors import Rejected, UsageError
from manycall.records import Row
from manycall.synth.ask import REASK, Tally
from manycall.synth.generate import Variables, told, varied
from manycall.synth.kinds import Shared, Step, step

Chain = str | Path | Sequence[Step | Mapping[str, Any]]
"""A file (.toml, .json) with a list `steps`, or the list itself."""
_KEYS = {"steps", "draw", "cross", "seed"}


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
    recipe: dict[str, Any] = _read(chain) if isinstance(chain, str | Path) else {"steps": chain}
    seeded: int = recipe.get("seed", 0) if seed is None else seed
    drawing = {**recipe.get("draw", {}), **(draw or {})}
    crossing = {**recipe.get("cross", {}), **(cross or {})}
    tally: Tally = {}
    shared = Shared(reask, seeded, tally)
    compiled = [step(each, number).compiled(shared) for number, each in enumerate(recipe["steps"], 1)]
    if not compiled:
        raise UsageError("there are no steps")
    source, drawn = varied(rows, samples, drawing, crossing, seeded, options)

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


def _read(path: str | Path) -> dict[str, Any]:
    found = settings(Path(path))
    if unknown := found.keys() - _KEYS:
        raise UsageError(f"{path}: there is no {min(unknown)!r}; there are {', '.join(sorted(_KEYS))}")
    if not isinstance(found.get("steps"), list):
        raise UsageError(f"{path} has no steps: [[steps]] tables, each with what it does")
    return found
