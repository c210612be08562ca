"""The data of a static export: the replies of the routes, and a choice of the rows."""

import re
import threading
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall.errors import UsageError
from manycall.option_flags import option
from manycall.view.open_indexes import OpenIndex
from manycall.view.paired_rows import SIDES
from manycall.view.replies import PageReply, ViewRefused, plain
from manycall.view.routes import ViewRoutes
from manycall.view.row_about import id_of, row_about
from manycall.view.row_calls import calls_of_rows
from manycall.view.row_query import row_query
from manycall.view.row_values import decode_row
from manycall.view.run_list import FoundRun

EXPORTED_FILES = ("out", "failures", "rejected")
SLOW_ROUTES = {"rows": "scores", "judge": "judge", "data": "data"}
"""Page → the slow answer that it shows."""
SLOW_SECONDS, STEP_SECONDS = 600.0, 0.05
MAX_COMPARED_RUNS, COMPARED_ROWS = 4, 20
"""Runs with scores that are compared with each other, the first of the list; questions of each kind that are shown."""
TEXT_FIELDS = ("groups", "failures", "rubric")
PAIRED_ROUTES = ("compare/rows", "compare/difference")
"""Fields and routes with texts of rows, models and users, in which no name of a folder is removed."""
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
    files = [run.path for run in found]
    for run in found:
        base = f"runs/{run.id}"
        detail = _reply(routes, base)
        source = detail["source"]
        if source.get("is_file"):
            files.append(Path(str(source.get("input", ""))))
            source["input"] = files[-1].name
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
    if not where:  # with a filter, questions of a comparison would show other rows than those that it selects
        replies |= _comparisons(routes, found, replies, min(COMPARED_ROWS, max_rows))
    ids = {run.id for run in found}
    listed = _reply(routes, "runs")
    replies["runs"] = listed | {"folder": "", "runs": [run for run in listed["runs"] if run["id"] in ids]}
    return {"exported_at": clock.wall_time(), "replies": _without(_folders(files), replies), "rows": rows}


def _folders(files: Sequence[Path]) -> re.Pattern[str]:
    """Return a pattern of the folders that contain the files, as the start of a path."""
    parents = {path.parent for path in files if path.is_absolute()} - {Path("/")}
    names = sorted((plain(f"{parent}/") for parent in parents), key=len, reverse=True)
    return re.compile(r"(?<![\w./~-])(?:" + "|".join(map(re.escape, names)) + ")" if names else r"(?!)")


def _without(folders: re.Pattern[str], value: Any) -> Any:
    """Return a reply without the names of folders, apart from texts and rows."""
    if isinstance(value, str):
        return folders.sub("", value)
    if isinstance(value, list):
        return [_without(folders, each) for each in value]
    if isinstance(value, dict):
        return {
            name: each if name in TEXT_FIELDS or name.startswith(PAIRED_ROUTES) else _without(folders, each)
            for name, each in value.items()
        }
    return value


def _reply(routes: ViewRoutes, path: str, query: str = "") -> dict[str, Any]:
    answer = routes.answer(path, query)
    assert isinstance(answer, PageReply)
    return msgspec.json.decode(answer.body, type=dict[str, Any])


def _slow_reply(routes: ViewRoutes, path: str, query: str = "") -> dict[str, Any]:
    deadline = clock.thread_seconds() + SLOW_SECONDS
    while (reply := _reply(routes, path, query))["state"] == "working":
        if clock.thread_seconds() > deadline:
            return {"state": "refused", "error": "This took too long for the export.", "hint": ""}
        threading.Event().wait(STEP_SECONDS)
    reply.pop("is_older", None)
    return reply


def _comparisons(
    routes: ViewRoutes, found: Sequence[FoundRun], replies: dict[str, Any], max_rows: int
) -> dict[str, Any]:
    """Return the replies of the page that compares two runs, for both orders of each pair."""
    scored = [run.id for run in found if _has_score(replies.get(f"runs/{run.id}/columns?file=out", {}))]
    compared: dict[str, Any] = {}
    for pair in (f"runs={a},{b}" for a, b in permutations(scored[:MAX_COMPARED_RUNS], 2)):
        compared[f"compare?{pair}"] = _slow_reply(routes, "compare", pair)
        for side in SIDES:
            try:
                reply = _reply(routes, "compare/rows", f"{pair}&side={side}&limit={max_rows}")
            except ViewRefused:  # no common score
                break
            compared[f"compare/rows?{pair}&side={side}"] = reply | {"metrics": [reply["metric"]], "kept": max_rows}
            for numbers in (",".join("" if n is None else str(n) for n in row["n"]) for row in reply["rows"]):
                difference = _reply(routes, "compare/difference", f"{pair}&n={numbers}")
                compared[f"compare/difference?{pair}&n={numbers}"] = difference
    return compared


def _has_score(columns: dict[str, Any]) -> bool:
    return any(column["role"] == "score" for column in columns.get("columns", ()))


def _rows(routes: ViewRoutes, run: FoundRun, file: str, max_rows: int, where: str) -> dict[str, Any]:
    """Return the number of rows of a file, and some of them as [n, row, what is known of it, its calls]."""
    with routes.context.indexes.use(run, file) as opened:
        try:
            numbers = _numbers(opened, max_rows, where)
        except ViewRefused as refused:
            raise UsageError(f"{option('where')}: {refused} {refused.hint}") from None
        lines = opened.rows.lines
        decoded = ((n, decode_row(line)) for n, line in zip(numbers, lines.select(numbers), strict=True))
        rows = [(n, row, id_of(opened, row)) for n, row in decoded if row is not None]
        calls = _calls(run, {row_id for _, _, row_id in rows}) if file == "out" else {}
        return {
            "total": len(lines),
            "rows": [[n, row, row_about(run, opened, n), calls.get(row_id, [])] for n, row, row_id in rows],
        }


def _calls(run: FoundRun, ids: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the calls of some rows. Their responses are not part of the export: they have no `n`."""
    if run.kind != "run" or not run.file("calls").exists():
        return {}
    found = calls_of_rows(run.file("calls"), ids)
    return {row_id: [{**call, "n": None} for call in calls] for row_id, calls in found.items()}


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
