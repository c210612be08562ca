"""Events -> counters -> one line. Nothing is drawn for a row; once a second the counters are read."""

import sys
from collections import deque
from collections.abc import Callable
from shutil import get_terminal_size
from typing import Any, NamedTuple, TextIO

import msgspec

from manycall.plain import plain_line
from manycall.records import Completion, Embeddings, Unfinished, Usage

PLAIN_SECONDS = 10.0
"""Seconds between lines when nobody watches (a log file, a pipe)."""
RECENT_SECONDS = 10.0
"""Rates are over so many seconds."""
APART: tuple[Unfinished, ...] = ("filtered", "refused", "empty", "invalid")
"""Told apart in the line, where there are any; all else is an error."""


class Counters(msgspec.Struct):
    """What has happened so far, in this process.

    Attributes:
        sent: attempts; answered: those that gave an answer; retries: those sent again.
        throttled: refusals with status 429. resent: calls that stalled and were sent to another endpoint too.
        maybe_billed: attempts without an answer that the server may have charged all the same; unanswered: those of
            them that had a reply, whose tokens are counted.
        replayed: calls answered from the journal.
        done, failed, rejected: rows. unfinished: why those failed, and how many. truncated: rows that are done with
            an answer that was cut at max_tokens.
        prompt_tokens, completion_tokens: of every reply, those that held no answer included.
        had_success: an earlier run of this output had answers.
    """

    sent: int = 0
    answered: int = 0
    retries: int = 0
    throttled: int = 0
    resent: int = 0
    maybe_billed: int = 0
    unanswered: int = 0
    replayed: int = 0
    done: int = 0
    failed: int = 0
    rejected: int = 0
    unfinished: dict[str, int] = {}
    truncated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    had_success: bool = False

    @property
    def any_success(self) -> bool:
        """Some call has been answered, now or in an earlier run."""
        return self.had_success or self.answered > 0

    @property
    def ended(self) -> int:
        """Rows that have come to their end, whichever."""
        return self.done + self.failed + self.rejected

    def answer(self, answer: Completion | Embeddings) -> None:
        """Count one answer."""
        self.answered += 1
        self.spent(answer.usage)

    def spent(self, usage: Usage) -> None:
        """Count the tokens of a reply."""
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens

    def gave_up(self, verdict: Unfinished) -> None:
        """Count a row that is not done."""
        self.failed += 1
        self.unfinished[verdict] = self.unfinished.get(verdict, 0) + 1


class Load(NamedTuple):
    """What is going on at the endpoints.

    Attributes:
        in_flight: calls; window: how many there may be.
        binds: what keeps it from being faster, in a word or two.
    """

    in_flight: int
    window: int
    binds: str


class Progress:
    """The status line of one run, and the figures behind it.

    Args:
        name: what is running.
        counters: read, never written.
        total: rows of the whole input, if known; before: those that were done when we began, and those of them that
            were rejected; truncated: those that were cut at max_tokens.
        load: what is in flight and what binds, asked once a second.
        note: something to add: a running score.
        stream: where the line goes; None: nowhere.
    """

    def __init__(
        self,
        name: str,
        counters: Counters,
        *,
        total: int | None,
        before: int,
        rejected: int = 0,
        truncated: int = 0,
        load: Callable[[float], Load],
        note: Callable[[], str],
        stream: TextIO | None = sys.stderr,
    ) -> None:
        self._name, self._counters, self._total = name, counters, total
        self._before, self._rejected, self._truncated = before, rejected, truncated
        self._load, self._note, self._stream = load, note, stream
        self._live = stream is not None and stream.isatty()
        self._past: deque[tuple[float, int, int, int]] = deque()
        self._drawn: float | None = None

    def tick(self, now: float) -> dict[str, Any]:
        """Draw the line if it is time; return the figures for the timeline. Call it once a second."""
        figures = self.figures(now)
        if self._drawn is None:
            self._drawn = now
        if self._stream is not None and (self._live or now - self._drawn >= PLAIN_SECONDS):
            self._drawn = now
            line = plain_line(self.line(figures))
            if self._live:
                line = line[: get_terminal_size().columns - 1]
            self._say(f"\r{line}\x1b[K" if self._live else line + "\n")
        return figures

    def clear(self) -> None:
        """Take the line away, before anything else is printed."""
        if self._live:
            self._say("\r\x1b[K")

    def _say(self, text: str) -> None:
        """A terminal that went away is no reason to stop."""
        if self._stream is not None:
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream, self._live = None, False

    def figures(self, now: float) -> dict[str, Any]:
        """Rates over the last seconds, and the counters."""
        c = self._counters
        tokens = c.prompt_tokens + c.completion_tokens
        self._past.append((now, c.answered, tokens, c.ended))
        while len(self._past) > 2 and now - self._past[0][0] > RECENT_SECONDS:
            self._past.popleft()
        then, answered, old_tokens, ended = self._past[0]
        span = max(now - then, 1e-9) if len(self._past) > 1 else float("inf")
        load = self._load(now)
        return {
            "calls_per_s": round((c.answered - answered) / span, 2),
            "tokens_per_s": round((tokens - old_tokens) / span, 1),
            "rows_per_s": round((c.ended - ended) / span, 2),
            **load._asdict(),
            **msgspec.structs.asdict(c),
        }

    def line(self, f: dict[str, Any]) -> str:
        """How far, how fast, how much is broken, how long: in one line."""
        c = self._counters
        ended = self._before + c.ended
        ok, rejected = self._before - self._rejected + c.done, self._rejected + c.rejected
        total = self._total if ended <= (self._total or 0) else None  # some of them may be an earlier run's alone
        share = f"/{total} {ended * 100 // total}%" if total else " rows"
        parts = [
            f"{self._name} {ended}{share}",
            f"{f['calls_per_s']:.1f} calls/s {_short(f['tokens_per_s'])} tok/s",
            f"{f['in_flight']} in flight ({f['binds']})",
            f"ok {ok} trunc {self._truncated + c.truncated} {_broken(c)} retry {c.retries}",
            f"rejected {rejected}" if rejected else "",
            self._note(),
        ]
        if total and f["rows_per_s"] > 0:
            parts.append(f"eta {_duration((total - ended) / f['rows_per_s'])}")
        return " | ".join(part for part in parts if part)


def _broken(c: Counters) -> str:
    apart = [(verdict, c.unfinished[verdict]) for verdict in APART if verdict in c.unfinished]
    others = c.failed - sum(count for _, count in apart)
    return " ".join(f"{what} {count}" for what, count in [*apart, ("err", others)])


def _short(value: float) -> str:
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.1f}k" if value < 1e6 else f"{value / 1e6:.1f}M"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f}s"
    minutes, hours = int(seconds // 60) % 60, int(seconds // 3600)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{int(seconds % 60):02}s"
