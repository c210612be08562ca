"""Tables of the runs: medians, and ratios of runs of the same round."""

import os
import platform
import statistics
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from speed.clients import BARE, CLIENTS, FLOOR, IN_FLIGHT, OURS, SCRIPT
from speed.measure import Run

BOUND = 1.5
"""A client counts as limited by the server if wrk, or the fastest client, is less than this factor faster."""
Table = list[tuple[str, ...]]


class Runs:
    """All runs, with lookup by case and client."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.all = list(runs)

    def of(self, case: str, who: str, in_flight: int | None = None) -> list[Run]:
        """Return the runs that finished."""
        return [
            run for run in self.all
            if (run.case, run.who) == (case, who) and in_flight in (None, run.in_flight) and not run.fault
        ]  # fmt: skip

    def median(self, case: str, who: str, in_flight: int | None, figure: Callable[[Run], float]) -> float | None:
        """Return the median of a measurement; None without runs."""
        return statistics.median(found) if (found := [figure(run) for run in self.of(case, who, in_flight)]) else None

    def ratio(self, case: str, who: str, than: str, in_flight: int) -> float | None:
        """Return the ratio of CPU per row between two clients: the median over rounds in which both have a run."""
        others = {run.round: run.per_row for run in self.of(case, than, in_flight)}
        ratios = [run.per_row / others[run.round] for run in self.of(case, who, in_flight) if run.round in others]
        return statistics.median(ratios) if ratios else None

    def ceiling(self, case: str, in_flight: int) -> float:
        """Return the highest rows per second that any client got from the server."""
        rates = [run.rate for run in self.all if run.case == case and run.in_flight == in_flight and not run.fault]
        return max(rates, default=0.0)

    def spread(self) -> float:
        """Return the spread of repeated runs: the median of (slowest / fastest - 1)."""
        groups: dict[tuple[str, str, int], list[float]] = {}
        for run in self.all:
            if run.cpu and not run.fault:
                groups.setdefault((run.case, run.who, run.in_flight), []).append(run.per_row)
        return statistics.median([max(group) / min(group) - 1 for group in groups.values() if len(group) > 1] or [0.0])


def environment(versions: list[str], load: float, minutes: float, form: str, spread: float) -> str:
    """Describe the machine, the date and the noise."""
    cpu = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        cpu = info.read_text().partition("model name\t: ")[2].partition("\n")[0] or cpu
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, the {form} form, {minutes:.0f} minutes. "
        f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}. "
        f"Load before it began: {load:.1f}. Runs of the same thing lay {spread:.0%} apart (median)."
    )


def cost(runs: Runs) -> Table:
    """Return the table of clients by calls in flight, and over TLS."""
    columns = [("cost", each) for each in IN_FLIGHT] + [("tls", 64)]
    lines = [("", *(f"{each:,}" for each in IN_FLIGHT), "64, TLS")]
    for who in [*(client.label for client in CLIENTS), "wrk"]:
        if runs.of("cost", who) or any(run.who == who for run in runs.all):
            lines.append((who, *(_cell(runs, case, who, each) for case, each in columns)))
    return lines


def _cell(runs: Runs, case: str, who: str, in_flight: int) -> str:
    found = runs.of(case, who, in_flight)
    if not found:
        return "-"
    cpu = statistics.median(run.per_row for run in found)
    rate = statistics.median(run.rate for run in found)
    ratio = runs.ratio(case, who, OURS.label, in_flight)
    marks = "*" * (who != "wrk" and case == "cost" and runs.ceiling(case, in_flight) < BOUND * rate)
    marks += "¹" * (len(found) == 1)
    return f"{cpu:,.0f} · {rate:,.0f}{marks}" + (f" · {_times(ratio)}" if ratio else "")


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}×" if ratio >= 9.95 else f"{ratio:.2g}×"


def faults(runs: Runs) -> Iterator[str]:
    """Yield a sentence about the runs that failed, with the reasons."""
    failed = {f"{run.who} at {run.in_flight:,} ({run.case}): {run.fault}" for run in runs.all if run.fault}
    if failed:
        yield "Failed: " + "; ".join(sorted(failed)) + "."


def unpinned(runs: Runs) -> Table:
    """Return the table of clients that may use all cores: the range of CPU per row, and context switches per row."""
    sizes = sorted({run.in_flight for run in runs.all if run.case == "unpinned"})
    lines: Table = [("", *(f"{each:,}" for each in sizes))]
    for who in (OURS.label, BARE.label, FLOOR.label):
        found = [runs.of("unpinned", who, each) for each in sizes]
        lines.append((who, *(_range(each) if each else "-" for each in found)))
    return lines


def _range(found: list[Run]) -> str:
    cpu = [run.per_row for run in found]
    switches = statistics.median(run.switches / run.rows for run in found)
    return f"{statistics.median(cpu):,.0f} ({min(cpu):,.0f} to {max(cpu):,.0f}) · {switches:.2f}"


def efficiency(run: Run) -> float:
    """Return the share of the time in which all allowed calls were in flight. The case names the latency."""
    return run.rows * float(run.case.split()[0]) / run.in_flight / run.wall


def makespan(runs: Runs) -> Table:
    """Return the table of efficiency and CPU per row, by calls in flight and latency."""
    cases = sorted({(run.in_flight, run.case) for run in runs.all if run.case.endswith(" s")})
    lines = [("", *(f"{in_flight:,}, {case}" for in_flight, case in cases))]
    for who in (OURS.label, FLOOR.label):
        cells = []
        for in_flight, case in cases:
            share = runs.median(case, who, in_flight, efficiency)
            cpu = runs.median(case, who, in_flight, lambda run: run.per_row)
            cells.append("-" if share is None else f"{share:.3f} · {cpu:,.0f} µs")
        lines.append((who, *cells))
    return lines


def others(runs: Runs) -> Table:
    """Return the table of single figures: memory and times."""
    lines: Table = [("", "")]
    for run in runs.of("memory", OURS.label):
        lines.append((f"peak memory, {run.rows:,} rows, 64 in flight", f"{run.rss:.1f} MB"))
    if (slope := growth(runs)) is not None:
        lines.append(("memory per additional row", f"{slope:.0f} bytes"))
    starts = dict.fromkeys(
        (run.case, run.who, run.rows) for run in runs.all if run.case in ("start", "first", "resume")
    )
    words = {"first": "first call at the server: {}", "resume": "first new call after {rows:,} finished rows: {}"}
    for case, who, rows in starts:
        if (seconds := runs.median(case, who, None, lambda run: run.wall)) is not None:
            lines.append((words.get(case, "{}").format(who, rows=rows), f"{1000 * seconds:,.0f} ms"))
    return lines


def growth(runs: Runs) -> float | None:
    """Return the bytes of memory per additional row."""
    found = runs.of("memory", OURS.label)
    if len(found) < 2:
        return None
    few, many = found[0], found[-1]
    return 2**20 * (many.rss - few.rss) / (many.rows - few.rows)


class Target(msgspec.Struct):
    """A target: at least (`least`) or at most `limit`. `found` is None if it was not measured."""

    what: str
    limit: float
    found: float | None
    least: bool = True
    unit: str = "×"

    def line(self) -> tuple[str, ...]:
        """Return its row of the table."""
        wanted = f"{'≥' if self.least else '≤'} {self.limit:g}{self.unit}"
        if self.found is None:
            return self.what, wanted, "-", "-"
        reached = self.found >= self.limit if self.least else self.found <= self.limit
        return self.what, wanted, f"{self.found:.3g}{self.unit}", "reached" if reached else "**missed**"


def targets(runs: Runs) -> Table:
    """Return the table of targets and measurements."""
    return [("", "target", "measured", ""), *(target.line() for target in _targets(runs))]


def _targets(runs: Runs) -> Iterator[Target]:
    ours, pyreqwest = OURS.label, FLOOR.label
    for in_flight, times in zip(IN_FLIGHT, (12, 15, 25, 35), strict=True):
        found = runs.ratio("cost", SCRIPT.label, ours, in_flight)
        yield Target(f"less CPU than {SCRIPT.label}, {in_flight:,} in flight", times, found)
    for who in (BARE.label, "async-batch-llm", "flexllm", "litellm Router"):
        ratios = [found for each in IN_FLIGHT if (found := runs.ratio("cost", who, ours, each)) is not None]
        yield Target(f"less CPU than {who}, with any number in flight", 1, min(ratios, default=None))
    for in_flight in IN_FLIGHT:
        found = runs.ratio("cost", ours, pyreqwest, in_flight)
        yield Target(f"CPU relative to {pyreqwest}, {in_flight:,} in flight", 1.8, found, least=False)
    for in_flight, share in ((512, 0.97), (4096, 0.95)):
        found = runs.median("1 s", ours, in_flight, efficiency)
        what = f"share of the shortest possible time, 1 s per call, {in_flight:,} in flight"
        yield Target(what, share, found, unit="")
    yield Target("memory per additional row", 40, growth(runs), least=False, unit=" bytes")
    for case, who, limit in (("start", "manycall --help", 150), ("first", ours, 300)):
        seconds = runs.median(case, who, None, lambda run: run.wall)
        what = who if case == "start" else "first call at the server"
        yield Target(what, limit, None if seconds is None else 1000 * seconds, least=False, unit=" ms")
    waited = runs.median("resume", ours, None, lambda run: run.wall)
    yield Target("first new call after 1,000,000 finished rows", 10, waited, least=False, unit=" s")


def markdown(table: Table) -> str:
    """Return a Markdown table, whose header is the first row."""
    head, *lines = table
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ("---",) * len(head), *lines))


SECTIONS = {
    "**CPU of a row** (µs, user and system) · rows per second · relative to generate, by calls in flight:": cost,
    "**Free to use all cores**: CPU of a row (µs; median, range) · context switches, by calls in flight:": unpinned,
    "**Share of the shortest possible time** (rows × latency / calls in flight / time) · CPU of a row:": makespan,
    "**Memory, start, resume**:": others,
    "**Targets**:": targets,
}
MARKS = (
    "`*` limited by the server: no client got 1.5 times as many answers per second from it. "
    "`¹` one run only, because it is slow. `-` not finished in a minute, or not tried."
)


def report(runs: Runs, versions: list[str], load: float, minutes: float, form: str) -> str:
    """Return the text between the markers. Sections that were not measured are omitted."""
    parts = [environment(versions, load, minutes, form, runs.spread())]
    for title, make in SECTIONS.items():
        table = make(runs)
        if len(table) > 1 and len(table[0]) > 1:
            parts += [title, markdown(table), *((MARKS, *faults(runs)) if make is cost else ())]
    return "\n\n".join(parts)
