"""What an export wrote, and what it left out."""

from pathlib import Path

import msgspec

from manycall.option_flags import option
from manycall.render import format_share, markdown_table
from manycall.run.result_views import ResultViews

MAX_LISTED_FIELDS = 8
"""Number of fields that were not written that the table lists by name."""


class ExportResult(ResultViews, msgspec.Struct, kw_only=True):
    """Result of `export`. Print it to show a table.

    Attributes:
        out: The exported output.
        files: The written files.
        rows: Number of rows in all files.
        prompt: The fields that became the prompt, or "the prompt that was sent"; None for the format "rows".
        answer: The field or fields that became the answer; None for the format "rows".
        reasoning: Number of rows with thinking text, which was written or left out as the option says.
        excluded: Number of rows left out by `exclude`.
        dropped: Number of dropped rows by reason: duplicates, contaminated.
        failed: Number of rows that failed in the run, and are therefore not in the output.
        truncated: Rows whose answer was truncated at max_tokens; None if no row has a finish reason.
        not_written: Fields of the rows that are not part of the format.
        notes: Fields that could not be written unchanged, with the reason.
        dataset_info: The file with the entry for LLaMA-Factory; None if it was not requested.
    """

    out: Path
    files: list[Path] = []
    rows: int = 0
    prompt: str | None = None
    answer: str | None = None
    reasoning: int = 0
    excluded: int = 0
    dropped: dict[str, int] = {}
    failed: int = 0
    truncated: int | None = None
    not_written: list[str] = []
    notes: list[str] = []
    dataset_info: Path | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Return the result as (label, value) pairs."""
        names = [str(path) for path in self.files]
        lines = [
            ("rows", f"{self.rows:,}"),
            ("excluded", f"{self.excluded:,}"),
            *((f"dropped: {reason}", f"{count:,}") for reason, count in self.dropped.items()),
            *([("failed in the run", f"{self.failed:,}")] if self.failed else []),
            ("truncated", format_share(self.truncated, self.rows)),
            *([("prompt", self.prompt)] if self.prompt is not None else []),
            *([("answer", self.answer)] if self.answer is not None else []),
            *([("with thinking text", format_share(self.reasoning, self.rows))] if self.reasoning else []),
            ("files", names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"),
            *([("entry in", str(self.dataset_info))] if self.dataset_info is not None else []),
        ]
        if self.not_written:
            lines.append(("not written", self._fields_not_written()))
        return [*lines, *(("converted", note) for note in self.notes)]

    def _fields_not_written(self) -> str:
        hidden = len(self.not_written) - MAX_LISTED_FIELDS
        more = f", and {hidden} more" if hidden > 0 else ""
        hint = f"({option('keep', 'NAME')} adds a field, {option('format', 'rows')} writes all)"
        return f"{', '.join(self.not_written[:MAX_LISTED_FIELDS])}{more} {hint}"

    def __str__(self) -> str:
        return markdown_table((str(self.out), ""), self.lines())
