"""Details of one row, for its page: extracted answers, samples of the same question, the reason of a failure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from manycall.view.open_indexes import OpenIndex
from manycall.view.replies import ViewRefused
from manycall.view.row_query import column_sql
from manycall.view.row_values import decode_row, flat_value, shown_cell, shown_text
from manycall.view.run_list import FoundRun

MAX_SAMPLES = 200


def row_at(opened: OpenIndex, n: int) -> tuple[bytes, dict[str, Any]]:
    """Return a line and the row in it.

    Raises:
        ViewRefused: there is no such row, or its line cannot be decoded.
    """
    line = opened.rows.line(n)
    if (row := decode_row(line)) is None:
        raise ViewRefused(422, f"The row at byte {opened.rows.lines.start(n):,} is damaged.", "manycall repair FILE")
    return line, row


def row_about(found: FoundRun, opened: OpenIndex, n: int) -> dict[str, Any]:
    """Return what is known of a row.

    Raises:
        ViewRefused: there is no such row, or its line cannot be decoded.
    """
    line, row = row_at(opened, n)
    roles = opened.rows.layout.roles
    row_id = id_of(opened, row)
    question = row_id.rpartition("#")[0] or row_id
    answer = flat_value(row, roles["answer"]) if "answer" in roles else None
    return {
        "n": n, "id": shown_cell(row_id)[0], "bytes": len(line), "at": opened.rows.lines.start(n),
        "question_id": shown_cell(question)[0], "roles": roles,
        "read": _read(row, answer if isinstance(answer, str) else ""),
        "samples": _samples(opened, question) if "#" in row_id else [],
        "failure": _failure(found.file("failures"), row_id) if found.kind == "run" else None,
    }  # fmt: skip


def id_of(opened: OpenIndex, row: Mapping[str, Any]) -> str:
    """Return the id of a row as text; "" if it has none."""
    field = opened.rows.layout.roles.get("id")
    return "" if field is None else shown_text(flat_value(row, field))


def _read(row: Mapping[str, Any], answer: str) -> list[dict[str, Any]]:
    """Return what each filter extracted, and where its last occurrence in the answer is."""
    extracted, scores = row.get("extracted"), row.get("score")
    if not isinstance(extracted, dict):
        return []
    return [
        {
            "name": name, "text": shown_text(value), **_span(answer, value),
            "score": scores.get(name) if isinstance(scores, dict) else None,
        }
        for name, value in extracted.items()
    ]  # fmt: skip


def _span(answer: str, value: Any) -> dict[str, int | None]:
    """Return the last occurrence of a text as positions in UTF-16, which JavaScript counts."""
    at = answer.rfind(value) if isinstance(value, str) and value else -1
    if at < 0:
        return {"start": None, "end": None}
    start, length = (len(text.encode("utf-16-le", "surrogatepass")) // 2 for text in (answer[:at], value))
    return {"start": start, "end": start + length}


def _samples(opened: OpenIndex, question: str) -> list[dict[str, Any]]:
    table, layout = opened.rows.table, opened.rows.layout
    names = [field.name for field in layout.fields if field.role == "score" and field.name in table.columns]
    identifier = column_sql(opened.rows, layout.roles["id"])
    columns = ", ".join(["n", identifier, *map(table.expression, names)])
    low, high = f"{question}#", f"{question}$"  # "$" follows "#"
    found = table.query(
        f"select {columns} from lines where {identifier} >= ? and {identifier} < ? limit ?",  # noqa: S608 (by number)
        (low, high, MAX_SAMPLES),
    )
    return [
        {"n": n, "id": name, "scores": dict(zip([n.removeprefix("score.") for n in names], scores, strict=True))}
        for n, name, *scores in found
    ]


def _failure(path: Path, row_id: str) -> dict[str, Any] | None:
    """Return the last line about a row in failures.jsonl, without the row itself."""
    try:
        with path.open("rb") as file:
            rows = [row for line in file if (row := _row_with_id(line, row_id)) is not None]
    except OSError:
        return None
    return {name: value for name, value in rows[-1].items() if name != "row"} if rows else None


def _row_with_id(line: bytes, row_id: str) -> dict[str, Any] | None:
    if row_id.isascii() and msgspec.json.encode(row_id)[1:-1] not in line:
        return None
    row = decode_row(line)
    return row if row is not None and str(row.get("id")) == row_id else None
