"""Routes of the list of runs, of one run, and of its timeline."""

from collections.abc import Mapping

from manycall import clock
from manycall._version import __version__
from manycall.view.event_stream import new_lines
from manycall.view.replies import StreamedReply, json_reply
from manycall.view.run_summary import run_detail
from manycall.view.tail import read_new_lines
from manycall.view.timeline_buckets import TimelineLine, bucket_timeline, decode_timeline
from manycall.view.view_context import Answer, Handler, ViewContext
from manycall.view.view_request import ViewRequest

QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95}


def _runs(context: ViewContext, request: ViewRequest) -> Answer:
    runs = context.listed.summaries(context.runs.scan())
    return json_reply({
        "version": __version__, "folder": context.runs.folder, "time": clock.wall_time(),
        "complete": context.runs.is_complete, "runs": runs,
    })  # fmt: skip


def _run(context: ViewContext, request: ViewRequest) -> Answer:
    return json_reply(run_detail(context.run(request)))


def _timeline(context: ViewContext, request: ViewRequest) -> Answer:
    found = context.run(request)
    path, cursor, lines = found.file("timeline"), "0", list[TimelineLine]()
    while (new := read_new_lines(path, cursor)).lines:  # piece by piece, because a month has a gigabyte
        lines += decode_timeline(new.lines)
        cursor = new.cursor
    points = request.integer("points", 600, 1, 5000)
    columns = bucket_timeline(lines, request.time("from"), request.time("to"), points)
    latency = context.latency(found)
    latency.advance()
    for name, share in QUANTILES.items():
        values = latency.quantiles(columns["time"], share)
        columns["series"][name] = {"mean": values, "min": values, "max": values}
    return json_reply({**columns, "cursor": cursor})


def _events(context: ViewContext, request: ViewRequest) -> Answer:
    pieces = context.streams.events(context.run(request), request.text("from", "0"))
    return StreamedReply(pieces, "text/event-stream; charset=utf-8")


def _lines(context: ViewContext, request: ViewRequest) -> Answer:
    return json_reply(new_lines(context.run(request), request.text("from", "0")))


RUN_ROUTES: Mapping[str, Handler] = {
    "runs": _runs,
    "runs/*": _run,
    "runs/*/timeline": _timeline,
    "runs/*/events": _events,
    "runs/*/lines": _lines,
}
