"""The status line. It is drawn from the counters once a second, not per row."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from manycall.client.call_counters import CallCounters
from manycall.client.pool import ClientStatus
from manycall.run.status_display import StatusDisplay

RATE_SECONDS = 10.0
"""Rates are averages over the last 10 seconds."""
ROWS_OF_RATE = 20
ROW_RATE_SECONDS = 600.0
"""The rate of rows, and so the remaining time, is an average over at least 20 rows if 10 minutes have as many."""


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
        self._history: deque[tuple[float, int, int]] = deque()  # (time, calls, tokens)
        self._row_history: deque[tuple[float, int]] = deque()  # (time, rows)

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
        self._history.append((now, c.calls, tokens))
        while len(self._history) > 2 and now - self._history[0][0] > RATE_SECONDS:
            self._history.popleft()
        then, old_calls, old_tokens = self._history[0]
        span = max(now - then, 1e-9) if len(self._history) > 1 else float("inf")
        load = self._load(now)
        return {
            "calls_per_s": round((c.calls - old_calls) / span, 2),
            "tokens_per_s": round((tokens - old_tokens) / span, 1),
            "rows_per_s": self._row_rate(now),
            **load._asdict(),
            **c.figures,
            "total_rows": self._total,
            "total_ended": self._before + c.ended,
            "total_rejected": self._rejected + c.rejected,
            "total_truncated": self._truncated + c.truncated,
            **self._spending(c),
            "note": self._named_note(),
        }

    def _row_rate(self, now: float) -> float:
        """Return the rows per second of the last 10 seconds, or of a longer time with enough rows."""
        ended, history = self._counters.ended, self._row_history
        history.append((now, ended))
        while len(history) > 2 and now - history[1][0] >= RATE_SECONDS:
            if ended - history[1][1] < ROWS_OF_RATE and now - history[0][0] <= ROW_RATE_SECONDS:
                break
            history.popleft()
        then, ended_then = history[0]
        return round((ended - ended_then) / (now - then), 4) if now > then else 0.0

    def _named_note(self) -> str:
        """Return the text to append. A running score of a resumed run says that it is that of this session."""
        note = self._note()
        return f"{note} in this session" if note and self._before else note
