"""The verbs that make calls: each passes its flags to the Python function of the same name."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import manycall
from manycall.cli.benchmark_list import print_benchmarks
from manycall.cli.flags import (
    Data,
    FailUnder,
    FewshotData,
    GridVars,
    Images,
    Json,
    NoAnswer,
    OptionalModel,
    RandomVars,
    Reask,
    Report,
    Samples,
    System,
    parse_variable_flags,
    with_run_flags,
)
from manycall.cli.print_result import print_and_exit
from manycall.errors import UsageError
from manycall.option_flags import option

TEMPLATE = "A Jinja template over a row's fields, or its file (.j2, .txt, .md; .toml: turns)."
ROWS = "Rows: .jsonl, .json, .csv, .tsv, .parquet, .arrow."


@with_run_flags()
def generate(
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", help=TEMPLATE)] = None,
    rows: Annotated[Path | None, typer.Argument(help=f"{ROWS} Without rows: the prompt, -n times.")] = None,
    messages: Annotated[
        str | None,
        typer.Option("--messages", metavar="FIELD", help="Send the messages in this field instead of a prompt."),
    ] = None,
    images: Images = None,
    system: System = None,
    samples: Samples = None,
    output_field: Annotated[
        str, typer.Option("--output-field", help="The field that the answer is written to.")
    ] = "text",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="PART",
            help="Also write this part of the reply: tool_calls, logprobs or refusal. Repeatable.",
        ),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", help="A JSON Schema (.json, .toml) that each answer must match.")
    ] = None,
    extract: Annotated[
        str | None,
        typer.Option(
            "--extract",
            metavar="REGEX",
            help="A regular expression. The first group of its last match becomes the output field, or its named "
            "groups become fields.",
        ),
    ] = None,
    reask: Reask = 2,
    api: Annotated[
        Literal["chat", "completions"],
        typer.Option("--api", help="completions: send the prompt as plain text, without a chat template."),
    ] = "chat",
    random_vars: RandomVars = None,
    grid_vars: GridVars = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random variables.")] = 0,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Write one text for each row, or -n texts for one prompt."""
    result = manycall.generate(
        prompt, rows, messages=messages, images=images or (), system=system, samples=samples,
        output_field=output_field, keep=keep or (), schema=schema, extract=extract, reask=reask, api=api,
        random_vars=parse_variable_flags(random_vars), grid_vars=parse_variable_flags(grid_vars), seed=seed, **options,
    )  # fmt: skip
    print_and_exit(result, json)


@with_run_flags(exclude={"retry"})
def steps(
    file: Annotated[
        Path, typer.Argument(help="A file of steps (.toml, .json): generate, evolve, judge, keep, assign.")
    ],
    rows: Annotated[Path | None, typer.Argument(help=f"{ROWS} Without rows: -n rows with an id only.")] = None,
    samples: Samples = None,
    reask: Reask = 2,
    random_vars: RandomVars = None,
    grid_vars: GridVars = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of the random variables. Default: the file's, or 0.")
    ] = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Run several steps for each row: generate, judge, keep.

    Other steps are messages, evolve and assign. Rejected rows go to a separate file.
    """
    result = manycall.run_steps(
        file, rows, samples=samples, reask=reask, random_vars=parse_variable_flags(random_vars),
        grid_vars=parse_variable_flags(grid_vars), seed=seed, **options,
    )  # fmt: skip
    print_and_exit(result, json)


@with_run_flags(exclude={"model"})
def evaluate(
    tasks: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK...", help="gsm8k, aime25, ...; or your own: rows (.jsonl, .csv, ...) or FILE.py:task."
        ),
    ],
    models: Annotated[
        list[str],
        typer.Option("-m", "--model", help="The model's name at the endpoint. Several: every task with each of them."),
    ],
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="For your own rows: a Jinja template. Default: the question.")
    ] = None,
    scorer: Annotated[
        str | None,
        typer.Option(
            "--scorer",
            help="For your own rows: exact, numeric, choice, letter-logprob, boxed, last-integer, regex:PATTERN.",
        ),
    ] = None,
    data: Data = None,
    fewshot_data: FewshotData = None,
    num_fewshot: Annotated[
        int | None,
        typer.Option("--num-fewshot", help="Few-shot examples before each question. Default: that of the benchmark."),
    ] = None,
    samples: Samples = None,
    no_answer: NoAnswer = "wrong",
    fail_under: FailUnder = None,
    report: Report = None,
    *,
    json: Json = False,
    list_: Annotated[
        bool, typer.Option("--list", is_eager=True, callback=print_benchmarks, help="List the benchmarks and exit.")
    ] = False,
    **options: Any,
) -> None:
    """Ask the questions of a benchmark and score the answers.

    With several tasks or models, -o names a folder, and all of them run at the same time under common limits.
    """
    from manycall.cli.user_code import load_task

    loaded = [load_task(task) for task in tasks]
    shared = dict(
        prompt=prompt, scorer=scorer, num_fewshot=num_fewshot, samples=samples, no_answer=no_answer, **options
    )  # fmt: skip
    result: Any
    if len(loaded) == len(models) == 1 and not Path(options["out"]).is_dir():
        result = manycall.evaluate(loaded[0], model=models[0], data=data, fewshot_data=fewshot_data, **shared)
    else:
        single = {"data": data, "fewshot_data": fewshot_data}
        single |= {name: shared.pop(name) for name in ("from_", "processes", "cluster")}
        for name, value in single.items():
            if value is not None:
                raise UsageError(f"{option(name, value)} is for one task and one model, and an output that is a file.")
        result = manycall.evaluate_all(loaded, models, **shared)
    print_and_exit(result, json, fail_under=fail_under, report=None if options["dry_run"] else report)


@with_run_flags(exclude={"reasoning", "retry"})
def run(
    function: Annotated[str, typer.Argument(help="FILE.py:function, an async function of (row, llm).")],
    rows: Annotated[Path, typer.Argument(help=ROWS)],
    samples: Samples = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Run your own async function for each row. It may make any number of calls."""
    from manycall.cli.user_code import load_function

    print_and_exit(manycall.map(load_function(function), rows, samples=samples, **options), json)


@with_run_flags(exclude={"model", "id_field", "reasoning", "retry"})
def run_batch(
    requests: Annotated[Path, typer.Argument(help="A file of OpenAI Batch requests (.jsonl).")],
    model: OptionalModel = None,
    samples: Samples = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Run the requests of an OpenAI Batch file. -m is the model of requests that do not name one."""
    print_and_exit(manycall.run_batch(requests, model=model, samples=samples, **options), json)


@with_run_flags(exclude={"dry_run"})
def judge(
    answers: Annotated[Path, typer.Argument(help="An output of `manycall eval` or `generate`, or any rows.")],
    rubric: Annotated[str, typer.Option("--rubric", help=TEMPLATE)],
    scale: Annotated[str | None, typer.Option("--scale", help="A range of whole numbers. Default: 1-5.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Verdicts instead: good,bad, or with numbers: right=1,wrong=0.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Another output with the same ids: which answer is better?")
    ] = None,
    both_orders: Annotated[
        bool,
        typer.Option(
            "--both-orders/--no-both-orders", help="Show the two answers in both orders, or in one chosen at random."
        ),
    ] = True,
    samples: Samples = None,
    system: System = None,
    images: Images = None,
    output_field: Annotated[
        str, typer.Option("--output-field", help="The field that the verdict is written to.")
    ] = "judge",
    report: Report = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Let a model judge answers by a rubric. With --against, it compares the answers of two runs."""
    result = manycall.judge(
        answers, rubric, scale=scale, labels=labels, against=against, both_orders=both_orders, samples=samples,
        system=system, images=images or (), output_field=output_field, **options,
    )  # fmt: skip
    print_and_exit(result, json, report=report)


@with_run_flags(
    exclude={
        "cluster", "dry_run", "from_", "idle_timeout", "max_tokens", "processes", "reasoning", "retry", "temperature",
        "thinking",
    }
)  # fmt: skip
def embed(
    rows: Annotated[Path, typer.Argument(help=ROWS)],
    field: Annotated[str, typer.Option("--field", help="The field with the text.")] = "text",
    dimensions: Annotated[
        int | None,
        typer.Option("--dimensions", help="Length of the vectors, for models that can shorten them."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", help="Most texts per call. Default: 64, or what the provider permits if that is less."
        ),
    ] = None,
    *,
    json: Json = False,
    **options: Any,
) -> None:
    """Embed the text of each row, several texts per call. OUT (.parquet, .npy, .jsonl) has the order of the rows."""
    result = manycall.embed(rows, field, dimensions=dimensions, batch_size=batch_size, **options)
    print_and_exit(result, json)
