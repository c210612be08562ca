"""Replies of the page's server that never change: for browser tests and for the screenshots of docs/view.md.

The shapes are those of the routes; tests/test_view_browser.py asks the real server for the same pages.
"""

import json
import math
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from manycall.view.child_work import EXACT
from manycall.view.run_state import RESUME

NOW = 1795816416.0
"""Wall time of the fixtures: 2026-11-27 21:53:36 UTC."""
STORY = "5b1e000000000005"
EVAL = "5b1e000000000002"
OTHER = "5b1e000000000003"
JUDGED = "5b1e000000000004"
TOTAL = 1319
EXAMPLE = 'For example: score = 0 and answer.len > 2000 and "word"'
Reply = dict[str, Any]


def _run(number: int, name: str, job: str, model: str, state: str, ended: int, total: int, **more: Any) -> Reply:
    return {
        "id": f"5b1e{number:012d}",
        "name": name,
        "argument": f"runs/{name}",
        "kind": "run",
        "job": job,
        "model": model,
        "state": state,
        "state_text": "",
        "remedy": "",
        "started_at": NOW - 600,
        "updated_at": NOW - 1,
        "total": total,
        "ended": ended,
        "failed": 0,
        "rejected": 0,
        "truncated": 0,
        "calls_per_s": None,
        "done_at": None,
        "cost": None,
        "currency": "USD",
        "note": "",
        "bytes": 1_234_567,
        **more,
    }


RUNS = [
    _run(
        1,
        "gsm8k-32b.jsonl",
        "eval gsm8k",
        "qwen2.5-32b",
        "running",
        814,
        TOTAL,
        failed=2,
        truncated=4,
        calls_per_s=71.2,
        done_at=NOW + 580,
        cost=1.84,
        note="strict-match 0.812",
        state_text="Running, last update 1 s ago.",
    ),
    _run(
        5,
        "stories.jsonl",
        "generate",
        "qwen2.5-7b",
        "stopped",
        41_022,
        1_000_000,
        updated_at=NOW - 70_000,
        state_text="Stopped: http://gpu1:8000/v1 refused the API key (401).",
        remedy=RESUME,
    ),
    _run(
        6,
        "traces.jsonl",
        "generate",
        "deepseek-r1",
        "killed",
        7_310,
        20_000,
        updated_at=NOW - 5000,
        cost=3.71,
        state_text="Its process was killed; the last update was 1h23m ago.",
        remedy=RESUME,
    ),
    _run(
        4,
        "judged.jsonl",
        "judge",
        "gpt-5-mini",
        "partial",
        10_000,
        10_000,
        failed=880,
        cost=4.2,
        note="A 0.52, B 0.41, tie 0.07",
        state_text="880 rows failed.",
        remedy=f"{RESUME} Failed rows are tried again.",
        updated_at=NOW - 90_000,
    ),
    _run(
        2,
        "small.jsonl",
        "eval gsm8k",
        "qwen2.5-7b",
        "finished",
        TOTAL,
        TOTAL,
        truncated=21,
        cost=0.31,
        note="strict-match 0.7005 ± 0.0126",
        state_text="Finished.",
        updated_at=NOW - 190_000,
    ),
    _run(
        3,
        "large.jsonl",
        "eval gsm8k",
        "qwen2.5-72b",
        "finished",
        TOTAL,
        TOTAL,
        truncated=9,
        cost=3.2,
        note="strict-match 0.8105 ± 0.0108",
        state_text="Finished.",
        updated_at=NOW - 290_000,
    ),
    {**_run(7, "notes.jsonl", "", "", "none", 88, 88, updated_at=NOW - 390_000), "kind": "file"},
]

NAMES = ["Tara", "Ming", "Omar", "Ines", "Juan", "Asha", "Lena", "Noah"]
THINGS = ["pens", "apples", "tickets", "books", "lamps"]


def _row(number: int) -> Reply:
    rng = random.Random(number)
    name, thing, n, price, paid = (
        rng.choice(NAMES),
        rng.choice(THINGS),
        rng.randint(2, 12),
        rng.randint(2, 9),
        rng.randint(20, 90),
    )
    right = n * price + paid
    is_right = rng.random() < 0.72
    read = right if is_right else right + rng.choice([-10, -1, 1, 5])
    is_truncated = rng.random() < 0.02
    question = (
        f"{name} buys {n} {thing} at ${price} each and also pays ${paid} for a bag. How many dollars does {name} spend?"
    )
    steps = [
        f"Let us take it step by step. The {thing} cost {n} × {price} = {n * price} dollars.",
        f"The bag costs {paid} dollars.",
        *(
            rng.sample(
                [
                    "We add both amounts.",
                    "No other cost is mentioned.",
                    "So the total is the sum.",
                    "We check the sum again.",
                ],
                rng.randint(0, 4),
            )
        ),
    ]
    text = "\n".join([*steps, "" if is_truncated else f"#### {read}"])
    return {
        "id": f"q-{number}",
        "question": question,
        "answer": str(right),
        "response": text,
        "finish_reason": "length" if is_truncated else "stop",
        "extracted": {"strict-match": "" if is_truncated else str(read), "flexible-extract": str(read)},
        "score": {"strict-match": float(is_right and not is_truncated), "flexible-extract": float(is_right)},
    }


ROWS = [_row(number) for number in range(TOTAL)]
TOPICS = ["a lighthouse", "a letter", "two brothers", "a lost map", "the last train"]


def _story(number: int) -> Reply:
    rng = random.Random(-number)
    topic = rng.choice(TOPICS)
    text = " ".join(f"This is sentence {n} of a story about {topic}." for n in range(rng.randint(8, 40)))
    return {
        "id": str(number),
        "topic": topic,
        "text": text,
        "finish_reason": "length" if rng.random() < 0.03 else "stop",
    }


def _judged(number: int) -> Reply:
    verdict = random.Random(number).choices(["A", "B", "tie"], [52, 41, 7])[0]
    row = ROWS[number % TOTAL]
    other = row["response"].replace("step by step", "one step at a time")
    why = f"Both answers name the costs. Answer {verdict if verdict != 'tie' else 'A'} is easier to follow."
    return {
        "id": row["id"],
        "judge": {
            "verdict": verdict,
            "replies": [{"verdict": verdict, "swapped": False, "text": f"{why} [[{verdict}]]"}],
        },
        "question": row["question"],
        "answer_a": row["response"],
        "answer_b": other,
        "finish_reason": "stop",
    }


STORIES = [_story(number) for number in range(900)]
VERDICTS = [_judged(number) for number in range(900)]
STORY_COLUMNS = [
    ("id", "id", "text", True),
    ("topic", "", "category", True),
    ("text", "answer", "text", False),
    ("finish_reason", "ending", "category", True),
]
JUDGE_COLUMNS = [
    ("id", "id", "text", True),
    ("judge.verdict", "verdict", "category", True),
    ("judge.replies", "replies", "text", False),
    ("question", "question", "text", False),
    ("answer_a", "answer", "text", False),
    ("answer_b", "answer", "text", False),
    ("finish_reason", "ending", "category", True),
]
WHERE: dict[str, Callable[[Reply], bool]] = {
    "": lambda row: True,
    "score.strict-match < 1": lambda row: row["score"]["strict-match"] < 1,
    'judge.verdict = "B"': lambda row: row["judge"]["verdict"] == "B",
    "ending = length": lambda row: row["finish_reason"] == "length",
    'extracted.strict-match = ""': lambda row: row["extracted"]["strict-match"] == "",
    'finish_reason = "length"': lambda row: row["finish_reason"] == "length",
}
COLUMNS = [
    ("id", "id", "text", True),
    ("question", "question", "text", False),
    ("answer", "target", "text", True),
    ("response", "answer", "text", False),
    ("finish_reason", "ending", "category", True),
    ("extracted.strict-match", "extracted", "text", True),
    ("extracted.flexible-extract", "extracted", "text", True),
    ("score.strict-match", "score", "number", True),
    ("score.flexible-extract", "score", "number", True),
]
FAILED = [
    {
        "id": "q-903",
        "kind": "invalid",
        "error": "The answer has no verdict.",
        "attempts": 3,
        "status": 200,
        "last_text": "I cannot decide.",
        "row": ROWS[903],
    },
    {
        "id": "q-17",
        "kind": "call_error",
        "error": "http://gpu2:8000/v1: connection lost (3 attempts)",
        "attempts": 3,
        "status": None,
        "last_text": None,
        "row": ROWS[17],
    },
]


def flat(row: Reply) -> Reply:
    """Return a row with the names of nested values joined by a dot, texts cut to 200 characters."""
    cells: Reply = {}
    for name, value in row.items():
        for key, each in value.items() if isinstance(value, dict) else [(None, value)]:
            cells[f"{name}.{key}" if key else name] = (
                each[:200] if isinstance(each, str) else each[0]["text"] if isinstance(each, list) else each
            )
    return cells


def _wave(index: int, period: float, low: float, high: float) -> float:
    return round(
        low + (high - low) * (0.5 + 0.5 * math.sin(index / period)) * random.Random(index).uniform(0.93, 1.0), 2
    )


def timeline(points: int = 420) -> Reply:
    """Return the timeline of a run that warms up, meets the server's limit and loses an endpoint for a while."""
    start = NOW - points
    rate = [min(index * 1.4, _wave(index, 40, 62, 78)) if not 250 < index < 290 else 36.0 for index in range(points)]
    window = [min(212, 16 + 2 * index) if not 250 < index < 290 else 110 for index in range(points)]
    series = {
        "calls_per_s": rate,
        "tokens_per_s": [round(each * 138) for each in rate],
        "rows_per_s": rate,
        "in_flight": [each - 3 for each in window],
        "window": window,
        "http_429_per_s": [2.0 if 120 < index < 140 else 0.0 for index in range(points)],
        "retries_per_s": [2.2 if 120 < index < 140 else 0.1 for index in range(points)],
        "failed_per_s": [1.0 if index in {60, 251} else 0.0 for index in range(points)],
        "latency_p50": [_wave(index, 60, 1.1, 1.6) for index in range(points)],
        "latency_p95": [_wave(index, 60, 3.1, 4.9) for index in range(points)],
    }
    return {
        "from": start,
        "to": NOW,
        "bucket": 1.0,
        "cursor": "250113.1f3a",
        "time": [start + index for index in range(points)],
        "series": {name: {"mean": values, "min": values, "max": values} for name, values in series.items()},
        "limited_by": [
            {"from": start, "to": start + 98, "reason": "window", "text": "window 212"},
            {"from": start + 98, "to": start + 250, "reason": "server", "text": "server at capacity"},
            {"from": start + 250, "to": start + 290, "reason": "window", "text": "window 110"},
            {"from": start + 290, "to": NOW, "reason": "server", "text": "window 212, server at capacity"},
        ],
        "sessions": [{"from": start, "to": NOW}],
        "events": EVENTS,
    }


EVENTS = [
    {
        "time": NOW - 322,
        "endpoint": "http://gpu1:8000/v1",
        "event": "window 160 → 212: more calls in flight bring more answers",
    },
    {
        "time": NOW - 170,
        "endpoint": "http://gpu2:8000/v1",
        "event": "ejected for 8 s: connection lost 3 times in a row",
    },
    {"time": NOW - 130, "endpoint": "http://gpu2:8000/v1", "event": "in use again"},
]
FIGURES = {
    "time": NOW - 1,
    "calls_per_s": 71.2,
    "tokens_per_s": 9800.0,
    "rows_per_s": 71.0,
    "in_flight": 209,
    "window": 212,
    "limited_by": "window 212, server at capacity",
    "total_rows": TOTAL,
    "total_ended": 814,
    "total_cost": 1.84,
    "currency": "USD",
    "budget_usage": ["$1.84 of $5.00"],
    "note": "strict-match 0.812",
    "failed": 2,
    "failure_counts": {"invalid": 1, "call_error": 1},
    "total_truncated": 4,
    "http_429": 40,
    "retries": 47,
}


def detail(run: str) -> Reply:
    """Return what is known of one run."""
    listed = next(each for each in RUNS if each["id"] == run)
    is_running = listed["state"] == "running"
    endpoints = [
        {
            "endpoint": "http://gpu1:8000/v1",
            "in_flight": 108,
            "window": 110,
            "calls_per_s": 36.1,
            "errors": 0,
            "ejected_for": 0.0,
            "queue": 0,
            "limited_by": "server at capacity",
            "time": NOW,
        },
        {
            "endpoint": "http://gpu2:8000/v1",
            "in_flight": 101,
            "window": 102,
            "calls_per_s": 35.1,
            "errors": 3,
            "ejected_for": 6.5,
            "queue": 4,
            "limited_by": "",
            "time": NOW,
        },
    ]
    pages = ["live", "rows", "judge"] if listed["job"] == "judge" else ["live", "rows", "data"]
    return {
        **listed,
        "path": f"/home/u/exp/{listed['name']}",
        "settings": {"job": listed["job"], "model": listed["model"], "params": {"max_tokens": 512, "temperature": 0}},
        "source": {"count": listed["total"]},
        "sessions": [
            {"started_at": NOW - 900, "outcome": "not finished"},
            {"started_at": NOW - 420, "outcome": "not finished"},
        ],
        "session": 2,
        "process": "process 4711 on host" if is_running else "",
        "figures": {
            **FIGURES,
            "total_ended": listed["ended"],
            "total_rows": listed["total"],
            "note": listed["note"],
            "total_cost": listed["cost"],
            "failed": listed["failed"],
            "total_truncated": listed["truncated"],
        },
        "eta": {"seconds": 580.0, "low": 520.0, "high": 900.0} if is_running else None,
        "endpoints": endpoints if is_running else [],
        "oldest": [
            {"id": "q-17", "endpoint": "http://gpu2:8000/v1", "seconds": 212.0},
            {"id": "q-771", "endpoint": "http://gpu1:8000/v1", "seconds": 9.1},
        ],
        "events": EVENTS,
        "failures": [
            {"id": each["id"], "kind": each["kind"], "error": each["error"], "n": n} for n, each in enumerate(FAILED)
        ]
        if listed["failed"]
        else [],
        "files": [
            {"name": "out", "path": listed["name"], "bytes": 1_234_567, "exists": True},
            {"name": "calls", "path": f"{listed['name']}.run/calls.jsonl", "bytes": 4_234_567, "exists": True},
        ],
        "damage": [],
        "pages": pages,
    }


class FixtureApi:
    """Answers routes from rows in memory. `rows` replaces the rows of every output."""

    def __init__(self, rows: list[Reply] | None = None, replies: dict[str, Any] | None = None) -> None:
        self.rows = ROWS if rows is None else rows
        self.replies = replies or {}
        self.asked: list[str] = []

    def reply(self, url: str) -> tuple[int, bytes, str]:
        """Return status, body and content type of a request."""
        parts = urlsplit(url)
        path = parts.path.removeprefix("/api/")
        run = path.removeprefix("runs/").partition("/")[0]
        query = {"run": run} | {
            name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()
        }
        self.asked.append(f"{path}?{parts.query}")
        answer = self.replies[path] if path in self.replies else self._json(path.split("/"), query)
        if isinstance(answer, bytes):
            return 200, answer, "application/octet-stream"
        return (
            (answer.pop("status", 404) if "error" in answer else 200),
            json.dumps(answer).encode(),
            "application/json",
        )

    def _json(self, path: list[str], query: dict[str, str]) -> Any:
        fixed: dict[str, Callable[[], Any]] = {
            "runs": lambda: {"version": "0.1.0", "folder": "~/exp", "time": NOW, "complete": True, "runs": RUNS},
            "compare": lambda: {"state": "done", "seconds": 4.1, "result": COMPARISON},
            "compare/rows": lambda: compared(query),
            "compare/difference": lambda: DIFFERENCE,
        }
        of_run: dict[str, Callable[[], Any]] = {
            "": lambda: detail(path[1]),
            "timeline": timeline,
            "columns": lambda: self._columns(query),
            "rows": lambda: self._page(query),
            "facets": lambda: self._facet(query),
            "histogram": lambda: self._histogram(query),
            "judge": lambda: {"state": "done", "seconds": 0.4, "result": JUDGE},
            "data": lambda: {"state": "done", "seconds": 0.9, "result": DATA},
        }
        if len(path) == 4:
            return json.dumps(self._file(query)[int(path[3])]).encode()
        if len(path) == 5:
            return self._about(int(path[3]), path[4], query)
        found = fixed.get("/".join(path)) or of_run.get("/".join(path[2:]))
        return found() if found else {"error": "There is no such page.", "hint": ""}

    def _file(self, query: dict[str, str]) -> list[Reply]:
        if query.get("file") == "failures":
            return FAILED
        return {STORY: STORIES, JUDGED: VERDICTS}.get(query.get("run", ""), ROWS) if self.rows is ROWS else self.rows

    def _matching(self, query: dict[str, str]) -> list[tuple[int, Reply]]:
        keep, needle = WHERE.get(query.get("where", ""), WHERE[""]), query.get("q", "").lower()
        found = [(n, row) for n, row in enumerate(self._file(query)) if keep(row) and needle in json.dumps(row).lower()]
        if sort := query.get("sort", ""):
            name = sort.lstrip("-")
            key = (lambda row: len(row["response"])) if name == "answer.len" else (lambda row: str(flat(row).get(name)))
            found.sort(key=lambda each: key(each[1]), reverse=sort.startswith("-"))
        return found

    def _page(self, query: dict[str, str]) -> Reply:
        if "where" in query and query["where"].endswith("="):
            return {"error": "Expected a value after '=' at character 12.", "hint": EXAMPLE, "status": 400}
        found = self._matching(query)
        offset, limit = int(query.get("offset") or 0), int(query.get("limit") or 50)
        rows = [
            {"n": n, "id": row.get("id"), "cells": flat(row), "lengths": {}}
            for n, row in found[offset : offset + limit]
        ]
        search = {"scanned": 1.0, "complete": True, "hits": len(found)} if query.get("q") else None
        size = len(self._file(query))
        return {
            "file": query.get("file", "out"),
            "rows_in_file": size,
            "indexed": size,
            "complete": True,
            "scanned": 1.0,
            "total": len(found),
            "counted": True,
            "search": search,
            "rows": rows,
        }

    def _columns(self, query: dict[str, str]) -> Reply:
        run, named = query["run"], {"all": "", "truncated": "ending = length"}
        if query.get("file") == "failures":
            columns, named = (
                [
                    ("id", "id", "text", True),
                    ("kind", "", "category", True),
                    ("error", "", "text", False),
                    ("status", "", "number", True),
                ],
                {},
            )
        elif self.rows is ROWS and run in {STORY, JUDGED}:
            columns = STORY_COLUMNS if run == STORY else JUDGE_COLUMNS
        else:
            columns = COLUMNS
            named = {
                "all": "",
                "wrong": "score.strict-match < 1",
                "truncated": "ending = length",
                "unread": 'extracted.strict-match = ""',
            }
        quick = (
            [
                {
                    "name": name,
                    "file": "out",
                    "where": where,
                    "count": len(self._matching({"run": run, "where": where})),
                }
                for name, where in named.items()
            ]
            if self.rows is ROWS
            else []
        )
        return {
            "kind": "eval",
            "columns": [dict(zip(("name", "role", "type", "indexed"), each, strict=True)) for each in columns],
            "quick": [*quick, {"name": "failed", "file": "failures", "where": "", "count": len(FAILED)}],
        }

    def _facet(self, query: dict[str, str]) -> Reply:
        counts: dict[Any, int] = {}
        for _, row in self._matching(query):
            value = flat(row).get(query["field"])
            counts[value] = counts.get(value, 0) + 1
        values = [
            {"value": value, "count": number} for value, number in sorted(counts.items(), key=lambda each: -each[1])
        ]
        return {"field": query["field"], "values": values[:50], "others": 0, "missing": 0, "partial": False}

    def _histogram(self, query: dict[str, str]) -> Reply:
        lengths = [
            len(str(row.get("response") or row.get("text") or row.get("answer_a"))) for _, row in self._matching(query)
        ]
        low, high = min(lengths, default=0), max(lengths, default=1) + 1
        edges = [round(low + (high - low) * index / 20) for index in range(21)]
        counts = [sum(edges[index] <= each < edges[index + 1] for each in lengths) for index in range(20)]
        return {"field": query["field"], "edges": edges, "counts": counts, "missing": 0, "partial": False}

    def _about(self, n: int, what: str, query: dict[str, str]) -> Reply:
        row = self._file(query)[n]
        if what == "calls":
            call = {
                "n": n,
                "at": NOW - 60,
                "seconds": 1.4,
                "ttft": 0.2,
                "key": "edc8",
                "nth": 0,
                "endpoint": "http://gpu1:8000/v1",
                "model": "",
                "prompt_tokens": 412,
                "completion_tokens": 256,
                "finish_reason": "stop",
                "attempts": 3,
                "waited": 4.2,
                "statuses": [429, 503],
                "bytes": 1410,
            }
            return {"complete": True, "calls": [call]}
        if what == "prompt":
            question = row.get("question", "")
            messages = [
                {"role": "system", "content": "Solve the problem. End with #### and the number."},
                {"role": "user", "content": question},
            ]
            return {
                "known": True,
                "messages": messages,
                "note": EXACT,
            }
        if query.get("file") == "failures":
            return {
                "n": n,
                "id": row["id"],
                "bytes": 100,
                "at": 0,
                "question_id": row["id"],
                "roles": {"answer": "last_text"},
                "read": [],
                "samples": [],
                "failure": row,
            }
        text, read = str(row.get("response", "")), []
        for name, value in row.get("extracted", {}).items():
            start = text.rfind(value) if value else -1
            read.append(
                {
                    "name": name,
                    "text": value,
                    "start": start if start >= 0 else None,
                    "end": start + len(value) if start >= 0 else None,
                    "score": row["score"][name],
                }
            )
        return {
            "n": n,
            "id": row.get("id"),
            "bytes": 1025,
            "at": 17_425,
            "question_id": row.get("id"),
            "roles": {"question": "question", "answer": "response", "target": "answer", "ending": "finish_reason"},
            "read": read,
            "samples": [],
            "failure": None,
        }


PAIRS = [
    (
        n,
        ROWS[n],
        {
            **ROWS[n],
            "response": ROWS[n]["response"].replace("step by step", "one step at a time").rsplit("#### ", 1)[0]
            + f"#### {ROWS[n]['answer']}",
        },
    )
    for n in range(TOTAL)
]
WON = [(n, first, other) for n, first, other in PAIRS if first["score"]["strict-match"] == 0][:24]
COUNTS = {
    "differ": 27,
    "won": 24,
    "lost": 3,
    "both_right": 921,
    "both_wrong": 371,
    "same": 0,
    "only_first": 0,
    "only_other": 0,
}


def compared(query: dict[str, str]) -> Reply:
    """Return a page of compared questions."""
    side = query.get("side", "won")
    offset, limit = int(query.get("offset") or 0), int(query.get("limit") or 50)
    scores = {"won": [0.0, 1.0], "lost": [1.0, 0.0], "both_right": [1.0, 1.0]}.get(side, [0.0, 0.0])
    source = WON if side == "won" else PAIRS[: COUNTS.get(side, 0)]
    rows = [
        {
            "id": first["id"],
            "n": [n, n],
            "scores": scores,
            "question": first["question"],
            "target": first["answer"],
            "extracted": [first["extracted"]["flexible-extract"], first["answer"]],
            "answers": [first["response"], other["response"]],
        }
        for n, first, other in source[offset : offset + limit]
    ]
    return {
        "complete": True,
        "metric": "strict-match",
        "metrics": ["strict-match", "flexible-extract"],
        "counts": COUNTS,
        "total": COUNTS.get(side, 0),
        "rows": rows,
    }


def _difference(metric: str, first: float, second: float, low: float, high: float, p: float) -> Reply:
    difference = {
        "first": first,
        "second": second,
        "value": second - first,
        "stderr": 0.004,
        "unpaired_stderr": 0.01,
        "interval": [low, high],
        "p_value": p,
        "test": "McNemar",
        "wins": 24,
        "losses": 3,
        "ties": 1292,
    }
    return {"run": 2, "metric": metric, "difference": difference, "p_value_holm": p, "only_first": 0, "only_other": 0}


COMPARISON = {
    "runs": [
        {"id": EVAL, "out": "small.jsonl", "model": "qwen2.5-7b", "incomplete": ""},
        {"id": OTHER, "out": "large.jsonl", "model": "qwen2.5-72b", "incomplete": ""},
    ],
    "differences": [
        _difference("strict-match", 0.7005, 0.7164, 0.0083, 0.0235, 4.9e-05),
        _difference("flexible-extract", 0.7149, 0.7180, -0.0019, 0.0081, 0.21),
    ],
    "setting_differences": ["model: 'qwen2.5-7b' and 'qwen2.5-72b'", "max_tokens: 512 and 1024"],
}
DIFFERENCE = {
    "n": [0, 0],
    "fields": ["response", "response"],
    "texts": [PAIRS[0][1]["response"], PAIRS[0][2]["response"]],
    "difference": [
        ["=", "Let us take it "],
        ["-", "step by step."],
        ["+", "one step at a time."],
        ["=", " The pens cost 11 × 5 = "],
        ["-", "56"],
        ["+", "55"],
        ["=", " dollars.\n#### "],
        ["-", "56"],
        ["+", "55"],
    ],
}
JUDGE = {
    "output_field": "judge",
    "score": None,
    "reasked_rows": 31,
    "verdicts": [
        {"verdict": "A", "count": 4743, "share": 0.52, "interval": [0.51, 0.53]},
        {"verdict": "B", "count": 3739, "share": 0.41, "interval": [0.4, 0.42]},
        {"verdict": "tie", "count": 638, "share": 0.07, "interval": [0.065, 0.076]},
    ],
    "self_agreement": {"questions": 500, "value": 0.94, "stderr": 0.01, "kappa": 0.89},
    "position_bias": {"both": 4560, "consistent": 3920, "first": 410, "second": 230, "p_value": 1.1e-12},
    "pairwise": {"wins": 4743, "losses": 3739, "ties": 638, "p_value": 0.0002},
    "rubric": "Which answer is better? Reply with [[A]], [[B]] or [[C]] for a tie.",
}
DATA = {
    "rows": 41_022,
    "duplicates": 84,
    "distinct_1": 0.031,
    "distinct_2": 0.28,
    "near": "manycall check-data stories.jsonl --near",
    "lengths": None,
    "groups": [
        {
            "n": [4, 81, 902, 3000, 3001],
            "count": 41,
            "text": "Once upon a time there was a lighthouse keeper who kept a second light.",
        },
        {"n": [17, 5003], "count": 2, "text": "The letter arrived forty years late."},
    ],
    "rejects": [{"reason": "fewer than 200 words", "count": 812}, {"reason": "judge: not a story", "count": 95}],
}
