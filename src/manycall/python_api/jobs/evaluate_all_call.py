"""Several benchmarks with several models as one job."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.client.body_adapter import dropped_names
from manycall.data.prompt_template import PromptLike
from manycall.errors import ManycallError
from manycall.evals.eval_result import EvalResult
from manycall.evals.no_answer import NoAnswer
from manycall.evals.protocol_changes import sent_params
from manycall.evals.suite import SuitePair, TaskLike, suite_pairs
from manycall.evals.suite_result import SuiteResult, SuiteRun
from manycall.providers.prices import GivenPrice
from manycall.python_api import dispatch
from manycall.python_api.job_call import job_function
from manycall.records import Secret
from manycall.run.job_group import GroupMember
from manycall.run.options import (
    Reasoning,
    Retry,
    document_run_options,
    wrap_api_key,
)
from manycall.run.run_result import RunResult
from manycall.store.output_reader import OutputReader
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS

SHOWN_SETTINGS = ("temperature", "max_tokens", "max_completion_tokens", "thinking")
"""Settings of the calls that a table of scores shows."""


@job_function
@document_run_options
def evaluate_all(
    tasks: TaskLike | Sequence[TaskLike],
    models: str | Sequence[str],
    *,
    out: str | PathLike[str],
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
    dry_run: bool = False,
    retry: Retry | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> SuiteResult:
    """Ask the questions of several benchmarks with several models, all at the same time, and score the answers.

    >>> result = manycall.evaluate_all(
    ...     ["wordmath"], ["a", "b"], base_url="sim", out="results", limit=5, progress=False
    ... )
    >>> result.runs[1].model, result.runs[1].result.scored_rows
    ('b', 5)

    Runs with the same model share its connections and limits. The budgets and the time limit are those of all runs
    together. A run that stops does not stop the others; the same call finishes it.

    Args:
        tasks: names of benchmarks, `Task` objects, or files of rows with `question` and `answer`; or one of these.
        models: names of models at the endpoint, or one name.
        out: a folder. The output of a run is MODEL/TASK.jsonl in it.
        num_fewshot: number of few-shot examples. Default: that of each benchmark.
        prompt, scorer: for files of rows, see `evaluate`.
        samples: number of samples per question. Default: that of each benchmark.
        no_answer: "wrong" scores rows without an answer as 0, "exclude" leaves them out.
        (run options): see `manycall.run.options.RunOptions`.

    Returns:
        The scores of all runs, and why runs stopped.

    Raises:
        UsageError: an argument cannot be used; no call was made.
        Interrupted: the run was interrupted. The same call resumes it.
        StorageError: an output cannot be opened.
    """
    options = {
        "base_url": base_url, "endpoint": endpoint, "api_key": wrap_api_key(api_key), "plain_http": plain_http,
        "concurrency": concurrency, "timeout": timeout, "idle_timeout": idle_timeout, "temperature": temperature,
        "max_tokens": max_tokens, "params": params, "drop": drop, "thinking": thinking, "reasoning": reasoning,
        "limit": limit, "id_field": id_field, "max_total_tokens": max_total_tokens, "max_cost": max_cost,
        "price": price, "prices": prices, "max_time": max_time, "dry_run": dry_run, "retry": retry,
        "overwrite": overwrite, "progress": progress,
    }  # fmt: skip
    pairs = suite_pairs(
        tasks, models, options, out, samples=samples, num_fewshot=num_fewshot, prompt=prompt, scorer=scorer,
        no_answer=no_answer,
    )  # fmt: skip
    members = [GroupMember(pair.name, pair.job, pair.options) for pair in pairs]
    outcomes = dispatch.run_together(f"{len(pairs)} evaluations", members)
    runs = [_suite_run(pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]
    return SuiteResult(folder=Path(out), runs=runs)


def _suite_run(pair: SuitePair, outcome: RunResult | ManycallError) -> SuiteRun:
    result: EvalResult | None = None
    if not isinstance(outcome, ManycallError):
        try:
            result = pair.job.finish(outcome)
        except ManycallError as error:  # a row that cannot be scored again must not lose the tables of the other runs
            outcome = error
    sent = _sent_settings(pair, is_recorded=result is not None)
    return SuiteRun(
        task=pair.task, model=pair.model, out=Path(pair.options.out), samples=pair.samples,
        settings={name: str(sent[name]) for name in SHOWN_SETTINGS if name in sent},
        result=result, stopped=str(outcome) if isinstance(outcome, ManycallError) else "",
    )  # fmt: skip


def _sent_settings(pair: SuitePair, is_recorded: bool) -> dict[str, Any]:
    """Return the settings of a pair, with the parameters as they were sent if the output records that."""
    options, out = pair.options, Path(pair.options.out)
    given = {"temperature": options.temperature, "max_tokens": options.max_tokens}
    params = {**pair.job.params, **(options.params or {}), **{k: v for k, v in given.items() if v is not None}}
    if is_recorded and out.is_file():
        params = sent_params(OutputReader(out), params)
    dropped = dropped_names(options.drop)
    params = {name: value for name, value in params.items() if name not in dropped}
    thinking = {} if options.thinking is None else {"thinking": options.thinking}
    return {**pair.job.settings, **params, **thinking}
