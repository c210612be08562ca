"""Pages of filtered and sorted rows.

The first page comes from a query with LIMIT. While no request comes, the index's thread stores the numbers of all
matching rows in order, in a temporary file, so that any other page is one look-up, also of a sorted million.
"""

import os
import tempfile
import threading
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from manycall.view.column_table import ColumnTable
from manycall.view.row_index import RowIndex
from manycall.view.row_query import RowQuery

MAX_VIEWS, MAX_COUNTS = 6, 60
DIRECT_ROWS = 1000
"""Rows up to this place are found by a query with LIMIT until the view is stored."""
Key = tuple[object, ...]


class RowPage(NamedTuple):
    """Some of the matching rows.

    Attributes:
        numbers: their places in the file.
        total: number of matching rows among those that are indexed.
        behind: number of rows that came after the stored order was made, and are not in it.
    """

    numbers: Sequence[int]
    total: int
    behind: int = 0


class _View:
    """A stored order: the numbers of all matching rows, and how many rows were indexed when it was made."""

    def __init__(self, numbers: "array[int]", rows: int) -> None:
        self.total, self.rows = len(numbers), rows
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the last reference: requests may be reading)
        self._file.write(numbers)
        self._file.flush()

    def __del__(self) -> None:
        self._file.close()

    def page(self, offset: int, limit: int) -> Sequence[int]:
        found = array("I")
        found.frombytes(os.pread(self._file.fileno(), limit * found.itemsize, offset * found.itemsize))
        return found


class RowViews:
    """The stored orders of one index."""

    def __init__(self, index: RowIndex) -> None:
        self._index = index
        self._views: dict[Key, _View] = {}
        self._wanted: set[Key] = set()
        self._counts: dict[Key, int] = {}
        self._lock = threading.Lock()

    def page(self, query: RowQuery, offset: int, limit: int, refresh: bool = False) -> RowPage:
        """Return some matching rows.

        Args:
            refresh: make the stored order again if rows came after it.

        Raises:
            ViewRefused: the query took too long.
        """
        if query.is_everything:
            total = len(self._index.lines)
            return RowPage(range(min(offset, total), min(offset + limit, total)), total)
        key: Key = (query.where, query.order, self._index.generation)
        view = self._views.get(key)
        if view is not None and view.rows < self._index.indexed and (refresh or not query.order):
            view = None
        if view is None and self._index.is_complete and query.is_searched:
            if offset + limit > DIRECT_ROWS or refresh:
                self._store(key, query)
                view = self._views[key]
            elif key not in self._wanted:
                self._wanted.add(key)
                self._index.run_later(lambda: self._store(key, query))
        if view is not None:
            return RowPage(view.page(offset, limit), view.total, self._index.indexed - view.rows)
        return self._direct_page(query, offset, limit)

    def total(self, query: RowQuery) -> int:
        """Return the number of matching rows."""
        return len(self._index.lines) if query.is_everything else self._count(self._index.table, query)

    def _direct_page(self, query: RowQuery, offset: int, limit: int) -> RowPage:
        table = self._index.table
        found = table.query(
            f"select n from lines{query.condition} order by {query.order or 'n'} limit ? offset ?",  # noqa: S608 (bound)
            (*query.parameters, limit, offset),
        )
        return RowPage([n for (n,) in found], self._count(table, query))

    def _count(self, table: ColumnTable, query: RowQuery) -> int:
        hits = tuple(search.hits for search in query.searches)
        key: Key = (query.where, hits, self._index.indexed, self._index.generation)
        if key not in self._counts:
            while len(self._counts) >= MAX_COUNTS:
                del self._counts[next(iter(self._counts))]
            sql = f"select count(*) from lines{query.condition}"  # noqa: S608 (bound parameters)
            self._counts[key] = table.query(sql, query.parameters)[0][0]
        return self._counts[key]

    def _store(self, key: Key, query: RowQuery) -> None:
        """Store the order of all matching rows."""
        with self._lock:
            if key not in self._views or self._views[key].rows < self._index.indexed:
                self._store_locked(key, query)

    def _store_locked(self, key: Key, query: RowQuery) -> None:
        rows = self._index.indexed
        sql = f"select n from lines{query.condition} order by {query.order or 'n'}"  # noqa: S608 (bound parameters)
        found = self._index.table.patient_query(_numbers, sql, query.parameters)
        self._wanted.discard(key)
        self._views.pop(key, None)
        while len(self._views) >= MAX_VIEWS:
            self._views.pop(next(iter(self._views)))
        self._views[key] = _View(found, rows)


def _numbers(rows: Iterable[tuple[Any, ...]]) -> "array[int]":
    """Return line numbers in four bytes each: the offsets of 2**32 lines would not fit into memory."""
    return array("I", chain.from_iterable(rows))
