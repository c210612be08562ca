"""A vector for each row."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.row_input import RowsLike
from manycall.embedding.embed_job import embed_job
from manycall.providers.prices import GivenPrice
from manycall.python_api import dispatch
from manycall.python_api.job_call import job_function
from manycall.records import Secret
from manycall.run.options import (
    RunOptions,
    document_run_options,
    wrap_api_key,
)
from manycall.run.run_result import RunResult
from manycall.transport.messages import DEFAULT_TIMEOUT_SECONDS


@job_function
@document_run_options
def embed(
    rows: RowsLike,
    field: str = "text",
    *,
    model: str = "",
    out: str | PathLike[str],
    dimensions: int | None = None,
    batch_size: int | None = None,
    base_url: str | Sequence[str] | None = None,
    endpoint: str | None = None,
    api_key: str | Secret | None = None,
    plain_http: bool = False,
    concurrency: int | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
    params: Mapping[str, Any] | None = None,
    drop: str | Sequence[str] | None = None,
    limit: int | None = None,
    id_field: str | None = None,
    max_total_tokens: int | None = None,
    max_cost: float | None = None,
    price: GivenPrice | None = None,
    prices: str | Path | None = None,
    max_time: str | float | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> RunResult:
    """Embed the text of each row, several texts per call, and write the vectors in the order of the rows.

    >>> rows = [{"text": "tea"}, {"text": "rain"}]
    >>> result = manycall.embed(rows, base_url="sim", model="any", out="vectors.jsonl", progress=False)
    >>> tuple(len(row["embedding"]) for row in result.rows())
    (8, 8)

    Args:
        rows: a path (.jsonl, .json, .csv, .tsv, .parquet), a list of mappings, or a data frame (pandas, polars).
        field: the field with the text.
        dimensions: length of the vectors, for models that can shorten them. Default: the model's own.
        batch_size: most texts per call. Default: 64, or what the provider permits if that is less.
        (run options): see `manycall.run.options.RunOptions`.

    Returns:
        Counts, tokens and cost. `counts` has the number and the length of the vectors; `rows()` reads a .jsonl output.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, a limit was reached, or the run was interrupted. The same call resumes it.
        StorageError: the files cannot be read or written.
    """
    api_key = wrap_api_key(api_key)
    options = RunOptions(
        model=model, out=out, base_url=base_url, endpoint=endpoint, api_key=api_key,
        plain_http=plain_http,
        concurrency=concurrency, timeout=timeout, params=params, drop=drop, limit=limit, id_field=id_field,
        max_total_tokens=max_total_tokens, max_cost=max_cost, price=price, prices=prices, max_time=max_time,
        overwrite=overwrite, progress=progress,
    )  # fmt: skip
    return dispatch.run(embed_job(rows, options, field=field, dimensions=dimensions, batch_size=batch_size), options)
