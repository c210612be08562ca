"""One text for each row."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from manycall.data.answer_schema import SchemaLike
from manycall.data.prompt_template import PromptLike
from manycall.data.row_input import RowsLike
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
from manycall.run.run_result import RunResult
from manycall.synth.call_checks import TextApi
from manycall.synth.generate import Parse, Variables, generate_job
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
