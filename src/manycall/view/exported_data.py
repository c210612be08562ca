"""The data of a static export: the replies of the routes, and a choice of the rows."""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec

from manycall import clock
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.view.open_indexes import OpenIndex
from manycall.view.replies import PageReply, ViewRefused
from manycall.view.routes import ViewRoutes
from manycall.view.row_about import row_about
from manycall.view.row_query import row_query
from manycall.view.row_values import decode_row
from manycall.view.run_list import FoundRun

EXPORTED_FILES = ("out", "failures", "rejected")
SLOW_ROUTES = {"rows": "scores", "judge": "judge", "data": "data"}
"""Page → the slow answer that it shows."""
SLOW_SECONDS, STEP_SECONDS = 600.0, 0.05
_HASH = "(n * 2654435761) % 4294967296"
"""Knuth's multiplicative hash: the same rows in every export, spread over the file."""


def exported_data(routes: ViewRoutes, found: Sequence[FoundRun], max_rows: int, where: str) -> dict[str, Any]:
    """Return everything that an exported page shows.

    Args:
        max_rows: most rows of each file. Of a longer file, a sample is taken that always has the same rows.
        where: only the rows that this filter selects.

    Raises:
        UsageError: the filter is not valid.
    """
    replies: dict[str, Any] = {}
    rows: dict[str, dict[str, Any]] = {}
    for run in found:
        base = f"runs/{run.id}"
        detail = _reply(routes, base)
        replies[base] = detail | {"path": detail["name"], "process": ""}  # no names of this machine
        if "live" in detail["pages"]:
            replies[f"{base}/timeline"] = _reply(routes, f"{base}/timeline")
        for page in detail["pages"]:
            if page in SLOW_ROUTES:
                replies[f"{base}/{SLOW_ROUTES[page]}"] = _slow_reply(routes, f"{base}/{SLOW_ROUTES[page]}")
        rows[run.id] = {}
        for file in EXPORTED_FILES if run.kind == "run" else ("out",):
            if run.file(file).exists():
                rows[run.id][file] = _rows(routes, run, file, max_rows, where if file == "out" else "")
                replies[f"{base}/columns?file={file}"] = _reply(routes, f"{base}/columns", f"file={file}")
    ids = {run.id for run in found}
    listed = _reply(routes, "runs")
    replies["runs"] = listed | {"folder": "", "runs": [run for run in listed["runs"] if run["id"] in ids]}
    return {"exported_at": clock.wall_time(), "replies": replies, "rows": rows}


def _reply(routes: ViewRoutes, path: str, query: str = "") -> dict[str, Any]:
    answer = routes.answer(path, query)
    assert isinstance(answer, PageReply)
    return msgspec.json.decode(answer.body, type=dict[str, Any])


def _slow_reply(routes: ViewRoutes, path: str) -> dict[str, Any]:
    deadline = clock.thread_seconds() + SLOW_SECONDS
    while (reply := _reply(routes, path))["state"] == "working":
        if clock.thread_seconds() > deadline:
            return {"state": "refused", "error": "This took too long for the export.", "hint": ""}
        threading.Event().wait(STEP_SECONDS)
    return reply


def _rows(routes: ViewRoutes, run: FoundRun, file: str, max_rows: int, where: str) -> dict[str, Any]:
    """Return the number of rows of a file, and some of them as [n, row, what is known of it]."""
    with routes.context.indexes.use(run, file) as opened:
        try:
            numbers = _numbers(opened, max_rows, where)
        except ViewRefused as refused:
            raise UsageError(f"{option('where')}: {refused} {refused.hint}") from None
        lines = opened.rows.lines
        rows = ((n, decode_row(line)) for n, line in zip(numbers, lines.select(numbers), strict=True))
        return {
            "total": len(lines),
            "rows": [[n, row, row_about(run, opened, n)] for n, row in rows if row is not None],
        }


def _numbers(opened: OpenIndex, max_rows: int, where: str) -> list[int]:
    index = opened.rows
    query = row_query(index, where)
    for search in query.searches:
        index.finish(search)
    while not index.is_complete:
        index.refresh()
        threading.Event().wait(STEP_SECONDS)
    sql = f"select n from lines{query.condition} order by {_HASH} limit ?"  # noqa: S608 (bound parameters)
    return sorted(n for (n,) in index.table.query(sql, (*query.parameters, max_rows), seconds=None))
