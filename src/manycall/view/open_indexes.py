"""The indexes that are open. One is closed when its file is replaced, or if no request has used it for 10 minutes."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from manycall.view.replies import ViewRefused
from manycall.view.row_index import RowIndex
from manycall.view.row_views import RowViews
from manycall.view.run_list import FoundRun
from manycall.view.run_summary import read_manifest

MAX_OPEN = 12


class OpenIndex(NamedTuple):
    """An index with its stored orders."""

    rows: RowIndex
    views: RowViews


class OpenIndexes:
    """The indexes of a server, by run and file."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], OpenIndex] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, found: FoundRun, file: str) -> Iterator[OpenIndex]:
        """Use the index of a file, which is opened if it is not open.

        Raises:
            ViewRefused: the file does not exist, it was replaced meanwhile, or its index could not be built.
        """
        opened = self._opened(found, file)
        opened.rows.refresh()
        try:
            yield opened
        except (sqlite3.ProgrammingError, ValueError):
            if opened.rows.is_closed:
                raise ViewRefused(503, "The file was replaced.", "Ask again.") from None
            raise

    def _opened(self, found: FoundRun, file: str) -> OpenIndex:
        path, key = found.file(file), (found.id, file)
        with self._lock:
            opened = self._open.pop(key, None)
            if opened is not None and (opened.rows.is_closed or opened.rows.lines.is_replaced()):
                opened.rows.close()
                if not opened.rows.lines.is_replaced():
                    opened.rows.refresh()  # raises if its thread has failed; the next request starts again
                opened = None
            if opened is None:
                opened = self._new(path, found, file)
            while len(self._open) >= MAX_OPEN:
                self._open.pop(next(iter(self._open))).rows.close()
            self._open[key] = opened
            return opened

    def _new(self, path: Any, found: FoundRun, file: str) -> OpenIndex:
        try:
            manifest, _ = read_manifest(found)
            rows = RowIndex(path, manifest.settings if manifest is not None else {}, file)
        except OSError as error:
            raise ViewRefused(404, f"{path.name} cannot be read: {error.strerror}.") from None
        return OpenIndex(rows, RowViews(rows))

    def close(self) -> None:
        """Close all indexes."""
        with self._lock:
            for opened in self._open.values():
                opened.rows.close()
            self._open.clear()
