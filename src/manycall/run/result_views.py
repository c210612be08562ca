"""Views that all results share: HTML for notebooks, a dict as in `--json`, rows, data frames."""

from collections.abc import Iterator
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.store.jsonl import read_lines
from manycall.store.paths import finished_rows_path, run_folder_path
from manycall.terminal import sanitize

_READERS = {".npy": "numpy.load", ".parquet": "pyarrow.parquet.read_table"}


class ResultViews:
    """A result that can be printed, shown in a notebook, and turned into a dict."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Return the printed tables for a notebook."""
        return f"<pre>{escape(sanitize(str(self)))}</pre>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the tables in IPython's terminal."""
        printer.text(sanitize(str(self)))

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints, as a dict."""
        encoded = msgspec.json.encode(self, enc_hook=str)
        return msgspec.json.decode(encoded, type=dict[str, Any])


class RecordViews(ResultViews):
    """A result of records, which can be iterated over and turned into a data frame."""

    __slots__ = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as dicts."""
        return self._records()

    def _records(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the result."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """Return the rows as a pandas DataFrame.

        Raises:
            UsageError: pandas is not installed.
        """
        return _library("pandas", "to_pandas").DataFrame.from_records(list(self._records()))

    def to_polars(self) -> Any:
        """Return the rows as a polars DataFrame.

        Raises:
            UsageError: polars is not installed.
        """
        polars = _library("polars", "to_polars")
        return polars.DataFrame(list(self._records()), infer_schema_length=None)


def _library(name: str, method: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"{method}() needs {name}, which is not installed. Run: pip install {name}") from None


class OutputViews(RecordViews):
    """A result with an output file. Rows are read from the files one at a time."""

    __slots__ = ()
    out: Path

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the finished rows.

        Raises:
            UsageError: the output does not exist, or has another format than JSON lines.
        """
        if self.out.suffix != ".jsonl" and finished_rows_path(self.out) != self.out:
            raise UsageError(
                f"{self.out} has no JSON lines. Read it with {_READERS.get(self.out.suffix, 'its library')}."
            )
        if not self.out.is_file():
            raise UsageError(f"{self.out}: file not found.")
        return self._lines(self.out)

    def failures(self) -> Iterator[dict[str, Any]]:
        """Yield the failed rows: id, kind, error, …"""
        return self._lines(run_folder_path(self.out) / "failures.jsonl")

    def rejected_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rejected rows, with the reason."""
        return self._lines(run_folder_path(self.out) / "rejected.jsonl")

    def _records(self) -> Iterator[dict[str, Any]]:
        return self.rows()

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """Yield the lines of a file. The iterator keeps the result, and with it a temporary folder of its output."""
        for _, line in read_lines(path):
            yield msgspec.json.decode(line)
