"""Where the status line is drawn: in place on a terminal and in a notebook, else a line every ten seconds."""

from collections.abc import Mapping
from shutil import get_terminal_size
from typing import Any, TextIO

from manycall.run.status_text import status_text
from manycall.terminal import sanitize_line

LOG_SECONDS = 10.0
"""Seconds between lines if the output is neither a terminal nor a notebook (a log file, a pipe)."""


class StatusDisplay:
    """One place on the screen, or in a log file, for a status line.

    Args:
        stream: where the line is written; None: nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._in_notebook = type(stream).__module__.startswith("ipykernel")
        self._live = stream is not None and (stream.isatty() or self._in_notebook)
        self._width = 0  # of the line in the notebook
        self._drawn_at: float | None = None

    def __repr__(self) -> str:
        return f"<StatusDisplay on {getattr(self._stream, 'name', None)}>"

    def show(self, name: str, figures: Mapping[str, Any], now: float) -> None:
        """Draw the line for the figures of one second, if it is due."""
        if self._drawn_at is None:
            self._drawn_at = now
        if self._stream is not None and (self._live or now - self._drawn_at >= LOG_SECONDS):
            self._drawn_at = now
            line = status_text(name, figures, self._columns())
            self._write(self._in_place(line) if self._live else line + "\n")

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
