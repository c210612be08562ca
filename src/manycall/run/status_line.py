"""The status line. It is drawn from the counters once a second, not per row."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from manycall.client.call_counters import CallCounters
from manycall.client.pool import ClientStatus
from manycall.run.status_display import StatusDisplay

RATE_SECONDS = 10.0
"""Rates are averages over the last 10 seconds."""


NOTHING_SPENT: Mapping[str, Any] = {"total_cost": None, "currency": "USD", "budget_usage": [], "endpoints": []}


class StatusLine:
    """The status line of one run, and its figures.

    Args:
        name: name of the job.
        counters: read, never written.
        total: number of rows of the whole input, if known.
        before: number of rows done or rejected by earlier runs.
        rejected: number of rows rejected by earlier runs.
        truncated: number of rows of earlier runs that were truncated at max_tokens.
        load: returns the calls in flight, the window and the limiting factor; called once a second.
        spending: returns the cost and budget use of all sessions (`Spending.totals`); called once a second.
        note: returns a text to append, for example a running score.
        display: where the line is drawn.
    """

    def __init__(
        self,
        name: str,
        counters: CallCounters,
        *,
        total: int | None,
        before: int,
        rejected: int = 0,
        truncated: int = 0,
        load: Callable[[float], ClientStatus],
        spending: Callable[[CallCounters], Mapping[str, Any]] = lambda counters: NOTHING_SPENT,
        note: Callable[[], str],
        display: StatusDisplay,
    ) -> None:
        self._name, self._counters, self._total = name, counters, total
        self._before, self._rejected, self._truncated = before, rejected, truncated
        self._load, self._spending, self._note = load, spending, note
        self._display = display
        self._history: deque[tuple[float, int, int, int]] = deque()  # (time, calls, tokens, rows)

    def update(self, now: float) -> dict[str, Any]:
        """Draw the line if it is due, and return the figures for the timeline. Call this once a second."""
        figures = self.rates(now)
        self._display.show(self._name, figures, now)
        return figures

    def clear(self) -> None:
        """Clear the line, before anything else is printed."""
        self._display.clear()

    def announce(self, sentence: str) -> None:
        """Write a sentence that stays visible, above the status line."""
        self._display.announce(sentence)

    def rates(self, now: float) -> dict[str, Any]:
        """Return the rates of the last 10 seconds, the client's status, and the counts of this and of all sessions."""
        c = self._counters
        tokens = c.prompt_tokens + c.completion_tokens
        self._history.append((now, c.calls, tokens, c.ended))
        while len(self._history) > 2 and now - self._history[0][0] > RATE_SECONDS:
            self._history.popleft()
        then, old_calls, old_tokens, old_ended = self._history[0]
        span = max(now - then, 1e-9) if len(self._history) > 1 else float("inf")
        load = self._load(now)
        return {
            "calls_per_s": round((c.calls - old_calls) / span, 2),
            "tokens_per_s": round((tokens - old_tokens) / span, 1),
            "rows_per_s": round((c.ended - old_ended) / span, 2),
            **load._asdict(),
            **c.figures,
            "total_rows": self._total,
            "total_ended": self._before + c.ended,
            "total_rejected": self._rejected + c.rejected,
            "total_truncated": self._truncated + c.truncated,
            **self._spending(c),
            "note": self._note(),
        }
