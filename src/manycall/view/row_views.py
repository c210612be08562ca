"""Pages of filtered and sorted rows.

The first page comes from a query with LIMIT. Meanwhile the index's thread stores the numbers of all matching rows in
order, so that any other page is one look-up, also of a sorted million.
"""

import threading
from collections.abc import Sequence
from typing import NamedTuple

from manycall.view.column_table import ColumnTable
from manycall.view.row_index import RowIndex
from manycall.view.row_query import RowQuery

MAX_VIEWS = 6
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


class _View(NamedTuple):
    number: int
    total: int
    rows: int


class RowViews:
    """The stored orders of one index."""

    def __init__(self, index: RowIndex) -> None:
        self._index = index
        self._views: dict[Key, _View] = {}
        self._wanted: set[Key] = set()
        self._counts: dict[Key, int] = {}
        self._last_number = 0
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
        return self._direct_page(query, offset, limit) if view is None else self._stored_page(view, offset, limit)

    def _stored_page(self, view: _View, offset: int, limit: int) -> RowPage:
        found = self._index.table.query(
            f"select n from view{view.number} where rowid > ? and rowid <= ? order by rowid",  # noqa: S608 (a number)
            (offset, offset + limit),
        )
        return RowPage([n for (n,) in found], view.total, self._index.indexed - view.rows)

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
            while len(self._counts) >= MAX_VIEWS:
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
        table, rows = self._index.table, self._index.indexed
        self._last_number += 1
        number = self._last_number
        table.query(f"create table view{number} (n integer)")
        table.query(
            f"insert into view{number} select n from lines{query.condition} order by {query.order or 'n'}",  # noqa: S608
            query.parameters,
            seconds=None,
        )
        total = table.query(f"select count(*) from view{number}")[0][0]  # noqa: S608 (a number)
        self._wanted.discard(key)
        old = [self._views.pop(key)] if key in self._views else []
        while len(self._views) >= MAX_VIEWS:
            old.append(self._views.pop(next(iter(self._views))))
        self._views[key] = _View(number, total, rows)
        for view in old:
            table.query(f"drop table if exists view{view.number}")
