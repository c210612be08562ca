"""The status line. It is drawn from the counters once a second, not per row."""

import sys
from collections import deque
from collections.abc import Callable
from shutil import get_terminal_size
from typing import Any, TextIO

import msgspec

from manycall.client.call_counters import CallCounters
from manycall.client.pool import ClientStatus
from manycall.records import FailureKind
from manycall.render import _duration, _short
from manycall.terminal import sanitize_line

LOG_SECONDS = 10.0
"""Seconds between lines if the output is neither a terminal nor a notebook (a log file, a pipe)."""
RATE_SECONDS = 10.0
"""Rates are averages over the last 10 seconds."""
SEPARATE_KINDS: tuple[FailureKind, ...] = ("content_filter", "refused", "empty", "invalid")
"""Kinds of failure that the line also counts separately."""


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
        note: Callable[[], str],
        stream: TextIO | None = sys.stderr,
    ) -> None:
        self._name, self._counters, self._total = name, counters, total
        self._before, self._rejected, self._truncated = before, rejected, truncated
        self._load, self._note, self._stream = load, note, stream
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
            line = sanitize_line(self.text(figures))
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
        return f"\r{line[: get_terminal_size().columns - 1]}\x1b[K"

    def _write(self, text: str) -> None:
        """Write to the stream, or stop writing if the terminal is gone. That does not stop the run."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream, self._live = None, False

    def rates(self, now: float) -> dict[str, Any]:
        """Return the rates over the last 10 seconds, the client's status and the counters."""
        c = self._counters
        tokens = c.prompt_tokens + c.completion_tokens
        self._history.append((now, c.calls, tokens, c.ended))
        while len(self._history) > 2 and now - self._history[0][0] > RATE_SECONDS:
            self._history.popleft()
        then, old_calls, old_tokens, old_ended = self._history[0]
        span = max(now - then, 1e-9) if len(self._history) > 1 else float("inf")
        load = self._load(now)
        counters = msgspec.structs.asdict(c)
        del counters["had_success"]
        return {
            "calls_per_s": round((c.calls - old_calls) / span, 2),
            "tokens_per_s": round((tokens - old_tokens) / span, 1),
            "rows_per_s": round((c.ended - old_ended) / span, 2),
            **load._asdict(),
            **counters,
        }

    def text(self, figures: dict[str, Any]) -> str:
        """Return the line: progress, remaining time, failures, speed. The most important parts come first."""
        c = self._counters
        ended = self._before + c.ended
        rejected, truncated = self._rejected + c.rejected, self._truncated + c.truncated
        total = self._total if ended <= (self._total or 0) else None  # some rows may belong to an earlier input only
        progress = f"/{total} {ended * 100 // total}%" if total else " rows"
        parts = [
            f"{self._name} {ended}{progress}",
            f"ETA {_duration((total - ended) / figures['rows_per_s'])}" if total and figures["rows_per_s"] > 0 else "",
            _failure_text(c),
            f"truncated {truncated}" if truncated else "",
            f"rejected {rejected}" if rejected else "",
            f"retries {c.retries}" if c.retries else "",
            f"{figures['calls_per_s']:.1f} calls/s",
            f"{_short(figures['tokens_per_s'])} tok/s",
            f"{figures['in_flight']} in flight ({figures['limited_by']})",
            self._note(),
        ]
        return " · ".join(part for part in parts if part)


def _failure_text(c: CallCounters) -> str:
    """Return the number of failed rows, with the kinds that are shown separately: `failed 5 (empty 2, refused 1)`."""
    kinds = ", ".join(f"{kind} {c.failure_counts[kind]}" for kind in SEPARATE_KINDS if kind in c.failure_counts)
    return f"failed {c.failed}" + (f" ({kinds})" if kinds else "") if c.failed else ""
