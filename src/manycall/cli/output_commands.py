"""The verbs that read outputs. They make no calls."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from manycall.cli.flags import Data, Exclude, FailUnder, FewshotData, Json, NoAnswer, Price, Report, Scorer, TextField
from manycall.cli.print_result import print_and_exit, print_result, print_text
from manycall.errors import UsageError
from manycall.option_flags import option

DATASET = "An output of `manycall generate` or `run`."


def score(
    output: Annotated[Path, typer.Argument(help="An output of `manycall eval`, or samples of lm-eval.")],
    scorer: Scorer = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="FIELD", help="Also report scores grouped by this field.")
    ] = None,
    no_answer: NoAnswer = "wrong",
    fail_under: FailUnder = None,
    report: Report = None,
    json: Json = False,
) -> None:
    """Score an output again, without any call."""
    from manycall.cli.user_code import load_task
    from manycall.evals.rescore import score as rescore

    result = rescore(output, scorer=scorer and load_task(scorer), group_by=group_by, no_answer=no_answer)
    print_and_exit(result, json, fail_under=fail_under, report=report)


def compare(
    outputs: Annotated[
        list[Path],
        typer.Argument(
            help="Outputs of `manycall eval` or `judge`; the first is the base. A folder: rank the models of each task."
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="The score to compare: a filter, or a field (judge.score). Default: all."),
    ] = None,
    scorer: Scorer = None,
    allow_different: Annotated[
        list[str] | None,
        typer.Option("--allow-different", metavar="NAME", help="A setting that may differ: prompt, fewshot, ..."),
    ] = None,
    no_answer: NoAnswer = "wrong",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the rows that changed to this file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Compare although settings or questions differ.")] = False,
    report: Report = None,
    json: Json = False,
) -> None:
    """Compare runs on the same rows. How much better is one, and on which rows?"""
    from manycall.cli.user_code import load_task
    from manycall.comparison.compare_runs import compare as compare_runs
    from manycall.comparison.ranking import rank_models

    if outputs[0].is_dir():
        if scorer is not None or out is not None or len(outputs) > 1:
            raise UsageError(f"One folder is ranked, without {option('scorer')} and {option('out')}.")
        ranking = rank_models(
            outputs[0], metric=metric, allow_different=allow_different or (), no_answer=no_answer, force=force
        )
        print_and_exit(ranking, json, report=report)
        return
    result = compare_runs(
        *outputs, scorer=scorer and load_task(scorer), metric=metric, allow_different=allow_different or (),
        no_answer=no_answer, force=force, out=out,
    )  # fmt: skip
    print_and_exit(result, json, report=report)


def export_lm_eval(
    output: Annotated[Path, typer.Argument(help="An output of `manycall eval`.")],
    folder: Annotated[Path, typer.Argument(help="The folder to write to; lm-eval's --output_path.")],
    scorer: Scorer = None,
    data: Data = None,
    fewshot_data: FewshotData = None,
) -> None:
    """Write an output in the format of lm-evaluation-harness. The files are results_*.json and samples_*.jsonl."""
    from manycall.cli.user_code import load_task
    from manycall.evals.lm_eval.export_files import export_lm_eval as export_files

    paths = export_files(output, folder, scorer=scorer and load_task(scorer), data=data, fewshot_data=fewshot_data)
    print_text("\n".join(map(str, paths)))


def check_data(
    output: Annotated[Path, typer.Argument(help=DATASET)],
    text_field: TextField = None,
    near_duplicates: Annotated[
        float | None,
        typer.Option(
            "--near-duplicates",
            help="Also count rows with this share of their five-word n-grams in an earlier row: 0.7.",
        ),
    ] = None,
    benchmarks: Annotated[
        list[Path] | None, typer.Option("--benchmark", metavar="FILE", help="Look for n-grams of this benchmark.")
    ] = None,
    ngram_size: Annotated[
        int,
        typer.Option(
            "--ngram-size",
            help="Number of consecutive words that count as contamination. 30 Chinese characters count as 13 words.",
        ),
    ] = 13,
    flagged: Annotated[
        Path | None, typer.Option("--flagged", help="Write flagged rows to this file, with the reasons.")
    ] = None,
    json: Json = False,
) -> None:
    """Count duplicates and benchmark contamination in an output. Also count distinct n-grams."""
    from manycall.dataset.check_data import check_data as check

    result = check(
        output, text_field=text_field, near_duplicates=near_duplicates, benchmarks=benchmarks or (),
        ngram_size=ngram_size, flagged=flagged,
    )  # fmt: skip
    print_result(result, json)


def export(
    output: Annotated[Path, typer.Argument(help="An output, or another file of rows: .jsonl, .csv, .parquet, .arrow.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new file: .jsonl, .csv, .parquet or .arrow.")],
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="rows, messages, prompt-completion, sharegpt or alpaca; for pairs dpo, dpo-sharegpt or dpo-alpaca.",
        ),
    ] = "rows",
    prompt_field: Annotated[
        str | None, typer.Option("--prompt-field", help="The field with the prompt. Default: the prompt that was sent.")
    ] = None,
    text_field: TextField = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="FIELD", help="Also write this field. Repeatable.")
    ] = None,
    reasoning: Annotated[
        Literal["inline", "separate", "drop"] | None,
        typer.Option(
            "--reasoning",
            help="Thinking text: in <think> tags before the answer, in reasoning_content, or not written.",
        ),
    ] = None,
    in_order: Annotated[bool, typer.Option("--in-order", help="Write rows in the order of the input.")] = False,
    exclude: Exclude = None,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Write only the first of rows with the same prompt and answer.")
    ] = False,
    drop_contaminated: Annotated[
        list[Path] | None,
        typer.Option("--drop-contaminated", metavar="FILE", help="Leave out rows with text of this benchmark."),
    ] = None,
    shard_rows: Annotated[
        int | None, typer.Option("--shard-rows", help="Rows per file: data-00000-of-00010.parquet, ...")
    ] = None,
    dataset_info: Annotated[
        Path | None,
        typer.Option("--dataset-info", metavar="FILE", help="Add an entry to LLaMA-Factory's dataset_info.json."),
    ] = None,
    json: Json = False,
) -> None:
    """Write an output in another format or order, for training. It may be one file or several."""
    from manycall.dataset.export import export as write

    result = write(
        output, out, format=format, prompt_field=prompt_field, text_field=text_field, keep=keep or (),
        reasoning=reasoning, in_order=in_order, exclude=exclude or (), drop_duplicates=drop_duplicates,
        drop_contaminated=drop_contaminated or (), shard_rows=shard_rows, dataset_info=dataset_info,
    )  # fmt: skip
    print_result(result, json)


def dataset_card(
    output: Annotated[Path, typer.Argument(help=DATASET)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The card's file, e.g. README.md. Default: print the card.")
    ] = None,
    text_field: TextField = None,
    exclude: Exclude = None,
    data_files: Annotated[
        str | None,
        typer.Option("--data-files", metavar="PATTERN", help="The data files next to the card: 'data-*.parquet'."),
    ] = None,
    price: Price = None,
    json: Json = False,
) -> None:
    """Write a Hugging Face dataset card. It has model, prompt, counts, tokens, duplicates and failures."""
    from manycall.dataset.card import dataset_card as make_card

    card = make_card(
        output, out=out, text_field=text_field, exclude=exclude or (), data_files=data_files, price=price
    )  # fmt: skip
    if out is None or json:
        print_result(card, json)


def status(
    output: Annotated[Path, typer.Argument(help="The output of a run, which may belong to another process.")],
    json: Json = False,
) -> None:
    """Show how far a run is. Prints its status line, its newest failures and its newest row."""
    from manycall.run.run_status import run_status

    print_result(run_status(output), json)


def repair(
    output: Annotated[Path, typer.Argument(help="The output of a run that reports a corrupt file.")],
) -> None:
    """Move corrupt lines of a run aside, so that it can resume."""
    from manycall.store.repair import repair as move_aside

    print_text("\n".join(move_aside(output)))
