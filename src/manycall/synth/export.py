"""An output in another order, shape and format: what one trains on."""

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from manycall.engine.report import Printable, table
from manycall.errors import StoreError, UsageError
from manycall.records import Fields
from manycall.store.lines import write_whole
from manycall.store.output import Output, may_write
from manycall.synth.answers import Answers
from manycall.synth.columns import Columns
from manycall.synth.order import in_order as ordered
from manycall.synth.quality import added, share
from manycall.synth.shapes import SHAPES, keep_fields, messages_in

MOST_NAMES = 8
"""Field names in the report's list of fields that were not written."""
Rows = Callable[[], Iterator[Fields]]
Write = tuple[Callable[[Path, Iterable[Fields]], None], list[str]]
"""Writes a file of some rows; and what there is to say of that beforehand."""


class Exported(Printable, msgspec.Struct, kw_only=True):
    """What was written. `print` it for a table.

    Attributes:
        rows: in all files together. left_out: rows of the output that were rejected.
        truncated: of the rows, those whose answer was cut at max_tokens; None if none tells.
        not_written: fields of the rows that the shape has no place for.
        notes: fields that could not be written as they are, and why.
    """

    out: Path
    files: list[Path]
    rows: int
    left_out: int
    truncated: int | None = None
    not_written: list[str] = []
    notes: list[str] = []

    def lines(self) -> list[tuple[str, str]]:
        """What there is to say, as (what, how much)."""
        names = [str(path) for path in self.files]
        lines = [
            ("rows", f"{self.rows:,}"),
            ("left out", f"{self.left_out:,}"),
            ("truncated", share(self.truncated, self.rows)),
            ("files", names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"),
        ]
        if self.not_written:
            more = f", and {len(self.not_written) - MOST_NAMES} more" if len(self.not_written) > MOST_NAMES else ""
            fields = f"{', '.join(self.not_written[:MOST_NAMES])}{more}"
            lines.append(("not written", f"{fields} (--keep NAME writes a field too, --as rows all)"))
        return [*lines, *(("not as it is", note) for note in self.notes)]

    def __str__(self) -> str:
        return table((str(self.out), ""), self.lines())


def export(
    out: str | Path,
    to: str | Path,
    *,
    shape: str = "rows",
    prompt: str | None = None,
    field: str | None = None,
    keep: Sequence[str] = (),
    in_order: bool = False,
    without: Sequence[str | Path] = (),
    shard_rows: int | None = None,
) -> Exported:
    """Write an output in another shape, order or format.

    >>> report = manycall.generate("Hi", samples=3, url="sim", model="any", out="hi.jsonl", progress=False)
    >>> manycall.export("hi.jsonl", "train.jsonl", shape="messages").rows
    3

    Memory use is that of one row group; with `in_order`, 22 bytes a row more.

    Args:
        out: what `generate` or `run` wrote.
        to: the file; its ending says how: .jsonl or .parquet. One that is there is replaced.
        shape: "rows" (as they are), "messages" (OpenAI, TRL), "sharegpt", "alpaca" or "dpo" (rows with the fields
            `chosen` and `rejected`).
        prompt: the field that holds what was asked, a text or messages (default: the run's template is rendered again).
        field: the one that holds the answer; one that is no text is written as JSON (default: see `Answers`).
        keep: fields of the row to write next to the fields of the shape. With `prompt`, Alpaca's `input` is kept
            without being named.
        in_order: in the order of the input, instead of that in which rows finished.
        without: files of rejects (see `quality`), whose rows are left out.
        shard_rows: in one file; `data.parquet` becomes data-00000-of-00010.parquet, ...

    Raises:
        UsageError: a file that cannot be read or written, a row that does not have what the shape needs, or other
            pieces of the same dataset in that folder.
    """
    output, to = Output(out, without), Path(to)
    total = sum(1 for _ in output.places())
    paths = [may_write(path, output.reads) for path in shards(to, total, shard_rows)]
    _no_others(to, paths)
    done = Exported(out=output.path, files=paths, rows=total, left_out=output.left_out().total())
    answers = Answers(output, field)
    shaped = _shaped(answers, shape, prompt, keep)
    not_written: set[str] = set()
    used = {*answers.fields, prompt, *(("chosen", "rejected") if shape == "dpo" else ())}
    offsets = array("Q", ordered(output)) if in_order else None

    def rows() -> Iterator[Fields]:
        return (row for _, row in output.rows()) if offsets is None else output.at(offsets)

    def counted(row: Fields) -> Fields:
        done.truncated = added(done.truncated, answers.is_cut(row))
        made = shaped(row)
        not_written.update(name for name, value in row.items() if name not in used and made.get(name) != value)
        return made

    write, done.notes = WRITERS[_ending(to)](lambda: map(shaped, rows()))
    each = map(counted, rows())
    with _all_or_none(paths) as scratch:
        for path in scratch:
            write(path, islice(each, shard_rows))
    done.not_written = sorted(name for name in not_written if not name.endswith("_finish_reason"))
    return done


@contextmanager
def _all_or_none(paths: list[Path]) -> Iterator[list[Path]]:
    """Other names to write to. Half a dataset looks like a whole one: they become the files when all are written, and
    if anything goes wrong before, what was there stays."""
    scratch = [path.with_name(path.name + ".new") for path in paths]
    try:
        yield scratch
        for new, path in zip(scratch, paths, strict=True):
            new.replace(path)
    except BaseException as error:
        for new in scratch:
            new.unlink(missing_ok=True)
            new.with_name(new.name + ".new").unlink(missing_ok=True)  # of write_whole
        if isinstance(error, OSError):
            raise StoreError(f"{error.filename or paths[0]} could not be written: {error.strerror or error}") from None
        raise


def _shaped(answers: Answers, shape: str, prompt: str | None, keep: Sequence[str]) -> Callable[[Fields], Fields]:
    if shape == "rows":
        if keep:
            raise UsageError("--as rows writes every field: leave out --keep")
        return lambda row: row
    if shape not in SHAPES:
        raise UsageError(f"--as {shape!r} is none of rows, {', '.join(SHAPES)}")
    make, has_input = SHAPES[shape], shape == "alpaca" and prompt is not None and "input" not in keep

    def shaped(row: Fields) -> Fields:
        answers.must_be_text(row)
        asked = messages_in(row, prompt) if prompt is not None else answers.asked(row)
        kept = [*keep, "input"] if has_input and "input" in row else keep
        return keep_fields(make(row, asked, answers), row, kept)

    return shaped


def shards(path: Path, rows: int, shard_rows: int | None) -> list[Path]:
    """The names of the files, as the hub knows them: data-00000-of-00010.parquet.

    Raises:
        UsageError: less than one row in a file, or more files than the names have room for.
    """
    _ending(path)
    if shard_rows is None:
        return [path]
    if shard_rows < 1:
        raise UsageError(f"--shard-rows must be at least 1, not {shard_rows}")
    count = max(1, -(-rows // shard_rows))
    if count > 99_999:
        raise UsageError(f"--shard-rows {shard_rows} makes {count:,} files: give them more rows")
    return [path.with_name(f"{path.stem}-{n:05}-of-{count:05}{path.suffix}") for n in range(count)]


def _no_others(to: Path, paths: list[Path]) -> None:
    """What is left of the same dataset in other pieces would be loaded along with these.

    Raises:
        UsageError: there is such a file; nothing is removed that somebody may want.
    """
    shard = re.compile(re.escape(to.stem) + r"-\d{5}-of-\d{5}" + re.escape(to.suffix))
    for other in sorted({*to.parent.iterdir()} - {*paths}):
        if other == to or shard.fullmatch(other.name):
            raise UsageError(f"{other} would be loaded along with these: move it away, or choose another name")


def _ending(path: Path) -> str:
    if path.suffix not in WRITERS:
        raise UsageError(f"-o {str(path)!r} must end in {' or '.join(WRITERS)}")
    return path.suffix


def _jsonl(rows: Rows) -> Write:
    encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
    return lambda path, some: write_whole(path, (encode(row) + b"\n" for row in some)), []


def _parquet(rows: Rows) -> Write:
    columns = Columns(rows())
    return columns.write, columns.notes


WRITERS: dict[str, Callable[[Rows], Write]] = {".jsonl": _jsonl, ".parquet": _parquet}
