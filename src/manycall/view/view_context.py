"""Objects that all routes share: the runs that may be seen, their open indexes, the open streams."""

from collections.abc import Callable

from manycall.view.background_work import BackgroundWork
from manycall.view.call_latency import CallLatency
from manycall.view.event_stream import EventStreams
from manycall.view.listed_runs import ListedRuns
from manycall.view.open_indexes import OpenIndexes
from manycall.view.paired_rows import KeptPairs
from manycall.view.replies import PageReply, StreamedReply
from manycall.view.run_list import FoundRun, RunList
from manycall.view.view_request import ViewRequest

Answer = PageReply | StreamedReply

MAX_LATENCIES = 12


class ViewContext:
    """Everything that the routes need.

    Args:
        runs: the runs that may be seen.
    """

    def __init__(self, runs: RunList) -> None:
        self.runs = runs
        self.listed = ListedRuns()
        self.streams = EventStreams()
        self.indexes = OpenIndexes()
        self.work = BackgroundWork()
        self.compared = KeptPairs()
        self._latencies: dict[str, CallLatency] = {}

    def latency(self, found: FoundRun) -> CallLatency:
        """Return the durations of a run's calls, as far as they have been read."""
        while len(self._latencies) >= MAX_LATENCIES and found.id not in self._latencies:
            self._latencies.pop(next(iter(self._latencies)), None)
        return self._latencies.setdefault(found.id, CallLatency(found.file("calls")))

    def run(self, request: ViewRequest) -> FoundRun:
        """Return the run that a request names first.

        Raises:
            ViewRefused: there is no such run.
        """
        return self.runs.find(request.words[0])

    def close(self) -> None:
        """Close what is open."""
        self.indexes.close()
        self.work.close()
        self.compared.close()


Handler = Callable[[ViewContext, ViewRequest], Answer]
