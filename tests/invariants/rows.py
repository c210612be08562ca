"""Rows and prompts, wherever they come from."""

import re
from pathlib import Path
from typing import Any

import msgspec

from invariants import folder, sentence
from manycall.data import json_array, row_files
from manycall.data.prompt_error import PromptError
from manycall.data.prompt_template import PromptTemplate
from manycall.data.row_source import RowSource
from manycall.errors import UsageError
from manycall.ids import IdTable
from manycall.records import Row


def drain(rows: Any) -> list[Any]:
    """All that an async iterator gives, without a loop: it may only sleep(0)."""

    async def gather() -> list[Any]:
        return [row async for row in rows]

    work = gather()
    while True:
        try:
            work.send(None)
        except StopIteration as end:
            found: list[Any] = end.value
            return found


def can_be_written(row: Row) -> None:
    """A row goes into the output, the failures and perhaps the request: it must be JSON, and come back the same."""
    assert msgspec.json.decode(msgspec.json.encode(row), type=Row) == row


def rows_of(path: Path, content: bytes) -> list[Row] | str:
    """The rows of a file with this content, or the sentence that says why there are none."""
    path.write_bytes(content)
    try:
        source = RowSource(path)
    except UsageError as error:
        if found := re.search(r"line (\d+): not UTF-8", str(error)):
            bad = content.split(b"\n")[int(found[1]) - 1]
            assert bad.decode(errors="replace").encode() != bad
        return sentence(error, str(path))
    rows: list[Row] = drain(source.pending_rows(IdTable()))
    assert len(rows) == source.total == len({row.id for row in rows}) > 0
    assert [row.fields for row in rows] == [fields for _, fields in row_files.read_rows(path)]
    again = RowSource(path)
    assert (drain(again.pending_rows(IdTable())), again.fingerprint) == (rows, source.fingerprint)
    for row in rows:
        can_be_written(row)
    return rows


def check_file(ending: str, content: bytes) -> str:
    """A file of rows: a sentence with its place, or rows with different ids, the same each time."""
    with folder() as here:
        found = rows_of(here / f"rows{ending}", content)
        return found if isinstance(found, str) else f"{min(len(found), 9)} rows"


def check_chunks(content: bytes, size: int) -> str:
    """A JSON array is the same, or at fault, however it is cut into chunks."""
    with folder() as here:
        path, usual = here / "rows.json", json_array.CHUNK_CHARACTERS
        whole = rows_of(path, content)
        json_array.CHUNK_CHARACTERS = size
        try:
            cut = rows_of(path, content)
        finally:
            json_array.CHUNK_CHARACTERS = usual
        if isinstance(whole, str):
            assert isinstance(cut, str)  # 1 and 1e9 are both no row, but not for the same reason
            return whole
        assert cut == whole
        return f"{min(len(whole), 9)} rows"


def check_two_files(one: bytes, other: bytes) -> str:
    """Two files of JSON lines, one after the other, are the rows of both."""
    with folder() as here:
        parts = [rows_of(here / "rows.jsonl", part) for part in (one, other)]
        if any(isinstance(part, str) for part in parts) or any(
            part.startswith(b"\xef\xbb\xbf") or part.lstrip().startswith(b"[") for part in (one, other)
        ):
            return "not two files"
        both = rows_of(here / "rows.jsonl", one + b"\n" + other)
        if isinstance(both, str):
            assert "duplicate id" in both
            return both
        assert [row.fields for row in both] == [row.fields for part in parts for row in part if isinstance(row, Row)]
        return f"{min(len(both), 9)} rows"


def check_value(text: bytes) -> str:
    """A value is the same in a line and in an array, or refused in both."""
    with folder() as here:
        row = b'{"id":"a","value":' + text.replace(b"\n", b" ").replace(b"\r", b" ") + b"}"
        line, item = rows_of(here / "rows.jsonl", row), rows_of(here / "rows.json", b"[" + row + b"]")
        if isinstance(line, str) or isinstance(item, str):
            assert isinstance(line, str), f"only the array is refused: {item}"
            assert isinstance(item, str), f"only the line is refused: {line}"
            return item
        assert line == item
        assert repr(line) == repr(item)
        return type(line[0].fields.get("value")).__name__


def check_table(rows: list[list[str]], delimiter: str) -> str:
    """What Python's own csv writes is read back."""
    import csv

    with folder() as here:
        path = here / ("rows.csv" if delimiter == "," else "rows.tsv")
        names = [f"{number}{name}" for number, name in enumerate(rows[0])]
        cells = [[cell for cell, _ in zip(row * len(names), names, strict=False)] for row in rows if row]
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, delimiter=delimiter).writerows([names, *cells] if names else [])
        found = [fields for _, fields in row_files.read_rows(path)]
        assert found == ([dict(zip(names, row, strict=True)) for row in cells] if names else [])
        return f"{len(names)} columns"


def check_rows(rows: list[Any]) -> str:
    """An iterable of whatever: a sentence, or rows."""
    try:
        found: list[Row] = drain(RowSource(rows).pending_rows(IdTable()))
    except UsageError as error:
        return sentence(error, "row")
    assert len(found) == len({row.id for row in found}) == len(rows)
    for row in found:
        can_be_written(row)
    return f"{len(found)} rows"


def check_prompt(prompt: str, fields: dict[str, Any]) -> str:
    """A template and a row: a sentence, or a text; and what the row says is never itself a template."""
    try:
        template = PromptTemplate(prompt)
    except UsageError as error:
        return sentence(error)
    verbatim = PromptTemplate("<{{ q }}>").messages(Row("a", fields | {"q": prompt}))
    assert verbatim == [{"role": "user", "content": f"<{prompt}>"}]
    assert isinstance(template.is_constant, bool)
    try:
        messages = template.messages(Row("a", fields))
    except PromptError as error:
        str(error).encode()
        return type(error).__name__
    assert [type(message["content"]) for message in messages] == [str]
    return "a text"
