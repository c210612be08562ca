"""How a run went, for people and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from manycall.control.budget import dollars
from manycall.plain import plain, plain_line
from manycall.store.manifest import run_folder
from manycall.store.reading import read_lines

TELL = 0.1
"""Of its time a run may be bound by the client before that is told."""


class Printable:
    """Base class of public results: `str()` returns their text, and a notebook shows the same text."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre; overflow-x: auto">{escape(plain(str(self)))}</pre>'


class Report(Printable, msgspec.Struct, kw_only=True):
    """How a run went. `print` it for a table.

    Attributes:
        rows: in the whole input, None if unknown. done: those in the output, earlier runs' included; truncated: of
            these, the rows with an answer that was cut at max_tokens (after `map`: those of this run).
        rejected: rows that were not wanted, earlier runs' included; done + rejected + failed = rows, when all is over.
        written: lines in the output, where a row may become many; None where it may not.
        tally: what the job counted in this run besides.
        failed: rows given up in this run, and in failures.jsonl; unfinished: why, and how many (records.Unfinished).
        calls: answered in this run; replayed: taken from the journal instead.
        maybe_billed: attempts that gave no answer and may have been charged; unanswered: those of them that had a reply
            (an empty one, a filtered one), whose tokens are counted.
        prompt_tokens, completion_tokens: of this run's replies; cost: in dollars, where a price was given.
        total_prompt_tokens, total_completion_tokens, total_cost: the same of all sessions of this output, also of those
            that were killed. budgets: how much of each budget is spent.
        seconds: wall time of this run.
        client_bound: for how many of them this process was the limit; client: how that looked at its worst.
        reasons: why rows were given up: the most frequent errors, and how often each came.
        sim: what the simulated endpoint says of itself; None with a real one.
    """

    name: str
    out: Path
    rows: int | None
    done: int
    failed: int
    unfinished: dict[str, int] = {}
    truncated: int = 0
    rejected: int = 0
    written: int | None = None
    tally: dict[str, int] = {}
    calls: int = 0
    replayed: int = 0
    retries: int = 0
    throttled: int = 0
    maybe_billed: int = 0
    unanswered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    total_prompt_tokens: int = 0
    total_completion_tokens: int = 0
    total_cost: float | None = None
    budgets: list[str] = []
    seconds: float = 0.0
    client_bound: float = 0.0
    client: str = ""
    reasons: list[tuple[str, int]] = []
    sim: dict[str, Any] | None = None

    @property
    def run_folder(self) -> Path:
        """Where the manifest, the journal, the failures and the timeline are."""
        return run_folder(self.out)

    def results(self) -> Iterator[dict[str, Any]]:
        """The finished rows, read from the output one at a time."""
        for _, line in read_lines(self.out):
            yield msgspec.json.decode(line)

    def lines(self) -> list[tuple[str, str]]:
        """What there is to say, as (what, how much)."""
        rate = self.calls / self.seconds if self.seconds > 0 else 0.0
        lines = [
            ("rows", self._rows()),
            (
                "calls",
                f"{self.calls} ({rate:.1f}/s), {self.retries} retries, {self.replayed} replayed from the journal",
            ),
            *self._spent(),
            *([("budget", ", ".join(self.budgets))] if self.budgets else []),
            ("time", f"{self.seconds:.1f} s"),
            ("output", str(self.out)),
            ("beside it", f"{self.run_folder}/"),
        ]
        if self.client_bound > TELL * self.seconds:
            held = f"{self.client_bound:.0f} s of it this process was the limit ({self.client}), not the servers"
            lines.insert(lines.index(("time", f"{self.seconds:.1f} s")) + 1, ("client-bound", held))
        lines += [(what, f"{count:,}") for what, count in self.tally.items()]
        if self.rejected:
            lines.append(("rejects", f"{self.run_folder / 'rejected.jsonl'} (with the reasons)"))
        if self.truncated:
            lines.append(("truncated", f"{self.truncated} rows were cut at max_tokens, and are kept as they stand"))
        if in_doubt := self.maybe_billed - self.unanswered:
            lines.insert(2, ("in doubt", f"{in_doubt} attempts brought no reply and may have been billed"))
        if self.unanswered:
            lines.insert(
                2, ("no answer", f"{self.unanswered} replies held none; their tokens are counted all the same")
            )
        if self.failed:
            lines.append(("failures", f"{self.run_folder / 'failures.jsonl'} (the same command tries them again)"))
            lines += [(f"{count} ×", reason) for reason, count in self.reasons]
        return lines

    def _spent(self) -> Iterator[tuple[str, str]]:
        """Tokens and cost of all sessions, and of this one if there were others."""
        total = _tokens(self.total_prompt_tokens, self.total_completion_tokens)
        session = _tokens(self.prompt_tokens, self.completion_tokens)
        resumed = total != session
        yield "tokens", f"{total} in all sessions; {session} in this one" if resumed else total
        if self.total_cost is not None and self.cost is not None:
            cost = dollars(self.total_cost)
            yield "cost", f"{cost} in all sessions; {dollars(self.cost)} in this one" if resumed else cost

    @property
    def others(self) -> int:
        """Rows of the output, or of its rejects, that an earlier run was asked for and this one was not."""
        return 0 if self.rows is None else max(0, self.done + self.rejected + self.failed - self.rows)

    def _rows(self) -> str:
        of = "" if self.rows is None else f" of {self.rows + self.others}"
        others = f"; {self.others} of these were not asked for this time" if self.others else ""
        cut = f" ({self.truncated} of them truncated)" if self.truncated else ""
        wrote = "" if self.written is None else f" (they gave {self.written})"
        rejected = f"; {self.rejected} rejected" if self.rejected else ""
        failed = f"; {counted(self.unfinished)}" if self.failed else ""
        return f"{self.done} done{of}{cut}{wrote}{rejected}{failed}{others}"

    def __str__(self) -> str:
        return table((self.name, ""), self.lines())


def _tokens(prompt: int, completion: int) -> str:
    return f"{prompt + completion:,} ({prompt:,} in, {completion:,} out)"


def counted(unfinished: Mapping[str, int]) -> str:
    """`12 not: 7 filtered, 5 empty`: the most frequent reason first."""
    each = sorted(unfinished.items(), key=lambda pair: (-pair[1], pair[0]))
    return f"{sum(unfinished.values())} not: " + ", ".join(f"{count} {verdict}" for verdict, count in each)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal, drawn as in Markdown. A page of Markdown needs its cells from `manycall.markdown`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.MARKDOWN)
    for name in head:
        grid.add_column(Text(plain_line(name)), no_wrap=True)
    for row in rows:
        grid.add_row(*(Text(plain_line(cell)) for cell in row))
    text = StringIO()
    console = Console(file=text, width=1000, color_system=None, force_jupyter=False)  # or rich displays it in notebooks
    console.print(grid)
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())
