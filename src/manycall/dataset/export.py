"""Export an output for training: another format, order, file type or number of files."""

from collections.abc import Callable, Iterator, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import NamedTuple

from manycall.dataset.answer_reader import AnswerReader
from manycall.dataset.check_data import add_if_known
from manycall.dataset.dataset_files import check_suffix, writer_for
from manycall.dataset.dataset_info import DatasetInfo
from manycall.dataset.dataset_rows import DatasetRows
from manycall.dataset.example_reader import ExampleReader
from manycall.dataset.export_result import ExportResult
from manycall.dataset.row_converter import Converter, TrainingRows, UnchangedRows
from manycall.dataset.row_filter import RowFilter
from manycall.dataset.shards import check_no_stale_shards, replace_all, shard_paths
from manycall.dataset.training_example import ReasoningPlace, UnsuitableRow
from manycall.dataset.training_formats import TRAINING_FORMATS
from manycall.dataset.training_images import TrainingImages
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields
from manycall.run.input_rows import files_folder
from manycall.store.atomic_write import naming_target, storage_errors
from manycall.store.paths import check_writable


def export(
    output: str | Path,
    out: str | Path,
    *,
    format: str = "rows",
    prompt_field: str | None = None,
    text_field: str | None = None,
    keep: Sequence[str] = (),
    reasoning: ReasoningPlace | None = None,
    in_order: bool = False,
    exclude: Sequence[str | Path] = (),
    drop_duplicates: bool = False,
    drop_contaminated: Sequence[str | Path] = (),
    shard_rows: int | None = None,
    dataset_info: str | Path | None = None,
) -> ExportResult:
    """Write an output, or any other file of rows, in another format, order or file type.

    >>> result = manycall.generate("Hi", samples=3, base_url="sim", model="any", out="hi.jsonl", progress=False)
    >>> manycall.export("hi.jsonl", "train.jsonl", format="messages").rows
    3

    The rows are read twice. One group of rows is in memory at a time, and one byte per row; `in_order` needs another 22
    bytes per row, `drop_duplicates` 10.

    Args:
        output: Output of `generate` or `map`, or another file of rows (.jsonl, .json, .csv, .tsv, .parquet, .arrow).
        out: File to write. Its suffix selects the file type: .jsonl, .csv, .parquet or .arrow. An existing file is
            replaced.
        format: "rows" (unchanged), "messages" (OpenAI, TRL), "prompt-completion" (TRL), "sharegpt", "alpaca"; for
            preference pairs "dpo" (TRL), "dpo-sharegpt" or "dpo-alpaca" (LLaMA-Factory).
        prompt_field: Field with the prompt, as text or messages. With "instruction", the field `input` belongs to it.
            Default: the prompt that was sent, or a field of a training row, see `ExampleReader`.
        text_field: Field with the answer. A value that is not text is written as JSON. Default: the answer of the run,
            or a field of a training row.
        keep: Fields of the row to write in addition to those of the format.
        reasoning: Where thinking text is written: "inline" in `<think>` tags before the answer, "separate" in the field
            `reasoning_content` of the message, "drop" nowhere. Required if the rows have thinking text.
        in_order: Write the rows in the order of the input instead of the order in which they finished.
        exclude: Files of flagged rows (see `check_data`). These rows are left out.
        drop_duplicates: Write only the first of equal rows. Rows are equal if their prompts and answers are (with the
            format "rows": their answers), ignoring case, white space and punctuation.
        drop_contaminated: Benchmark files. Rows with text of one of their items are left out (see `check_data`).
        shard_rows: Rows per file. `data.parquet` becomes data-00000-of-00010.parquet, ...
        dataset_info: LLaMA-Factory's dataset_info.json, to which an entry for the file is added.

    Raises:
        UsageError: A file cannot be read or written, a row does not have a field that the format needs, it is ambiguous
            which fields are meant, or the folder contains other files of the same dataset.
    """
    path = Path(out)
    check_suffix(path)
    _check_format(format, keep, path)
    rows = DatasetRows(output, exclude, in_order=in_order)
    info = None if dataset_info is None else _dataset_info(dataset_info, path, format, shard_rows)
    answers = AnswerReader(rows.output, text_field)
    result = ExportResult(out=rows.output.path, excluded=rows.excluded(), failed=rows.output.failed)
    examples = _example_reader(answers, rows, format, prompt_field, text_field)
    converter: Converter = UnchangedRows(answers)
    if examples is not None:
        result.prompt, result.answer = examples.prompt_name, examples.answer_name
        form, for_llama_factory = TRAINING_FORMATS[format], info is not None
        images = TrainingImages(files_folder(rows.output.path), path, form.has_image_placeholders, for_llama_factory)
        converter = TrainingRows(
            examples, form, keep=keep, images=images, reasoning=reasoning, for_csv=path.suffix == ".csv",
            for_llama_factory=for_llama_factory,
        )  # fmt: skip
    row_filter = RowFilter(drop_duplicates=drop_duplicates, benchmarks=drop_contaminated)
    chosen = _choose_rows(rows, converter, row_filter, answers, result)
    reads = [*rows.output.reads, *map(Path, drop_contaminated)]
    result.files = [check_writable(each, reads) for each in shard_paths(path, result.rows, shard_rows)]
    check_no_stale_shards(path, result.files)
    result.notes = _write(chosen, result.files, shard_rows)
    if info is not None:
        info.save(chosen.columns)
        result.dataset_info = info.path
    return result


class _Chosen(NamedTuple):
    """The rows that are written, as often as they are needed, and the names of their columns."""

    rows: Callable[[], Iterator[Fields]]
    columns: list[str]


def _choose_rows(
    rows: DatasetRows, converter: Converter, row_filter: RowFilter, answers: AnswerReader, result: ExportResult
) -> _Chosen:
    """Convert every row once to decide which are written. Put the counts into `result`."""
    kept, columns, lost = bytearray(), dict[str, None](), dict[str, None]()
    for named in rows:
        converted = converter.convert(named)
        is_kept = not row_filter.is_dropped(named[1], converted.compared)
        kept.append(is_kept)
        if is_kept:
            columns.update(dict.fromkeys(converted.fields))
            lost.update(dict.fromkeys(converter.lost_fields(named[1], converted)))
            result.reasoning += converted.has_thinking
            result.truncated = add_if_known(result.truncated, answers.is_truncated(named[1]))
    result.rows, result.dropped, result.not_written = sum(kept), dict(row_filter.dropped), sorted(lost)

    def written() -> Iterator[Fields]:
        for named in compress(rows, kept):
            fields = converter.convert(named).fields
            yield fields if len(fields) == len(columns) else converter.with_columns(fields, columns)

    return _Chosen(written, list(columns))


def _write(chosen: _Chosen, paths: list[Path], shard_rows: int | None) -> list[str]:
    """Write all files or none. Return notes on fields that cannot be written unchanged."""
    write, notes = writer_for(paths[0], chosen.rows, chosen.columns)
    remaining = chosen.rows()
    with replace_all(paths) as temporary_paths:
        for path, temporary in zip(paths, temporary_paths, strict=True):
            with storage_errors(path), naming_target(path):
                write(temporary, islice(remaining, shard_rows))
    return notes


def _check_format(format: str, keep: Sequence[str], path: Path) -> None:
    if format == "rows":
        if keep:
            raise UsageError(f"{option('format', 'rows')} writes every field. Omit {option('keep')}.")
    elif format not in TRAINING_FORMATS:
        raise UsageError(f"Unknown {option('format', format)}. Available formats: rows, {', '.join(TRAINING_FORMATS)}.")
    elif path.suffix == ".csv" and TRAINING_FORMATS[format].has_lists:
        without = [name for name, form in TRAINING_FORMATS.items() if not form.has_lists]
        raise UsageError(
            f"{option('format', format)} has lists of messages, which CSV cannot hold. Write .jsonl, .parquet or "
            f".arrow, or use {' or '.join(option('format', name) for name in without)}."
        )


def _dataset_info(info: str | Path, path: Path, format: str, shard_rows: int | None) -> DatasetInfo:
    if shard_rows is not None:
        raise UsageError(f"{option('dataset_info')} describes one file. Omit {option('shard_rows')}.")
    return DatasetInfo(info, path, format)


def _example_reader(
    answers: AnswerReader, rows: DatasetRows, format: str, prompt_field: str | None, text_field: str | None
) -> ExampleReader | None:
    """Return the reader for the examples of a training format; None for the format "rows" or if there are no rows."""
    first = next(iter(rows), None)
    if format == "rows" or first is None:
        return None
    name, row = first
    is_pair = TRAINING_FORMATS[format].is_pair
    try:
        return ExampleReader(answers, row, is_pair=is_pair, prompt_field=prompt_field, text_field=text_field)
    except UnsuitableRow as problem:
        raise UsageError(f"{name} {problem}") from None
