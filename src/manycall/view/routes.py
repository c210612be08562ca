"""The routes below /api/. Each answers a GET request with JSON, or with the bytes of a file."""

from collections.abc import Callable
from typing import Any

from manycall import clock
from manycall._version import __version__
from manycall.view.event_stream import EventStreams, new_lines
from manycall.view.replies import PageReply, StreamedReply, ViewRefused, json_reply
from manycall.view.run_list import FoundRun, RunList
from manycall.view.run_summary import list_runs, run_detail
from manycall.view.tail import read_new_lines
from manycall.view.timeline_buckets import bucket_timeline, decode_timeline
from manycall.view.view_request import ViewRequest

Answer = PageReply | StreamedReply
Handler = Callable[["ViewRoutes", ViewRequest], Answer]
MAX_TIMELINE_BYTES = 1 << 30
"""More than a year of lines."""


class ViewRoutes:
    """Everything that the routes need.

    Args:
        runs: the runs that may be seen.
    """

    def __init__(self, runs: RunList) -> None:
        self.runs = runs
        self.streams = EventStreams()

    def answer(self, path: str, query: str) -> Answer:
        """Answer a request. This may take as long as reading a large file: call it from a thread.

        Args:
            path: the part of the path after /api/.

        Raises:
            ViewRefused: there is no such route or run, or the query is not valid.
        """
        words = tuple(path.split("/"))
        for pattern, handler in _ROUTES:
            if len(pattern) == len(words) and all(a in (b, "*") for a, b in zip(pattern, words, strict=True)):
                open_words = tuple(word for name, word in zip(pattern, words, strict=True) if name == "*")
                return handler(self, ViewRequest(open_words, query))
        raise ViewRefused(404, "There is no such route.", "The routes are in docs/view.md.")

    def run(self, request: ViewRequest) -> FoundRun:
        """Return the run that a request names first."""
        return self.runs.find(request.words[0])


def _runs(routes: ViewRoutes, request: ViewRequest) -> Answer:
    runs = list_runs(routes.runs.scan())
    return json_reply({
        "version": __version__, "folder": routes.runs.folder, "time": clock.wall_time(),
        "complete": routes.runs.is_complete, "runs": runs,
    })  # fmt: skip


def _run(routes: ViewRoutes, request: ViewRequest) -> Answer:
    return json_reply(run_detail(routes.run(request)))


def _timeline(routes: ViewRoutes, request: ViewRequest) -> Answer:
    new = read_new_lines(routes.run(request).file("timeline"), "0", MAX_TIMELINE_BYTES)
    points = request.integer("points", 600, 1, 5000)
    columns = bucket_timeline(decode_timeline(new.lines), request.time("from"), request.time("to"), points)
    return json_reply({**columns, "cursor": new.cursor})


def _events(routes: ViewRoutes, request: ViewRequest) -> Answer:
    pieces = routes.streams.events(routes.run(request), request.text("from", "0"))
    return StreamedReply(pieces, "text/event-stream; charset=utf-8")


def _lines(routes: ViewRoutes, request: ViewRequest) -> Answer:
    return json_reply(new_lines(routes.run(request), request.text("from", "0")))


_HANDLERS: dict[str, Any] = {
    "runs": _runs,
    "runs/*": _run,
    "runs/*/timeline": _timeline,
    "runs/*/events": _events,
    "runs/*/lines": _lines,
}
_ROUTES: list[tuple[list[str], Handler]] = [(pattern.split("/"), handler) for pattern, handler in _HANDLERS.items()]
