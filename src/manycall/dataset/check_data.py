"""Check a dataset: duplicates, truncated answers, lexical diversity, contamination with benchmarks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from manycall.dataset.answer_reader import AnswerReader
from manycall.dataset.chinese_spacing import remove_spacing
from manycall.dataset.contamination import DEFAULT_NGRAM_SIZE, ContaminationIndex
from manycall.dataset.dataset_rows import DatasetRows
from manycall.dataset.duplicates import Duplicates, NearDuplicates
from manycall.dataset.normalize import ngrams, words
from manycall.render import format_share, markdown_table
from manycall.run.result_views import ResultViews
from manycall.store.atomic_write import replace_file, storage_errors
from manycall.store.paths import check_writable

SAMPLE = 10_000
"""Maximum number of rows whose distinct n-grams are counted. The share of distinct n-grams falls with the number of
rows, so only samples of equal size can be compared."""
DUPLICATE = "duplicate: an earlier row has the same text, ignoring case, white space and punctuation"

TRUNCATED = "truncated: the text was truncated at max_tokens"


class DistinctNgrams:
    """distinct-n: the share of different n-grams among all n-grams (Li et al. 2016, "A Diversity-Promoting Objective
    Function for Neural Conversation Models")."""

    def __init__(self, n: int) -> None:
        self._n, self._total, self._distinct = n, 0, set[str]()

    def __repr__(self) -> str:
        return f"<distinct-{self._n} {self.share}>"

    def add(self, sequence: list[str]) -> None:
        """Count the n-grams of a text, given as its words."""
        pieces = list(ngrams(sequence, self._n))
        self._total += len(pieces)
        self._distinct.update(pieces)

    @property
    def share(self) -> float | None:
        """The share, from 0 to 1; None if there are no n-grams."""
        return round(len(self._distinct) / self._total, 4) if self._total else None


class BenchmarkMatches(msgspec.Struct):
    """Matches with one benchmark file.

    Attributes:
        file: Path of the benchmark file.
        items: Number of items in the file.
        found: Number of items found in the dataset.
        short: Number of items that are too short to search for.
    """

    file: str
    items: int
    found: int
    short: int


class DataCheck(ResultViews, msgspec.Struct, kw_only=True):
    """Result of `check_data`. Print it to show a table.

    Attributes:
        out: The checked output.
        field: Name of the checked field or fields.
        rows: Number of rows.
        duplicates: Rows whose text equals that of an earlier row, ignoring case, white space and punctuation.
        near_duplicates: Other rows whose text is similar to an earlier one; None if this was not checked.
        truncated: Rows whose answer was truncated at max_tokens; None if no row has a finish reason.
        distinct_1: Share of distinct words in `distinct_sample_rows` rows.
        distinct_2: Share of distinct word pairs in the same rows.
        distinct_sample_rows: Number of rows in which distinct words and pairs were counted, at most 10,000.
        contaminated: Rows that contain text of a benchmark item; None if no benchmark was given.
        benchmarks: Matches for each benchmark file.
        flagged_rows: Number of rows with any of these problems.
        flagged: File with the flagged rows and the reasons; None if it was not requested.
    """

    out: Path
    field: str
    rows: int = 0
    duplicates: int = 0
    near_duplicates: int | None = None
    truncated: int | None = None
    distinct_1: float | None = None
    distinct_2: float | None = None
    distinct_sample_rows: int = 0
    contaminated: int | None = None
    benchmarks: list[BenchmarkMatches] = []
    flagged_rows: int = 0
    flagged: Path | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Return the result as (label, value) pairs."""
        lines = [
            ("rows", f"{self.rows:,}"),
            ("duplicates", format_share(self.duplicates, self.rows)),
            ("truncated", format_share(self.truncated, self.rows)),
            ("distinct-1, -2", f"{self.distinct_1}, {self.distinct_2} in {self.distinct_sample_rows:,} rows"),
        ]
        if self.near_duplicates is not None:
            lines.insert(2, ("near duplicates", format_share(self.near_duplicates, self.rows)))
        if self.contaminated is not None:
            lines.append(("contaminated", format_share(self.contaminated, self.rows)))
        lines += [
            (match.file, f"{match.found:,} of {match.items:,} items found; {match.short:,} are too short to search for")
            for match in self.benchmarks
        ]
        if self.flagged is not None:
            lines.append(("flagged", f"{self.flagged_rows:,} rows in {self.flagged}"))
        return lines

    def __str__(self) -> str:
        return markdown_table((f"{self.out}: {self.field}", ""), self.lines())


def add_if_known(count: int | None, flag: bool | None) -> int | None:
    """Add 1 to a count if the flag is true. The count stays None until a flag is known."""
    return count if flag is None else (count or 0) + flag


def check_data(
    output: str | Path,
    *,
    text_field: str | None = None,
    near_duplicates: float | None = None,
    benchmarks: Sequence[str | Path] = (),
    ngram_size: int = DEFAULT_NGRAM_SIZE,
    flagged: str | Path | None = None,
) -> DataCheck:
    """Count the problems of an output. The output is not changed and no calls are made.

    Args:
        output: Output of `generate` or `map`, or another file of rows (.jsonl, .json, .csv, .tsv, .parquet, .arrow).
        text_field: Field to check. Default: the answer, see `AnswerReader`.
        near_duplicates: Also count near duplicates: texts that have at least this share of their 5-grams of words
            in common.
        benchmarks: Benchmark files. A row that shares `ngram_size` consecutive words with one of their items is
            contaminated.
        ngram_size: n-gram length that counts as contamination, in words.
        flagged: File for the rows with any problem, with the reasons. Pass it as `exclude` to `export` and
            `dataset_card` to leave these rows out.

    Raises:
        UsageError: A file cannot be read, a row does not have the field, or an extra is not installed.
    """
    rows = DatasetRows(output)
    answers = AnswerReader(rows.output, text_field)
    result = DataCheck(out=rows.output.path, field=answers.name)
    index = ContaminationIndex([Path(path) for path in benchmarks], ngram_size)
    near = NearDuplicates(near_duplicates) if near_duplicates is not None else None
    lines = _flagged_lines(rows, answers, result, near, index if benchmarks else None)
    if flagged is None:
        for _ in lines:
            pass
    else:
        result.flagged = check_writable(flagged, [*rows.output.reads, *map(Path, benchmarks)])
        with storage_errors(result.flagged):
            replace_file(result.flagged, lines)
    result.benchmarks = [
        BenchmarkMatches(file, items, len(index.found[file]), index.short[file]) for file, items in index.items.items()
    ]
    return result


def _flagged_lines(
    rows: DatasetRows,
    answers: AnswerReader,
    result: DataCheck,
    near: NearDuplicates | None,
    benchmarks: ContaminationIndex | None,
) -> Iterator[bytes]:
    """Yield a line for each flagged row, and write the counts to `result`."""
    duplicates, distinct = Duplicates(), (DistinctNgrams(1), DistinctNgrams(2))
    sample_every = sum(1 for _ in rows) // SAMPLE + 1
    result.near_duplicates = None if near is None else 0
    result.contaminated = None if benchmarks is None else 0
    for name, row in rows:
        row_id = row.get("id", name)
        text = answers.text(row)
        if result.rows % sample_every == 0:
            result.distinct_sample_rows += 1
            for counter in distinct:
                counter.add(words(text))
        result.rows += 1
        reasons = []
        if duplicates.add(remove_spacing(text)):
            reasons.append(DUPLICATE)
        elif near is not None and (similar_id := near.find(str(row_id), text)):
            result.near_duplicates = (result.near_duplicates or 0) + 1
            reasons.append(f"near duplicate: of {similar_id}")
        is_truncated = answers.is_truncated(row)
        result.truncated = add_if_known(result.truncated, is_truncated)
        if is_truncated:
            reasons.append(TRUNCATED)
        if benchmarks is not None and (match := benchmarks.find(row)):
            result.contaminated = (result.contaminated or 0) + 1
            reasons.append(f"contaminated: {match}")
        if reasons:
            result.flagged_rows += 1
            yield msgspec.json.encode({"id": row_id, "reason": "; ".join(reasons), "row": row}) + b"\n"
    result.duplicates = duplicates.count
    result.distinct_1, result.distinct_2 = (counter.share for counter in distinct)
