"""A user's async function for each row."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.row_input import RowsLike
from manycall.providers.prices import GivenPrice
from manycall.python_api import dispatch
from manycall.python_api.job_call import job_function
from manycall.records import Secret
from manycall.run.map_rows import UserFunction, map_job
from manycall.run.options import (
    RunOptions,
    document_run_options,
    wrap_api_key,
)
from manycall.run.run_result import RunResult
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS


@job_function
@document_run_options
def map(
    function: UserFunction,
    rows: RowsLike,
    *,
    model: str = "",
    out: str | PathLike[str],
    samples: int | None = None,
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
    """Run your own async function for each row.

    >>> async def grade(row, llm):
    ...     draft = await llm.chat(row["question"])
    ...     verdict = await llm.chat(f"Is this right? {draft.text}")
    ...     return {"draft": draft.text, "verdict": verdict.text}
    >>> result = manycall.map(
    ...     grade, [{"question": "6 times 7?"}], base_url="sim", model="any", out="graded.jsonl", progress=False
    ... )
    >>> result.done, result.calls
    (1, 2)

    A function that raises fails its row; the others continue. Its completed calls are kept, so after a fix of the
    function the row is finished without paying again. `raise manycall.errors.RowRejected("reason")` drops a row.

    Args:
        function: gets the row's fields (with `id`) and an `LLM` with `chat`, `complete` and `embed`, and may call as
            often as it likes. The fields that it returns are written next to the row's own.
        rows: a path (.jsonl, .json, .csv, .tsv, .parquet), an iterable or async iterable of mappings, or a data frame
            (pandas, polars).
        samples: number of samples per row, with the ids `id#0`, `id#1`, …
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
        max_tokens=max_tokens, params=params, drop=drop, thinking=thinking,
        limit=limit, id_field=id_field, max_total_tokens=max_total_tokens, max_cost=max_cost,
        price=price, prices=prices, max_time=max_time, from_=from_, dry_run=dry_run,
        processes=processes, cluster=cluster, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    return dispatch.run(map_job(function, rows, options, samples=samples), options)
