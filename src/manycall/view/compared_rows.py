"""Rows of two runs side by side: the same ids, with the scores as they are written, and the difference of two texts.

The table of a comparison is that of `manycall compare`, which scores the answers again. These rows use the indexes of
both files, so that they can be paged. Samples of one question are averaged.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from manycall.view.open_indexes import OpenIndex
from manycall.view.paired_rows import SIDES, PairedRows
from manycall.view.replies import ViewRefused, json_reply
from manycall.view.row_about import row_at
from manycall.view.row_values import flat_value, shown_cell, shown_text
from manycall.view.run_summary import read_manifest
from manycall.view.view_context import Answer, Handler, ViewContext
from manycall.view.view_request import ViewRequest, path_number
from manycall.view.work_routes import compared_runs

MAX_DIFFERENCE_CHARACTERS = 20_000
SCORE = "score."
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


def _compared_rows(context: ViewContext, request: ViewRequest) -> Answer:
    runs = compared_runs(context, request)[:2]
    manifests = [read_manifest(run)[0] for run in runs]
    has_samples = any(each is not None and each.settings.get("samples") is True for each in manifests)
    offset, limit = request.integer("offset", 0, 0, 1 << 40), request.integer("limit", 50, 1, 500)
    side = request.text("side", "won")
    if side not in SIDES:
        raise ViewRefused(400, f"There is no side {side!r}.", f"Sides: {', '.join(SIDES)}.")
    with ExitStack() as stack:
        opened = [stack.enter_context(context.indexes.use(run, "out")) for run in runs]
        metrics = _common_scores(opened)
        asked = request.text("metric")
        metric = next((name for name in metrics if asked in (name, name.removeprefix(SCORE))), metrics[0])
        is_complete = all(each.rows.is_complete for each in opened)
        pairs = _pairs(context, (runs[0].id, runs[1].id, metric), opened, has_samples)
        chosen = pairs.questions(side, offset, limit)
        return json_reply({
            "complete": is_complete, "metric": metric.removeprefix(SCORE),
            "metrics": [name.removeprefix(SCORE) for name in metrics],
            "counts": pairs.counts, "total": pairs.counts[side], "rows": [_shown(opened, *each) for each in chosen],
        })  # fmt: skip


def _pairs(context: ViewContext, key: tuple[str, str, str], opened: list[OpenIndex], has_samples: bool) -> PairedRows:
    """Return the pairs of two runs, which are kept until one of them has more rows."""
    version = tuple((each.rows.indexed, each.rows.generation, id(each.rows)) for each in opened)
    return context.compared.get((*key, version), lambda: PairedRows(opened, key[2], has_samples))


def _common_scores(opened: list[OpenIndex]) -> list[str]:
    names = [[field.name for field in each.rows.layout.fields if field.role == "score"] for each in opened]
    common = [name for name in names[0] if name in names[1]]
    if not common:
        raise ViewRefused(422, "The runs have no score in common.", "Compare outputs of `manycall eval` or `judge`.")
    return common


def _shown(opened: list[OpenIndex], name: str, *places: Any) -> dict[str, Any]:
    numbers, scores = places[:2], places[2:]
    rows = [None if n is None else row_at(each, n)[1] for each, n in zip(opened, numbers, strict=True)]
    return {
        "id": shown_cell(name)[0], "n": numbers, "scores": scores,
        "question": next((cell for cell in _cells(opened, rows, "question") if cell is not None), None),
        "target": next((cell for cell in _cells(opened, rows, "target") if cell is not None), None),
        "extracted": list(_cells(opened, rows, "extracted")), "answers": list(_cells(opened, rows, "answer")),
    }  # fmt: skip


def _cells(opened: list[OpenIndex], rows: list[dict[str, Any] | None], role: str) -> Iterator[Any]:
    for each, row in zip(opened, rows, strict=True):
        field = each.rows.layout.roles.get(role)
        yield None if row is None or field is None else shown_cell(flat_value(row, field))[0]


def _difference(context: ViewContext, request: ViewRequest) -> Answer:
    """Return two rows, and the difference of their answers by words. The row of one run may be missing: `n=3,`."""
    runs = compared_runs(context, request)[:2]
    words = request.text("n").split(",")
    if len(words) != 2 or not any(words):
        raise ViewRefused(400, "Choose a row of each run.", "n=3,5")
    numbers = [path_number(word) if word else None for word in words]
    with ExitStack() as stack:
        opened = [stack.enter_context(context.indexes.use(run, "out")) for run in runs]
        rows = [None if n is None else row_at(each, n)[1] for each, n in zip(opened, numbers, strict=True)]
        fields = [each.rows.layout.roles.get("answer", "") for each in opened]
    texts = [
        None if row is None else shown_text(flat_value(row, field) or "")
        for row, field in zip(rows, fields, strict=True)
    ]
    return json_reply({"n": numbers, "fields": fields, "texts": texts, "difference": word_difference(*texts)})


def word_difference(first: str | None, other: str | None) -> list[tuple[str, str]] | None:
    """Return the difference of two texts by words as (`=`, `-` or `+`, text).

    None if one of them is missing, or if they are too long for that.
    """
    if first is None or other is None or len(first) + len(other) > MAX_DIFFERENCE_CHARACTERS:
        return None
    a, b = _WORDS.findall(first), _WORDS.findall(other)
    pieces = list[tuple[str, str]]()
    for tag, a1, a2, b1, b2 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(("=", "".join(a[a1:a2])))
            continue
        pieces += [(mark, text) for mark, text in (("-", "".join(a[a1:a2])), ("+", "".join(b[b1:b2]))) if text]
    return pieces


COMPARE_ROUTES: Mapping[str, Handler] = {"compare/rows": _compared_rows, "compare/difference": _difference}
