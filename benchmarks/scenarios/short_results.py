"""Results of the short runs: each compared with the best fixed setting, and the table of the classes."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from scenarios.rules import fixed
from scenarios.run_classes import ALL_AT_ONCE, ShortRun
from scenarios.short_figures import Times

LIMITS = {"blind": 1.15, "gauges": 1.05}
"""Targets: the duration of a run relative to the best fixed setting, without and with `/metrics`."""
HEADS = (
    "class", "runs", "≤ 1.15", "median", "worst", "against `-j` knee", "with /metrics ≤ 1.05", "worst", "429",
    "longest queue", "time-outs",
)  # fmt: skip

RunsByRule = Mapping[tuple[str, int], Times]
"""(rule, seed) -> measurements."""


class Result(msgspec.Struct):
    """Result of one short run: means over the seeds.

    The best fixed setting is the one with the smallest mean over all seeds. The smallest of each seed would be the luck
    of the order of the rows. All rules have the same answers for the same seed.

    Attributes:
        ratios: Rule -> seconds relative to the best fixed setting. Empty if rows failed under every fixed setting.
        to_knee: Seconds without `/metrics`, relative to the fixed setting at the knee; None if rows failed there.
        seconds: Seconds without `/metrics`.
        best: The best fixed setting.
        best_seconds: Its seconds.
        failed: Number of rows that failed without or with `/metrics`.
        refused: Share of the attempts without `/metrics` that got status 429.
        queue: Longest queue at a server without `/metrics`, relative to the knee.
        timeouts: Attempts without `/metrics` that timed out.
        other_p95: Latency of the other client, relative to that during the fixed setting at the knee; None without one.
    """

    run: ShortRun
    ratios: dict[str, float]
    to_knee: float | None
    seconds: float
    best: int
    best_seconds: float
    failed: int
    refused: float
    queue: float
    timeouts: int
    other_p95: float | None

    @property
    def misses(self) -> bool:
        """Whether a target is missed, a row failed, or there is no valid reference."""
        return bool(self.failed) or not self.ratios or any(LIMITS[rule] < each for rule, each in self.ratios.items())


def compare(run: ShortRun, runs: RunsByRule) -> Result:
    """Compare the runs with manycall's own rule with those with a fixed setting."""

    def of(rule: str) -> list[Times]:
        return [times for (each, _), times in runs.items() if each == rule]

    def seconds(rule: str) -> float:
        return statistics.mean(times.seconds for times in of(rule))

    own = {rule: seconds(rule) for rule in LIMITS if of(rule)}
    blind = of("blind")
    valid = [size for size in run.sweep if all(times.done == run.rows for times in of(fixed(size)))]
    best = min(valid, key=lambda size: seconds(fixed(size)), default=0)
    best_seconds = seconds(fixed(best)) if best else 0.0
    at_knee = of(fixed(run.at_knee))
    return Result(
        run=run,
        ratios={rule: each / best_seconds for rule, each in own.items()} if best else {},
        to_knee=own["blind"] / seconds(fixed(run.at_knee)) if run.at_knee in valid else None,
        seconds=own["blind"],
        best=best,
        best_seconds=best_seconds,
        failed=sum(run.rows - times.done for rule in own for times in of(rule)),
        refused=sum(times.refused for times in blind) / sum(times.sends for times in blind),
        queue=max(times.queue for times in blind) / run.knee,
        timeouts=sum(times.timeouts for times in blind),
        other_p95=statistics.mean(
            times.other_p95 / beside.other_p95 for times, beside in zip(blind, at_knee, strict=True)
        )
        if run.other_client
        else None,
    )


def class_row(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    """Return the cells of one class."""
    blind = [each.ratios["blind"] for each in results if each.ratios]
    gauges = [each.ratios["gauges"] for each in results if "gauges" in each.ratios]
    knees = [each.to_knee for each in results if each.to_knee is not None and each.run.knee != ALL_AT_ONCE]
    queue = max((each.queue for each in results if not each.run.is_hosted), default=None)
    refused = max(each.refused for each in results)
    return (
        name,
        str(len(results)),
        _share(blind, LIMITS["blind"], len(results)),
        f"{statistics.median(blind):.2f}" if blind else "-",
        f"{max(blind):.2f}" if blind else "-",
        f"{statistics.median(knees):.2f}, {max(knees):.2f}" if knees else "-",
        _share(gauges, LIMITS["gauges"], len(gauges)) if gauges else "-",
        f"{max(gauges):.2f}" if gauges else "-",
        f"{refused:.1%}" if refused else "-",
        f"×{queue:.2f}" if queue is not None else "-",
        str(sum(each.timeouts for each in results)),
    )


def _share(ratios: Iterable[float], limit: float, count: int) -> str:
    return f"{sum(each <= limit for each in ratios) / count:.0%}"


def class_table(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return the table of the classes, and of all runs together."""
    kinds = dict.fromkeys(each.run.kind for each in results)
    rows = [class_row(kind, [each for each in results if each.run.kind == kind]) for kind in kinds]
    return [HEADS, *rows, class_row("**all**", results)]


def miss_table(results: Iterable[Result], reasons: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return the table of the runs that miss a target, with the reasons that are known."""
    rows: list[tuple[str, ...]] = [("run", "seconds", "best fixed", "ratio", "with /metrics", "reason")]
    for each in results:
        if each.misses:
            best = f"{each.best_seconds:.1f} (`-j {each.best}`)" if each.best else "rows failed with each setting"
            ratios = (f"{each.ratios[rule]:.2f}" if rule in each.ratios else "-" for rule in LIMITS)
            failed = f"{each.failed} rows failed" if each.failed else ""
            reason = reasons.get(each.run.name, "")
            rows.append(
                (each.run.name, f"{each.seconds:.1f}", best, *ratios, "; ".join(filter(None, (failed, reason))))
            )
    return rows


def other_clients(results: Iterable[Result]) -> str:
    """Return a sentence about the latency of the other client of a shared server; "" without one."""
    found = [f"{each.run.name}: ×{each.other_p95:.2f}" for each in results if each.other_p95 is not None]
    return (
        f"95th percentile of the other client's latency, relative to that during `-j` knee: {'; '.join(found)}."
        if found
        else ""
    )
