"""The requests of an OpenAI Batch file."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.batch.batch_file import batch_job, batch_model
from manycall.providers.prices import GivenPrice
from manycall.python_api import dispatch
from manycall.python_api.job_call import job_function
from manycall.records import Secret
from manycall.run.argument_types import check_types
from manycall.run.options import (
    RunOptions,
    document_run_options,
    wrap_api_key,
)
from manycall.run.run_result import RunResult
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS


@job_function
@document_run_options
def run_batch(
    requests: str | PathLike[str],
    *,
    out: str | PathLike[str],
    model: str | None = None,
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
    """Run the requests of an OpenAI Batch file, and write the responses in the format of Batch outputs.

    Each request is sent with its own model and parameters.

    Args:
        requests: lines of custom_id, method, url and body; the url ends in /chat/completions, /completions or
            /embeddings.
        samples: number of samples per request: `custom_id#0`, `custom_id#1`, …
        (run options): see `manycall.run.options.RunOptions`.

    Returns:
        Counts, tokens and cost; `rows()` reads the output.

    Raises:
        UsageError: before any call.
        RunStopped: no call can succeed, a limit was reached, or the run was interrupted. The same call resumes it.
        StorageError: the files cannot be read or written.
    """
    api_key = wrap_api_key(api_key)
    check_types({"requests": requests, "model": model, "limit": limit})
    options = RunOptions(
        model=batch_model(Path(requests), model or "", limit), out=out, base_url=base_url, endpoint=endpoint,
        api_key=api_key,
        plain_http=plain_http,
        concurrency=concurrency, timeout=timeout, idle_timeout=idle_timeout, temperature=temperature,
        max_tokens=max_tokens, params=params, drop=drop, thinking=thinking,
        limit=limit, max_total_tokens=max_total_tokens, max_cost=max_cost,
        price=price, prices=prices, max_time=max_time, from_=from_, dry_run=dry_run,
        processes=processes, cluster=cluster, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    return dispatch.run(batch_job(requests, options, samples=samples), options)
