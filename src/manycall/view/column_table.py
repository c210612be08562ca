"""The small columns of a file in SQLite, in a temporary database without a name. Texts stay in the file."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from manycall import clock
from manycall.view.query_turns import QueryTurns
from manycall.view.replies import ViewRefused
from manycall.view.row_columns import Column, ColumnType

QUERY_SECONDS = 1.0
CACHE_KIB = 16 << 10
BYTES_PER_ROW = 100
"""More than a row of ten columns takes."""
_PROGRESS_STEPS = 10_000
_AFFINITY: dict[ColumnType, str] = {"text": "text", "category": "text", "number": "numeric", "boolean": "numeric"}
TOO_SLOW, INTERRUPTED = "The query took too long.", "interrupted"
Collected = TypeVar("Collected")


class ColumnTable:
    """A table with one row for each line of a file. One query at a time; `query` goes before `patient_query`.

    Args:
        expected_rows: about how many rows there will be.

    Attributes:
        columns: the columns by name.
        turns: whose query comes next.

    Raises:
        ViewRefused: there is too little space for temporary files.
    """

    def __init__(self, columns: Iterable[Column], expected_rows: int) -> None:
        if shutil.disk_usage(tempfile.gettempdir()).free < BYTES_PER_ROW * expected_rows:
            raise ViewRefused(507, "There is too little space for the index.", f"Free some in {tempfile.gettempdir()}.")
        self.columns = {column.name: column for column in columns}
        self.turns = QueryTurns()
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=off", "synchronous=off", f"cache_size=-{CACHE_KIB}", "temp_store=file"):
            self._database.execute(f"pragma {pragma}")
        listed = "".join(f", c{n} {_AFFINITY[column.type]}" for n, column in enumerate(self.columns.values()))
        self._database.execute(f"create table lines (n integer primary key{listed})")
        self._database.execute("create table hits (search integer, n integer, primary key (search, n)) without rowid")

    def expression(self, name: str) -> str:
        """Return a column as SQL."""
        return f"c{list(self.columns).index(name)}"

    def insert(self, first: int, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert the values of consecutive lines."""
        marks = ", ?" * len(self.columns)
        with self.turns.take(patient=True):
            self._database.execute("begin")
            self._database.executemany(
                f"insert into lines values (?{marks})",  # noqa: S608 (the text has marks only)
                ((n, *row) for n, row in enumerate(rows, first)),
            )
            self._database.execute("commit")

    def add_column(self, column: Column) -> None:
        """Add a column, empty for all rows."""
        number = len(self.columns)
        with self.turns.take(patient=False):
            self._database.execute(f"alter table lines add column c{number} {_AFFINITY[column.type]}")
            self.columns = {**self.columns, column.name: column}

    def fill(self, column: str, first: int, values: Iterable[Any]) -> None:
        """Set the values of consecutive lines in a column."""
        self._write_many(
            f"update lines set {self.expression(column)} = ? where n = ?",  # noqa: S608 (a column by number)
            ((value, n) for n, value in enumerate(values, first)),
        )

    def add_hits(self, search: int, numbers: Iterable[int]) -> None:
        """Record the lines that a search has found."""
        self._write_many("insert or ignore into hits values (?, ?)", ((search, n) for n in numbers))

    def forget_hits(self, search: int) -> None:
        """Forget the lines that a search has found."""
        self._write_many("delete from hits where search = ?", [(search,)])

    def _write_many(self, sql: str, parameters: Iterable[tuple[Any, ...]]) -> None:
        with self.turns.take(patient=False):
            self._database.execute("begin")
            self._database.executemany(sql, parameters)
            self._database.execute("commit")

    def query(self, sql: str, parameters: Sequence[Any] = (), seconds: float | None = QUERY_SECONDS) -> list[Any]:
        """Return the rows of a query.

        Args:
            seconds: the limit of its CPU time; None: no limit.

        Raises:
            ViewRefused: the query took longer.
        """
        with self.turns.take(patient=False):
            deadline = None if seconds is None else clock.thread_cpu_seconds() + seconds  # busy machines are not slow
            try:
                with self._stopping(None if deadline is None else lambda: clock.thread_cpu_seconds() > deadline):
                    return self._database.execute(sql, parameters).fetchall()
            except sqlite3.OperationalError as error:
                if INTERRUPTED not in str(error):
                    raise
                raise ViewRefused(503, TOO_SLOW, "Narrow it with a filter.") from None

    def patient_query(
        self, collect: Callable[[Iterable[tuple[Any, ...]]], Collected], sql: str, parameters: Sequence[Any] = ()
    ) -> Collected:
        """Return what `collect` makes of the rows of a query that only reads. It starts again for any other query."""
        while True:
            with self.turns.take(patient=True), self._stopping(lambda: self.turns.is_awaited):
                try:
                    return collect(self._database.execute(sql, parameters))
                except sqlite3.OperationalError as error:
                    if INTERRUPTED not in str(error):
                        raise

    @contextmanager
    def _stopping(self, is_over: Callable[[], bool] | None) -> Iterator[None]:
        """Interrupt a statement when its time is over."""
        self._database.set_progress_handler(is_over, _PROGRESS_STEPS)
        try:
            yield
        finally:
            self._database.set_progress_handler(None, 0)

    def close(self) -> None:
        """Close the database, which removes it."""
        with self.turns.take(patient=False):
            self._database.close()
