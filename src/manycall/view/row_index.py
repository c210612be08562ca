"""The rows of one file: where each line is, and its small columns. A thread reads the file while requests are answered.

Line offsets come first, so that any row can be read at once. The columns follow, in batches. The file may grow.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from manycall import clock
from manycall.view.column_reader import ColumnReader
from manycall.view.column_table import ColumnTable
from manycall.view.line_offsets import LineOffsets
from manycall.view.query_turns import QueryTurns
from manycall.view.replies import ViewRefused
from manycall.view.row_columns import SAMPLE_ROWS, Column, Layout, file_layout
from manycall.view.row_values import decode_row
from manycall.view.text_search import MAX_NEEDLE_CHARACTERS, TextSearch

BATCH_LINES, BATCH_BYTES = 2000, 4 << 20
SAMPLE_BYTES = 16 << 20
FIRST_LINES = 2 * SAMPLE_ROWS
"""The first request waits for these only."""
UNUSED_SECONDS, QUIET_SECONDS = 600.0, 0.5
"""An index is closed when no request has used it for the first time; jobs begin after the second."""
MAX_SEARCHES, MAX_WAIT_SECONDS = 6, 10.0
ASSUMED_LINE_BYTES = 200


class RowIndex:
    """The index of one file.

    Args:
        path: the file.
        settings: the settings of the run; empty for other files.
        file: the word for the file.

    Attributes:
        lines: where each line is.
        layout: the fields and columns.
        table: the columns in SQLite.
        indexed: number of lines whose columns are in the table.
        generation: number of the table, which is made again while a file has fewer rows than a sample.
        is_closed: the index can no longer be used.

    Raises:
        OSError: the file cannot be read.
        ViewRefused: there is too little space for temporary files.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], file: str) -> None:
        self.lines = LineOffsets(path)
        self.lines.extend(FIRST_LINES)
        self._settings, self._file = settings, file
        self.is_closed, self.generation, self._used_at = False, 0, clock.thread_seconds()
        self._failure: Exception | None = None
        self._searches: dict[tuple[str, str], TextSearch] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self._filling: deque[tuple[Column, int]] = deque()  # columns added later, and the next line of each
        self._wake = threading.Event()
        self._table_lock, self._search_turns = threading.Lock(), QueryTurns()
        self._start_table()
        self._thread = threading.Thread(target=self._run, name=f"index of {path.name}", daemon=True)
        self._thread.start()

    def _start_table(self) -> None:
        """Choose the columns from the first rows, and start with an empty table."""
        self._sampled = min(len(self.lines), SAMPLE_ROWS)
        sample = self.lines.lines(0, self._sampled, SAMPLE_BYTES)
        rows = [row for row in map(decode_row, sample) if row is not None]
        self.layout: Layout = file_layout(rows, self._settings, self._file)
        self.table = ColumnTable(self.layout.columns, self.lines.size // ASSUMED_LINE_BYTES)
        self.indexed = 0
        self.generation += 1
        self._reader = self._new_reader()

    def _new_reader(self) -> ColumnReader:
        return ColumnReader(list(self.table.columns.values()), [field.name for field in self.layout.fields])

    @property
    def is_complete(self) -> bool:
        """Whether all lines that are known have all columns."""
        return self.lines.is_current and self.indexed == len(self.lines) and not self._filling

    @property
    def scanned(self) -> float:
        """How much of the work is done, from 0 to 1."""
        if self._filling:
            return self._filling[0][1] / max(len(self.lines), 1)
        return 1.0 if self.lines.is_current else self.lines.end / self.lines.size

    def line(self, n: int) -> bytes:
        """Return a line. Waits until the thread has read the file so far.

        Raises:
            ViewRefused: there is no such line.
        """
        deadline = clock.thread_seconds() + MAX_WAIT_SECONDS
        while n >= len(self.lines) and not self.lines.is_current and clock.thread_seconds() < deadline:
            threading.Event().wait(0.005)
        if n >= len(self.lines):
            raise ViewRefused(404, f"There is no row {n}.", f"The file has {len(self.lines):,} rows so far.")
        return self.lines.lines(n, n + 1)[0]

    def refresh(self) -> None:
        """Let the thread look for new lines.

        Raises:
            ViewRefused: the thread has failed.
        """
        if self._failure is not None:
            raise ViewRefused(500, f"The index could not be built: {self._failure}.", "Start `manycall view` again.")
        self._used_at = clock.thread_seconds()
        self._wake.set()

    def run_later(self, job: Callable[[], None]) -> None:
        """Run a job in the thread once all lines are indexed and no request has come for a moment."""
        self._jobs.append(job)
        self._wake.set()

    def require_column(self, column: Column) -> str:
        """Return a column as SQL. A column that the table does not have yet is added and then filled by the thread."""
        with self._table_lock:
            if column.name not in self.table.columns:
                self.table.add_column(column)
                self._filling.append((column, 0))
                self._reader = self._new_reader()
                self._wake.set()
        return self.table.expression(column.name)

    def search(self, needle: str, field: str) -> TextSearch:
        """Return the search for a text, which may have been advanced before.

        Raises:
            ViewRefused: the text is too long or empty.
        """
        if not needle or len(needle) > MAX_NEEDLE_CHARACTERS:
            raise ViewRefused(400, f"Search for a text of 1 to {MAX_NEEDLE_CHARACTERS:,} characters.")
        with self._search_turns.take(patient=False):
            search = self._searches.pop((needle, field), None)
            if search is None:
                number = max((each.number for each in self._searches.values()), default=0) + 1
                search = TextSearch(number, needle, field, self.lines, self.table)
                for other in self._searches.values():
                    search.start_from(other)
            while len(self._searches) >= MAX_SEARCHES:
                oldest = self._searches.pop(next(iter(self._searches)))
                self.table.forget_hits(oldest.number)
            self._searches[needle, field] = search
            return search

    def advance(self, search: TextSearch, seconds: float) -> Sequence[int]:
        """Advance a search; one at a time. It stops early for another one that begins."""
        with self._search_turns.take(patient=True):
            return search.advance(seconds, lambda: self._search_turns.is_awaited)

    def finish(self, search: TextSearch) -> None:
        """Advance a search until it is complete."""
        while not search.is_complete:
            self.advance(search, 1.0)

    def close(self) -> None:
        """End the thread and remove the table."""
        self.is_closed = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self.is_closed:
                seconds = QUIET_SECONDS if self._jobs else UNUSED_SECONDS
                if not self._work() and not self._wake.wait(seconds) and not self._jobs:
                    break
                self._wake.clear()
        except Exception as error:
            self._failure = error
        self.is_closed = True
        self.table.close()
        self.lines.close()

    def _work(self) -> bool:
        """Do the next piece of work. Return whether there was any."""
        if self.lines.extend():
            return True
        if self._sampled < SAMPLE_ROWS and self._sampled < len(self.lines):
            self._restart()
        elif self.indexed < len(self.lines):
            self._index_batch()
        elif self._filling:
            self._fill_batch()
        elif self._jobs and clock.thread_seconds() - self._used_at >= QUIET_SECONDS:
            self._jobs.popleft()()
        else:
            return False
        return True

    def _restart(self) -> None:
        """Choose the columns again, because there were fewer rows than a sample has."""
        with self._search_turns.take(patient=False), self._table_lock:
            old, self._searches = self.table, {}
            self._filling.clear()
            self._start_table()
        old.close()

    def _index_batch(self) -> None:
        reader, table = self._reader, self.table
        lines = self.lines.lines(self.indexed, self.indexed + BATCH_LINES, BATCH_BYTES)
        values = reader.read(lines)
        with self._table_lock:
            if reader is self._reader:  # otherwise a column was added meanwhile
                table.insert(self.indexed, values)
                self.indexed += len(lines)

    def _fill_batch(self) -> None:
        column, first = self._filling[0]
        lines = self.lines.lines(first, min(first + BATCH_LINES, self.indexed), BATCH_BYTES)
        reader = ColumnReader([column], [field.name for field in self.layout.fields])
        self.table.fill(column.name, first, (value for (value,) in reader.read(lines)))
        if first + len(lines) >= self.indexed:
            self._filling.popleft()
        else:
            self._filling[0] = (column, first + len(lines))
