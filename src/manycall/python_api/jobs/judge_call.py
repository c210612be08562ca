"""Judge finished answers."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.prompt_template import PromptLike
from manycall.data.row_input import RowsLike
from manycall.judging.judge import judge_job
from manycall.judging.judge_result import JudgeResult
from manycall.providers.prices import GivenPrice
from manycall.python_api import dispatch
from manycall.python_api.job_call import job_function
from manycall.records import Secret
from manycall.run.options import (
    Reasoning,
    Retry,
    RunOptions,
    document_run_options,
    wrap_api_key,
)
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS


@job_function
@document_run_options
def judge(
    answers: RowsLike,
    rubric: PromptLike,
    *,
    model: str = "",
    out: str | PathLike[str],
    against: str | PathLike[str] | None = None,
    scale: str | None = None,
    labels: str | Sequence[str] | Mapping[str, float | None] | None = None,
    both_orders: bool = True,
    system: str | None = None,
    images: Sequence[str] = (),
    samples: int | None = None,
    output_field: str = "judge",
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
    retry: Retry | None = None,
    processes: int | str | None = None,
    cluster: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> JudgeResult:
    """Let a model judge answers, and write its verdict next to each answer.

    A reply without a readable verdict is asked for once more, with the reason; then the row fails ("invalid").

    Args:
        answers: an output of `evaluate` or `generate`, or any rows.
        rubric: a Jinja template over a row's fields, without the format of the verdict, which is added. With `against`
            it names both rows: {{ first.response }} and {{ second.response }}; a field that is equal in both can be
            named alone: {{ question }}. Or the name of a built-in rubric: "simpleqa", "chinese_simpleqa".
        against: another output with the same ids. The judge answers A, B or tie.
        scale: a range of whole numbers; default "1-5".
        labels: verdicts instead of a scale: "good,bad", or with numbers "right=1,partly=0.5,wrong=0", or a mapping.
        both_orders: show the two answers in both orders; one wins only if it wins both (Zheng et al. 2023,
            arXiv:2306.05685). False: in one order, chosen by a hash of the row's id.
        system: a template for the system message.
        images: fields with images that the judge sees, see `generate`.
        samples: how often each row is judged, to measure the judge's agreement with itself.
        output_field: the field that the verdict is written to.
        (run options): see `manycall.run.options.RunOptions`.

    Returns:
        Verdicts and scores of all rows in the output, earlier sessions included.

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
        price=price, prices=prices, max_time=max_time, from_=from_, retry=retry,
        processes=processes, cluster=cluster, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    job = judge_job(
        answers, rubric, options, against=against, scale=scale, labels=labels, both_orders=both_orders,
        samples=samples, system=system, images=images, output_field=output_field,
    )  # fmt: skip
    return dispatch.run(job, options)
