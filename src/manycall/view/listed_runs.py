"""Summaries of all runs for the list, which a page asks for every two seconds. Only files that changed are read."""

import threading
from collections.abc import Iterable
from typing import Any

from manycall.view.run_list import FILES, FoundRun
from manycall.view.run_state import STATES
from manycall.view.run_summary import LIST_TAIL_BYTES, RunFacts
from manycall.view.tail import FileStamps, file_stamps

SETTLED = frozenset({"stopped", "partial", "finished", "none"})
"""States that do not change while the files stay as they are."""


class ListedRuns:
    """The summaries of some runs, as far as they have been read before."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[FileStamps, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def summaries(self, found: Iterable[FoundRun]) -> list[dict[str, Any]]:
        """Return the summaries of runs: first those that need attention, then the newest."""
        with self._lock:
            read = {each.id: self._summary(each) for each in found}
            self._kept = {key: kept for key, kept in read.items() if kept[1]["state"] in SETTLED}
        runs = [summary for _, summary in read.values()]
        return sorted(runs, key=lambda run: (STATES.index(run["state"]), -(run["updated_at"] or 0.0)))

    def _summary(self, found: FoundRun) -> tuple[FileStamps, dict[str, Any]]:
        folder = found.folder
        stamp = file_stamps((found.path, folder / FILES["manifest"], folder / FILES["timeline"]))
        kept = self._kept.get(found.id)
        if kept is not None and kept[0] == stamp and kept[1]["name"] == found.name:
            return kept
        return stamp, RunFacts(found, LIST_TAIL_BYTES).summary()
