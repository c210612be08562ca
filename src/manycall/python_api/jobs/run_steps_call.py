"""Several steps for each row."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.row_input import RowsLike
from manycall.providers.prices import GivenPrice
from manycall.python_api import dispatch
from manycall.python_api.job_call import job_function
from manycall.records import Secret
from manycall.run.options import (
    Reasoning,
    RunOptions,
    document_run_options,
    wrap_api_key,
)
from manycall.run.run_result import RunResult
from manycall.synth.generate import Variables
from manycall.synth.pipeline import StepsLike, steps_job
from manycall.synth.prompt_call import DEFAULT_REASK
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS


@job_function
@document_run_options
def run_steps(
    steps: StepsLike,
    rows: RowsLike = None,
    *,
    model: str = "",
    out: str | PathLike[str],
    samples: int | None = None,
    reask: int = DEFAULT_REASK,
    random_vars: Variables | None = None,
    grid_vars: Variables | None = None,
    seed: int | None = None,
    base_url: str | Sequence[str] | None = None,
    endpoint: str | None = None,
    api_key: str | Secret | None = None,
    plain_http: bool = False,
    concurrency: int | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    idle_timeout: float = DEFAULT_IDLE_TIMEOUT_SECONDS,
    temperature: float | None = None,
    max_tokens: int | None = None,
    params: Mapping[str, Any] | None = None,
    drop: str | Sequence[str] | None = None,
    thinking: str | int | None = None,
    reasoning: Reasoning = "separate",
    limit: int | None = None,
    id_field: str | None = None,
    max_total_tokens: int | None = None,
    max_cost: float | None = None,
    price: GivenPrice | None = None,
    prices: str | Path | None = None,
    max_time: str | float | None = None,
    from_: str | PathLike[str] | None = None,
    dry_run: bool = False,
    processes: int | str | None = None,
    cluster: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> RunResult:
    """Run several steps for each row: generate, evolve, judge, keep, assign.

    A row that a step rejects goes to `<out>.run/rejected.jsonl`, with the reason and the fields made so far.

    Args:
        steps: a list of steps (`manycall.steps`), or the path of a file with them (.toml, .json), which may also
            contain `random_vars`, `grid_vars` and `seed`.
        rows: a path (.jsonl, .json, .csv, .tsv, .parquet), an iterable or async iterable of mappings, or a data frame
            (pandas, polars).
            None: rows with an id only, `samples` of them.
        samples: number of samples per row, with the ids `id#0`, `id#1`, …
        reask: how often to ask again after an invalid answer.
        random_vars: variables chosen at random per row: name → list, file, weights or range (docs/generate.md).
        grid_vars: variables whose every combination each row gets.
        seed: seed of the random variables; None: the file's, or 0.
        (run options): see `manycall.run.options.RunOptions`.

    Returns:
        Counts, tokens and cost; `rows()` reads the output.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, a limit was reached, or the run was interrupted. The same call resumes it.
        StorageError: the files cannot be read or written.
    """
    api_key = wrap_api_key(api_key)
    options = RunOptions(
        model=model, out=out, base_url=base_url, endpoint=endpoint, api_key=api_key, plain_http=plain_http,
        concurrency=concurrency, timeout=timeout, idle_timeout=idle_timeout, temperature=temperature,
        max_tokens=max_tokens, params=params, drop=drop, thinking=thinking, reasoning=reasoning,
        limit=limit, id_field=id_field, max_total_tokens=max_total_tokens, max_cost=max_cost,
        price=price, prices=prices, max_time=max_time, from_=from_, dry_run=dry_run,
        processes=processes, cluster=cluster, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    job = steps_job(
        steps, rows, options, samples=samples, reask=reask, random_vars=random_vars, grid_vars=grid_vars, seed=seed
    )  # fmt: skip
    return dispatch.run(job, options)
