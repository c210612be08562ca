"""Routes that need a child process, and those of one row's details."""

from collections.abc import Mapping
from typing import Any

from manycall.store.segment_folder import journal_paths
from manycall.view.replies import ViewRefused, json_reply
from manycall.view.row_about import id_of, row_about, row_at
from manycall.view.row_calls import row_calls
from manycall.view.run_list import FoundRun
from manycall.view.view_context import Answer, Handler, ViewContext
from manycall.view.view_request import ViewRequest, path_number

PROMPT_SECONDS = 4.0


def _of_run(work: str) -> Handler:
    """Return the handler of work on one run."""

    def handler(context: ViewContext, request: ViewRequest) -> Answer:
        found = context.run(request)
        given = {"path": str(found.path), "argument": found.argument}
        return json_reply(context.work.state(work, given, _reads(found)))

    return handler


def _reads(found: FoundRun) -> list[Any]:
    names = ("out", "failures", "rejected", "manifest") if found.kind == "run" else ("out",)
    return [found.file(name) for name in names]


def _about(context: ViewContext, request: ViewRequest) -> Answer:
    found, n = context.run(request), path_number(request.words[1])
    with context.indexes.use(found, request.text("file") or "out") as opened:
        return json_reply(row_about(found, opened, n))


def _calls(context: ViewContext, request: ViewRequest) -> Answer:
    return json_reply(_journaled(context.run(request), _row(context, request)[1]))


def _journaled(found: FoundRun, row_id: str) -> dict[str, Any]:
    """Return the calls of a row, also those that are still in segments of workers, which have no `n`."""
    journals = journal_paths(found.folder) if found.kind == "run" else []
    parts = {path: row_calls(path, row_id) for path in journals}
    return {
        "calls": [
            call if path == found.file("calls") else {**call, "n": None}
            for path, part in parts.items()
            for call in part["calls"]
        ],
        "complete": all(part["complete"] for part in parts.values()),
    }


def _prompt(context: ViewContext, request: ViewRequest) -> Answer:
    found = context.run(request)
    row, row_id = _row(context, request)
    keys = [call["key"] for call in _journaled(found, row_id)["calls"]]
    given = {"path": str(found.path), "row": row, "id": row_id, "keys": keys}
    state = context.work.wait("prompt", given, _reads(found)[-1:], PROMPT_SECONDS)
    if state["state"] == "done":
        return json_reply(state["result"])
    note = state.get("error", "Rendering the prompt took too long.")
    return json_reply({"known": False, "messages": None, "note": f"The prompt cannot be shown. {note}"})


def _row(context: ViewContext, request: ViewRequest) -> tuple[dict[str, Any], str]:
    """Return a row, or the input of a failed row, and its id."""
    with context.indexes.use(context.run(request), request.text("file") or "out") as opened:
        row = row_at(opened, path_number(request.words[1]))[1]
        row_id = id_of(opened, row)
    own = row.get("row")
    return ({**own, "id": row_id} if isinstance(own, dict) else row), row_id


def _compare(context: ViewContext, request: ViewRequest) -> Answer:
    runs = compared_runs(context, request)
    given = {
        "paths": [str(run.path) for run in runs], "metric": request.text("metric"), "allow": request.names("allow"),
        "force": request.text("force") == "1",
    }  # fmt: skip
    state = context.work.state("compare", given, [path for run in runs for path in _reads(run)])
    if state["state"] != "done":
        return json_reply(state)
    listed = [{**each, "id": run.id} for each, run in zip(state["result"]["runs"], runs, strict=True)]
    return json_reply(state | {"result": state["result"] | {"runs": listed}})


def compared_runs(context: ViewContext, request: ViewRequest) -> list[FoundRun]:
    """Return the runs that a request names.

    Raises:
        ViewRefused: there are fewer than two, or one does not exist.
    """
    ids = request.names("runs")
    if not 2 <= len(ids) <= 10:
        raise ViewRefused(400, "Choose two to ten runs.", "runs=ID,ID")
    return [context.runs.find(each) for each in ids]


WORK_ROUTES: Mapping[str, Handler] = {
    "runs/*/scores": _of_run("scores"),
    "runs/*/judge": _of_run("judge"),
    "runs/*/data": _of_run("data"),
    "runs/*/rows/*/about": _about,
    "runs/*/rows/*/calls": _calls,
    "runs/*/rows/*/prompt": _prompt,
    "compare": _compare,
}
