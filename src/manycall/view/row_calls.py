"""The calls of one row, found by scanning the journal for its id. No index: a scan reads more than 1 GB in a second."""

from pathlib import Path
from typing import Any

import msgspec

from manycall import clock
from manycall.records import DECODE_ERRORS
from manycall.view.column_reader import reply_summary
from manycall.view.line_offsets import LineOffsets

SCAN_SECONDS = 5.0
BLOCK_BYTES = 1 << 20
MAX_CALLS = 200
_START = b'{"id":'
"""How a journal line begins."""


class _StoredLine(msgspec.Struct):
    """The fields of a journal line, apart from the body."""

    id: str = ""
    key: str = ""
    nth: int = 1
    at: float = 0.0
    seconds: float = 0.0
    ttft: float | None = None
    endpoint: str = ""
    model: str = ""
    attempts: int = 1
    waited: float = 0.0
    statuses: list[int] = []
    body: str = ""


_decode_call = msgspec.json.Decoder(_StoredLine).decode


def row_calls(journal: Path, row_id: str) -> dict[str, Any]:
    """Return the calls of a row, oldest first. `complete` is false if the scan took too long.

    Raises:
        OSError: the journal cannot be read.
    """
    lines = LineOffsets(journal)
    try:
        while lines.extend():
            continue
        return _scan(lines, _START + msgspec.json.encode(row_id) + b",")
    finally:
        lines.close()


def calls_of_rows(journal: Path, ids: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the calls of some rows by id, from one pass over the journal; at most 200 of each row.

    Raises:
        OSError: the journal cannot be read.
    """
    wanted = {msgspec.json.encode(row_id): row_id for row_id in ids}
    calls: dict[str, list[dict[str, Any]]] = {}
    with journal.open("rb") as file:
        for n, line in enumerate(file):
            row_id = wanted.get(line[len(_START) : line.find(b'","key":') + 1])
            if row_id is not None and line.startswith(_START) and (call := _shown(n, line)) is not None:
                found = calls.setdefault(row_id, [])
                found += [call] * (len(found) < MAX_CALLS)
    return calls


def _scan(lines: LineOffsets, start: bytes) -> dict[str, Any]:
    calls, first, deadline = list[dict[str, Any]](), 0, clock.thread_seconds() + SCAN_SECONDS
    while first < len(lines) and len(calls) < MAX_CALLS:
        if clock.thread_seconds() > deadline:
            return {"calls": calls, "complete": False}
        block, stop = lines.block(first, BLOCK_BYTES)
        begin, at = lines.start(first), block.find(start)
        while at >= 0:
            n = lines.number_at(begin + at)
            if lines.start(n) == begin + at and (call := _shown(n, lines.lines(n, n + 1)[0])) is not None:
                calls.append(call)
            at = block.find(start, at + 1)
        first = stop
    return {"calls": calls, "complete": True}


def _shown(n: int, line: bytes) -> dict[str, Any] | None:
    try:
        call = _decode_call(line)
    except DECODE_ERRORS:
        return None
    ending, prompt_tokens, completion_tokens = reply_summary(call.body)
    fields = {name: value for name, value in msgspec.structs.asdict(call).items() if name not in ("id", "body")}
    return {
        "n": n, **fields, "prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
        "finish_reason": ending, "bytes": len(call.body.encode()),
    }  # fmt: skip
