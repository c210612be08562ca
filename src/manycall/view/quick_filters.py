"""Filters that need no typing: wrong, truncated, failed, rejected, unread, flipped."""

from collections.abc import Iterator
from typing import Any

from manycall.view.open_indexes import OpenIndex
from manycall.view.replies import ViewRefused
from manycall.view.row_columns import Layout
from manycall.view.row_query import row_query
from manycall.view.run_list import FoundRun
from manycall.view.view_context import ViewContext


def quick_filters(context: ViewContext, found: FoundRun, opened: OpenIndex) -> list[dict[str, Any]]:
    """Return the filters of a run with the number of rows of each; None where it is not known yet."""
    layout, columns = opened.rows.layout, opened.rows.table.columns
    filters = [{"name": "all", "file": "out", "where": ""}]
    filters += [{"name": name, "file": "out", "where": where} for name, where in _filters(layout, set(columns))]
    if found.kind == "run":
        filters += [{"name": name, "file": file, "where": ""} for name, file in _OTHER_FILES]
    return [{**each, "count": _count(context, found, each["file"], each["where"])} for each in filters]


_OTHER_FILES = (("failed", "failures"), ("rejected", "rejected"))


def _filters(layout: Layout, columns: set[str]) -> Iterator[tuple[str, str]]:
    by_role = {role: [field.name for field in layout.fields if field.role == role] for role in ("score", "extracted")}
    if by_role["score"] and "verdict" not in layout.roles:
        yield "wrong", f"{_quoted(by_role['score'][0])} < 1"
    if "ending" in layout.roles:
        name = "ending" if layout.field("ending") is None else _quoted(layout.roles["ending"])
        yield "truncated", f"{name} = length"
    if by_role["extracted"] and by_role["extracted"][0] in columns:
        name = _quoted(by_role["extracted"][0])
        yield "unread", f'{name} = "" or {name} = null or {name} = "[invalid]"'
    if "flipped" in columns and layout.field("flipped") is None:
        yield "flipped", "flipped = true"


def _quoted(name: str) -> str:
    is_word = all(character not in ' "()=!<>~' for character in name)
    return name if is_word else '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _count(context: ViewContext, found: FoundRun, file: str, where: str) -> int | None:
    if not found.file(file).exists():
        return 0
    try:
        with context.indexes.use(found, file) as opened:
            query = row_query(opened.rows, where)
            return opened.views.total(query) if opened.rows.is_complete else None
    except ViewRefused:
        return None
