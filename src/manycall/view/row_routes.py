"""Routes of rows: pages, columns, counts, search, one row, files to save."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from manycall import clock
from manycall.view.column_counts import facets, histogram
from manycall.view.open_indexes import OpenIndex
from manycall.view.quick_filters import quick_filters
from manycall.view.replies import PageReply, StreamedReply, ViewRefused, json_reply
from manycall.view.row_query import RowQuery, row_query
from manycall.view.row_values import decode_row, flat_values, shown_cell
from manycall.view.view_context import Answer, Handler, ViewContext
from manycall.view.view_request import ViewRequest, path_number

MAX_LIMIT, MAX_REPLY_BYTES = 500, 1 << 20
SEARCH_SECONDS, LONG_SEARCH_SECONDS = 0.15, 0.4
"""How long one request continues a search; longer once the page of rows is full."""
SAVE_BATCH, INDEX_SECONDS = 50, 0.05
"""Rows that are saved at a time; how often a file to save checks whether the index is complete."""
MAX_CELLS = 500
FILE_BYTES = 1 << 18
MAX_ROW_BYTES = 1 << 20


def _file(request: ViewRequest) -> str:
    return request.text("file") or "out"


def _query(opened: OpenIndex, request: ViewRequest) -> RowQuery:
    text = request.text
    return row_query(opened.rows, text("where"), text("sort"), text("q"), text("qfield"))


def _rows(context: ViewContext, request: ViewRequest) -> Answer:
    found, file = context.run(request), _file(request)
    if not found.file(file).exists():
        return json_reply(_EMPTY | {"file": file})
    offset, limit = request.integer("offset", 0, 0, 1 << 50), request.integer("limit", 50, 1, MAX_LIMIT)
    with context.indexes.use(found, file) as opened:
        index, query = opened.rows, _query(opened, request)
        for search in query.searches:
            index.advance(search, SEARCH_SECONDS if search.hits < offset + limit else LONG_SEARCH_SECONDS)
        is_complete, is_searched, searches = index.is_complete, query.is_searched, query.searches  # before the query
        page = opened.views.page(query, offset, limit, refresh=request.text("refresh") == "1")
        return json_reply({
            "file": file, "rows_in_file": len(index.lines), "indexed": index.indexed, "complete": is_complete,
            "scanned": round(index.scanned, 4), "total": page.total, "behind": page.behind,
            "counted": is_searched and (is_complete or query.is_everything),
            "search": {
                "scanned": round(min(each.scanned for each in searches), 4), "complete": is_searched,
                "hits": sum(each.hits for each in searches),
            } if searches else None,
            "rows": list(_shown_rows(opened, page.numbers, request.names("fields"))),
        })  # fmt: skip


_EMPTY: dict[str, Any] = {
    "rows_in_file": 0, "indexed": 0, "complete": True, "scanned": 1.0, "total": 0, "behind": 0, "counted": True,
    "search": None, "rows": [],
}  # fmt: skip


def _shown_rows(opened: OpenIndex, numbers: Sequence[int], names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows, up to a total size, with cut texts."""
    lines, id_field, size = opened.rows.lines, opened.rows.layout.roles.get("id"), 0
    for n in numbers:
        (line,) = lines.lines(n, n + 1)
        row = decode_row(line)
        if row is None:
            yield {"n": n, "id": None, "cells": {}, "damaged_at": lines.start(n)}
            continue
        cells, lengths = dict[str, Any](), dict[str, int]()
        for name, value in islice(flat_values(row), MAX_CELLS):
            if not names or name in names:
                cells[name], length = shown_cell(value)
                if length is not None:
                    lengths[name] = length
                size += len(name) + 8 + len(str(cells[name]))
        yield {"n": n, "id": shown_cell(row.get(id_field))[0] if id_field else None, "cells": cells, "lengths": lengths}
        if size > MAX_REPLY_BYTES:
            return


def _columns(context: ViewContext, request: ViewRequest) -> Answer:
    found, file = context.run(request), _file(request)
    if not found.file(file).exists():
        return json_reply({"kind": file, "columns": [], "quick": []})
    with context.indexes.use(found, file) as opened:
        layout, indexed = opened.rows.layout, opened.rows.table.columns.values()
        sources = {column.source for column in indexed if column.derivation == "value"}
        columns = [
            {"name": field.name, "role": field.role, "type": field.type, "indexed": field.name in sources}
            for field in layout.fields
        ]
        columns += [
            {"name": each.name, "role": "ending" if each.name == "ending" else "", "type": each.type, "indexed": True}
            for each in indexed
            if each.derivation not in ("value", "length")  # those two follow from the role of a field
        ]
        quick = quick_filters(context, found, opened) if file == "out" else []
        return json_reply({"kind": file, "columns": columns, "quick": quick})


def _facets(context: ViewContext, request: ViewRequest) -> Answer:
    with context.indexes.use(context.run(request), _file(request)) as opened:
        return json_reply(facets(opened.rows, request.text("field"), request.text("where")))


def _histogram(context: ViewContext, request: ViewRequest) -> Answer:
    bins = request.integer("bins", 20, 1, 200)
    with context.indexes.use(context.run(request), _file(request)) as opened:
        return json_reply(histogram(opened.rows, request.text("field"), request.text("where"), bins))


def _row(context: ViewContext, request: ViewRequest) -> Answer:
    n, begin = path_number(request.words[1]), request.integer("from", 0, 0, 1 << 50)
    with context.indexes.use(context.run(request), _file(request)) as opened:
        line = opened.rows.line(n)
    headers = {"x-total-bytes": str(len(line))}
    return PageReply(line[begin : begin + MAX_ROW_BYTES], "application/octet-stream", headers=headers)


def _search(context: ViewContext, request: ViewRequest) -> Answer:
    context.run(request)
    return StreamedReply(_search_pieces(context, request), "application/x-ndjson")


async def _search_pieces(context: ViewContext, request: ViewRequest) -> AsyncIterator[bytes]:
    """Yield hits until the search is complete. It stops when the client disconnects."""
    total, is_complete = 0, False
    while not is_complete:
        piece = await asyncio.to_thread(_search_piece, context, request)
        total, is_complete = total + len(piece["hits"]), piece["complete"]
        yield msgspec.json.encode(piece | {"total": total}) + b"\n"


def _search_piece(context: ViewContext, request: ViewRequest) -> dict[str, Any]:
    with context.indexes.use(context.run(request), _file(request)) as opened:
        search = opened.rows.search(request.text("q"), request.text("qfield"))
        hits = opened.rows.advance(search, SEARCH_SECONDS)
        return {"hits": hits, "scanned": round(search.scanned, 4), "complete": search.is_complete}


def _export(context: ViewContext, request: ViewRequest) -> Answer:
    context.run(request)
    return StreamedReply(_matching_lines(context, request), "application/x-ndjson", _attachment("rows.jsonl"))


async def _matching_lines(context: ViewContext, request: ViewRequest) -> AsyncIterator[bytes]:
    offset, lines = 0, None
    while lines is None or lines:
        lines = await asyncio.to_thread(_matching_batch, context, request, offset)
        if lines is None:
            await clock.sleep(INDEX_SECONDS)
        elif lines:
            yield b"".join(line + b"\n" for line in lines)
            offset += len(lines)


def _matching_batch(context: ViewContext, request: ViewRequest, offset: int) -> list[bytes] | None:
    """Return the next matching lines, none at the end; None while the index is incomplete."""
    with context.indexes.use(context.run(request), _file(request)) as opened:
        query = _query(opened, request)  # adds the columns that it needs
        if not opened.rows.is_complete:
            return None
        for search in query.searches:
            opened.rows.finish(search)
        return opened.rows.lines.select(opened.views.page(query, offset, SAVE_BATCH).numbers)


def _whole_file(context: ViewContext, request: ViewRequest) -> Answer:
    found = context.run(request)
    path = found.file(request.words[1])
    if not path.is_file():
        raise ViewRefused(404, f"The run has no {path.name}.")
    return StreamedReply(_file_pieces(path), "application/octet-stream", _attachment(path.name))


async def _file_pieces(path: Any) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, FILE_BYTES):
            yield piece


def _attachment(name: str) -> Mapping[str, str]:
    safe = "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in name)
    return {"content-disposition": f'attachment; filename="{safe}"'}


ROW_ROUTES: Mapping[str, Handler] = {
    "runs/*/rows": _rows,
    "runs/*/columns": _columns,
    "runs/*/facets": _facets,
    "runs/*/histogram": _histogram,
    "runs/*/search": _search,
    "runs/*/export": _export,
    "runs/*/rows/*": _row,
    "runs/*/file/*": _whole_file,
}
