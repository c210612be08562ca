"""Export an output for training: another format, order, file type or number of files."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from manycall.dataset.answer_reader import AnswerReader
from manycall.dataset.check_data import add_if_known
from manycall.dataset.input_order import offsets_in_input_order
from manycall.dataset.parquet import ParquetColumns
from manycall.dataset.shards import check_no_stale_shards, replace_all, shard_paths
from manycall.dataset.training_formats import FORMATS_WITH_THINKING, TRAINING_FORMATS, keep_fields, messages_in
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.records import Fields
from manycall.render import format_share, markdown_table
from manycall.run.result_views import ResultViews
from manycall.store.atomic_write import naming_target, replace_file, storage_errors
from manycall.store.output_reader import OutputReader
from manycall.store.paths import check_writable

MAX_LISTED_FIELDS = 8
"""Number of fields that were not written that the table lists by name."""
Rows = Callable[[], Iterator[Fields]]
Write = tuple[Callable[[Path, Iterable[Fields]], None], list[str]]
"""(a function that writes rows to a file, notes on fields that cannot be written unchanged)."""


class ExportResult(ResultViews, msgspec.Struct, kw_only=True):
    """Result of `export`. Print it to show a table.

    Attributes:
        out: The exported output.
        files: The written files.
        rows: Number of rows in all files.
        excluded: Number of rows left out by `exclude`.
        truncated: Rows whose answer was truncated at max_tokens; None if no row has a finish reason.
        not_written: Fields of the rows that are not part of the format.
        notes: Fields that could not be written unchanged, with the reason.
    """

    out: Path
    files: list[Path]
    rows: int
    excluded: int
    truncated: int | None = None
    not_written: list[str] = []
    notes: list[str] = []

    def lines(self) -> list[tuple[str, str]]:
        """Return the result as (label, value) pairs."""
        names = [str(path) for path in self.files]
        lines = [
            ("rows", f"{self.rows:,}"),
            ("excluded", f"{self.excluded:,}"),
            ("truncated", format_share(self.truncated, self.rows)),
            ("files", names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"),
        ]
        if self.not_written:
            more = (
                f", and {len(self.not_written) - MAX_LISTED_FIELDS} more"
                if len(self.not_written) > MAX_LISTED_FIELDS
                else ""
            )
            fields = f"{', '.join(self.not_written[:MAX_LISTED_FIELDS])}{more}"
            hint = f"({option('keep', 'NAME')} adds a field, {option('format', 'rows')} writes all)"
            lines.append(("not written", f"{fields} {hint}"))
        return [*lines, *(("converted", note) for note in self.notes)]

    def __str__(self) -> str:
        return markdown_table((str(self.out), ""), self.lines())


def export(
    output: str | Path,
    out: str | Path,
    *,
    format: str = "rows",
    prompt_field: str | None = None,
    text_field: str | None = None,
    keep: Sequence[str] = (),
    in_order: bool = False,
    exclude: Sequence[str | Path] = (),
    shard_rows: int | None = None,
) -> ExportResult:
    """Write an output in another format, order or file type.

    >>> result = manycall.generate("Hi", samples=3, base_url="sim", model="any", out="hi.jsonl", progress=False)
    >>> manycall.export("hi.jsonl", "train.jsonl", format="messages").rows
    3

    One row group is in memory at a time; `in_order` needs another 22 bytes per row.

    Args:
        output: Output of `generate` or `map`.
        out: File to write. Its suffix selects the file type: .jsonl or .parquet. An existing file is replaced.
        format: "rows" (unchanged), "messages" (OpenAI, TRL), "sharegpt", "alpaca" or "dpo" (for rows with the fields
            `chosen` and `rejected`).
        prompt_field: Field with the prompt, as text or messages. Default: the template of the run is rendered again.
        text_field: Field with the answer. A value that is not text is written as JSON. Default: see `AnswerReader`.
        keep: Fields of the row to write in addition to those of the format. The field with the thinking text becomes
            `reasoning_content` of the message, or in the ShareGPT and Alpaca formats a part of the answer in `<think>`
            tags. With `prompt_field`, the Alpaca format always includes the field `input`.
        in_order: Write the rows in the order of the input instead of the order in which they finished.
        exclude: Files of flagged rows (see `check_data`). These rows are left out.
        shard_rows: Rows per file. `data.parquet` becomes data-00000-of-00010.parquet, ...

    Raises:
        UsageError: A file cannot be read or written, a row does not have a field that the format needs, or the folder
            contains other files of the same dataset.
    """
    reader, path = OutputReader(output, exclude), Path(out)
    total = sum(1 for _ in reader.row_offsets())
    _suffix(path)
    paths = [check_writable(shard, reader.reads) for shard in shard_paths(path, total, shard_rows)]
    check_no_stale_shards(path, paths)
    result = ExportResult(out=reader.path, files=paths, rows=total, excluded=reader.excluded_counts().total())
    answers = AnswerReader(reader, text_field)
    convert = _converter(answers, format, prompt_field, keep)
    not_written: set[str] = set()
    used = {*answers.fields, *keep, prompt_field, *(("chosen", "rejected") if format == "dpo" else ())}
    offsets = array("Q", offsets_in_input_order(reader)) if in_order else None

    def rows() -> Iterator[Fields]:
        return (row for _, row in reader.rows()) if offsets is None else reader.read_at(offsets)

    def convert_and_count(row: Fields) -> Fields:
        result.truncated = add_if_known(result.truncated, answers.is_truncated(row))
        converted = convert(row)
        not_written.update(name for name, value in row.items() if name not in used and converted.get(name) != value)
        return converted

    write, result.notes = WRITERS[_suffix(path)](lambda: map(convert, rows()))
    converted_rows = map(convert_and_count, rows())
    with replace_all(paths) as temporary_paths:
        for path, temporary in zip(paths, temporary_paths, strict=True):
            with storage_errors(path), naming_target(path):
                write(temporary, islice(converted_rows, shard_rows))
    result.not_written = sorted(name for name in not_written if not name.endswith("_finish_reason"))
    return result


def _converter(
    answers: AnswerReader, format: str, prompt_field: str | None, keep: Sequence[str]
) -> Callable[[Fields], Fields]:
    """Return the function that converts a row to the format."""
    if format == "rows":
        if keep:
            raise UsageError(f"{option('format', 'rows')} writes every field. Omit {option('keep')}.")
        return lambda row: row
    if format not in TRAINING_FORMATS:
        raise UsageError(f"Unknown {option('format', format)}. Available formats: rows, {', '.join(TRAINING_FORMATS)}.")
    to_format = TRAINING_FORMATS[format]
    has_thinking = format in FORMATS_WITH_THINKING and answers.thinking_field in keep
    keep = [name for name in keep if not (has_thinking and name == answers.thinking_field)]
    keeps_input = format == "alpaca" and prompt_field is not None and "input" not in keep

    def convert(row: Fields) -> Fields:
        answers.must_be_text(row)
        prompt = messages_in(row, prompt_field) if prompt_field is not None else answers.prompt_messages(row)
        thought = str(row.get(answers.thinking_field, "")) if has_thinking else ""
        kept_fields = [*keep, "input"] if keeps_input and "input" in row else keep
        return keep_fields(to_format(row, prompt, answers, thought), row, kept_fields)

    return convert


def _suffix(path: Path) -> str:
    if path.suffix not in WRITERS:
        raise UsageError(f"{option('out', str(path))} must end in {' or '.join(WRITERS)}.")
    return path.suffix


def _jsonl(rows: Rows) -> Write:
    encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
    return lambda path, selected: replace_file(path, (encode(row) + b"\n" for row in selected)), []


def _parquet(rows: Rows) -> Write:
    columns = ParquetColumns(rows())
    return columns.write, columns.notes


WRITERS: dict[str, Callable[[Rows], Write]] = {".jsonl": _jsonl, ".parquet": _parquet}
