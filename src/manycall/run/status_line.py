"""The status line. It is drawn from the counters once a second, not per row."""

import sys
from collections import deque
from collections.abc import Callable, Mapping
from shutil import get_terminal_size
from typing import Any, TextIO

from manycall.client.call_counters import CallCounters
from manycall.client.pool import ClientStatus
from manycall.run.status_text import status_text
from manycall.terminal import sanitize_line

LOG_SECONDS = 10.0
"""Seconds between lines if the output is neither a terminal nor a notebook (a log file, a pipe)."""
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
        stream: where the line is written; None: nowhere.
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
        stream: TextIO | None = sys.stderr,
    ) -> None:
        self._name, self._counters, self._total = name, counters, total
        self._before, self._rejected, self._truncated = before, rejected, truncated
        self._load, self._spending, self._note, self._stream = load, spending, note, stream
        self._in_notebook = type(stream).__module__.startswith("ipykernel")
        self._live = stream is not None and (stream.isatty() or self._in_notebook)
        self._width = 0  # of the line in the notebook
        self._history: deque[tuple[float, int, int, int]] = deque()  # (time, calls, tokens, rows)
        self._drawn_at: float | None = None

    def update(self, now: float) -> dict[str, Any]:
        """Draw the line if it is due, and return the figures for the timeline. Call this once a second."""
        figures = self.rates(now)
        if self._drawn_at is None:
            self._drawn_at = now
        if self._stream is not None and (self._live or now - self._drawn_at >= LOG_SECONDS):
            self._drawn_at = now
            line = status_text(self._name, figures, self._columns())
            self._write(self._in_place(line) if self._live else line + "\n")
        return figures

    def clear(self) -> None:
        """Clear the line, before anything else is printed."""
        if self._live:
            self._write(self._in_place("") + "\r" * self._in_notebook)

    def announce(self, sentence: str) -> None:
        """Write a sentence that stays visible, above the status line."""
        if self._stream is not None:
            self.clear()
            self._write(sanitize_line(sentence) + "\n")

    def _in_place(self, line: str) -> str:
        """Return what replaces the line on the screen. Notebooks do not support the escape sequence that clears it."""
        if self._in_notebook:
            padded, self._width = line.ljust(self._width), len(line)
            return f"\r{padded}"
        return f"\r{line}\x1b[K"

    def _columns(self) -> int | None:
        """Return the width of the terminal, without its last column; None where a line may have any length."""
        return get_terminal_size().columns - 1 if self._live and not self._in_notebook else None

    def _write(self, text: str) -> None:
        """Write to the stream, or stop writing if the terminal is gone. That does not stop the run."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream, self._live = None, False

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
