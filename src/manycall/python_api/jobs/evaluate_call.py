"""One benchmark with one model."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.prompt_template import PromptLike
from manycall.evals.eval_result import EvalResult
from manycall.evals.evaluate import evaluate_job
from manycall.evals.no_answer import NoAnswer
from manycall.evals.tasks.task import Task
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
def evaluate(
    task: str | PathLike[str] | Task,
    *,
    model: str = "",
    out: str | PathLike[str],
    data: str | PathLike[str] | None = None,
    fewshot_data: str | PathLike[str] | None = None,
    num_fewshot: int | None = None,
    prompt: PromptLike | None = None,
    scorer: str | None = None,
    samples: int | None = None,
    no_answer: NoAnswer = "wrong",
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
    retry: Retry | None = None,
    processes: int | str | None = None,
    cluster: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> EvalResult:
    """Ask a model the questions of a benchmark and score its answers.

    >>> result = manycall.evaluate("wordmath", limit=20, base_url="sim", model="any", out="math.jsonl", progress=False)
    >>> result.score("strict-match").count
    20
    >>> print(result)
    | task     | filter ...

    Args:
        task: the name of a benchmark ("gsm8k"), a `Task`, or a file of rows with `question` and `answer`.
        data: a local file of questions, instead of the one that is downloaded.
        fewshot_data: a local file of solved examples, instead of the one that is downloaded.
        num_fewshot: number of few-shot examples before each question. Default: that of the benchmark.
        prompt: for a file of your own: the prompt (default: the question).
        scorer: for a file of your own: "exact", "numeric", "choice", "letter-logprob", "boxed", "last-integer" or
            "regex:PATTERN".
        samples: how often each question is asked.
        no_answer: "wrong" scores rows without an answer as 0, "exclude" leaves them out of the scores (see `score`).
        (run options): see `manycall.run.options.RunOptions`.

    Returns:
        The scores of all rows in the output, earlier sessions included; after a dry run only `run`.

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
        price=price, prices=prices, max_time=max_time, from_=from_, dry_run=dry_run, retry=retry,
        processes=processes, cluster=cluster, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    job = evaluate_job(
        task, options, data=data, fewshot_data=fewshot_data, num_fewshot=num_fewshot, prompt=prompt, scorer=scorer,
        samples=samples, no_answer=no_answer,
    )  # fmt: skip
    return dispatch.run(job, options)
