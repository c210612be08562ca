"""The jobs as synchronous functions. Each builds a job and runs it.

Every function lists the options of `RunOptions` as keywords; a test compares the two.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.batch.batch_file import batch_job, batch_model
from manycall.data.answer_schema import SchemaLike
from manycall.data.prompt_template import PromptLike
from manycall.data.row_input import RowsLike
from manycall.embedding.embed_job import embed_job
from manycall.evals.eval_result import EvalResult
from manycall.evals.evaluate import evaluate_job
from manycall.evals.no_answer import NoAnswer
from manycall.evals.tasks.task import Task
from manycall.judging.judge import judge_job
from manycall.judging.judge_result import JudgeResult
from manycall.providers.prices import GivenPrice
from manycall.python_api import dispatch
from manycall.python_api.job_call import job_function
from manycall.records import Secret
from manycall.run.map_rows import UserFunction, map_job
from manycall.run.options import (
    Reasoning,
    Retry,
    RunOptions,
    document_run_options,
    wrap_api_key,
)
from manycall.run.run_result import RunResult
from manycall.synth.call_checks import TextApi
from manycall.synth.generate import Parse, Variables, generate_job
from manycall.synth.pipeline import StepsLike, steps_job
from manycall.synth.prompt_call import DEFAULT_REASK
from manycall.transport.messages import DEFAULT_IDLE_TIMEOUT_SECONDS, DEFAULT_TIMEOUT_SECONDS


@job_function
@document_run_options
def generate(
    prompt: PromptLike | None = None,
    rows: RowsLike = None,
    *,
    model: str = "",
    out: str | PathLike[str],
    messages: str | None = None,
    images: Sequence[str] = (),
    samples: int | None = None,
    system: str | None = None,
    schema: SchemaLike | None = None,
    extract: str | None = None,
    parse: Parse | None = None,
    keep: str | Sequence[str] = (),
    output_field: str = "text",
    reask: int = DEFAULT_REASK,
    api: TextApi = "chat",
    random_vars: Variables | None = None,
    grid_vars: Variables | None = None,
    seed: int = 0,
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
) -> RunResult:
    """Write one text for each row, next to the row's own fields.

    >>> rows = [{"topic": "tea"}, {"topic": "rain"}]
    >>> result = manycall.generate(
    ...     "A story about {{ topic }}.", rows, base_url="sim", model="any", out="stories.jsonl", progress=False
    ... )
    >>> result.done, sorted(row["topic"] for row in result.rows())
    (2, ['rain', 'tea'])

    Args:
        prompt: a Jinja template over a row's fields ("Tell a story about {{ topic }}."), the path of one (.j2, .jinja,
            .txt, .md) or of several turns (.toml, .json), messages that contain templates, or a function of the
            row's fields that returns a text or messages.
        rows: a path (.jsonl, .json, .csv, .tsv, .parquet), an iterable or async iterable of mappings, or a data frame
            (pandas, polars).
            None: the prompt alone, `samples` times.
        messages: the field with the messages to send, instead of a prompt: a list of `role` and `content`, or of
            ShareGPT's `from` and `value`.
        images: fields with images, which are put before the text of the last user message: paths (relative to the file
            of the rows), URLs, bytes, objects with `bytes` or `path`, or lists of these.
        samples: number of samples per row, with the ids `id#0`, `id#1`, …
        system: a template for the system message.
        schema: the JSON Schema that each answer must match (a file, a dict, or a msgspec or pydantic type). Its
            properties become the row's fields. Of a list, each item becomes a row: `id/0`, `id/1`, …
        extract: a regular expression. The first group of its last match becomes the text, or its named groups become
            fields.
        parse: `parse(row, text)`, or `parse(row, value)` with a schema, returns the fields to keep, or a list of such,
            one per output row. It must not change the row's own fields.
        keep: parts of the reply that are written too, if it has them: "tool_calls", "logprobs", "refusal". The fields
            are `<output_field>_tool_calls`, ...
        output_field: the field that the text is written to; its finish reason goes to `<output_field>_finish_reason`.
        reask: how often to ask again after an answer that does not match the schema or the regular expression.
        api: "completions" sends the prompt as plain text, without a chat template.
        random_vars: variables chosen at random per row: name → list, file, weights or range (docs/generate.md).
        grid_vars: variables whose every combination each row gets.
        seed: seed of the random variables.
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
        price=price, prices=prices, max_time=max_time, from_=from_, dry_run=dry_run, retry=retry,
        processes=processes, cluster=cluster, overwrite=overwrite, progress=progress,
    )  # fmt: skip
    job = generate_job(
        prompt, rows, options, messages=messages, images=images, samples=samples, system=system,
            output_field=output_field, schema=schema, keep=keep,
        extract=extract, parse=parse, api=api, reask=reask, random_vars=random_vars, grid_vars=grid_vars, seed=seed,
    )  # fmt: skip
    return dispatch.run(job, options)


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
