"""Measurements of the long runs, and their table."""

import statistics

import msgspec

from scenarios.long_runs import Scenario
from scenarios.rules import run_with_rule
from simulate import Witness

WARM_UP = 60.0
"""Seconds at the start of a run that are excluded if the reference is the best fixed setting. `whole` excludes
nothing."""


class Figures(msgspec.Struct):
    """Measurements of one run.

    Attributes:
        rate: Units per second after the warm-up.
        seconds: Duration of the run.
        refused: Share of the attempts that got status 429.
        p50: Median latency in seconds.
        arrivals: Units that arrived in each second.
        share: Share of the calls that the failing server received after 10 s.
        used: Used share of what the servers offered, up to 95 % of the answers.
        whole: Used share over the whole run.
        done: Number of rows that succeeded.
    """

    rate: float
    seconds: float
    refused: float
    p50: float
    arrivals: list[float]
    share: float
    used: float
    whole: float
    done: int


def measure(scenario: Scenario, rule: str, seed: int) -> Figures:
    """Run a scenario once."""
    witness = run_with_rule(
        scenario.servers, scenario.rows, scenario.prompt, rule, seed,
        configured=scenario.configured, params=scenario.params, script=scenario.script,
        hosted=scenario.unit in ("calls", "charged"),
    )  # fmt: skip
    return figures(scenario, witness)


def figures(scenario: Scenario, witness: Witness) -> Figures:
    """Compute the measurements from the recorded calls."""
    calls = sorted(witness.answered, key=lambda call: call.sent + call.seconds)
    ends = [call.sent + call.seconds for call in calls]
    units = [call.tokens if scenario.unit == "tokens" else 1.0 for call in calls]
    stop = ends[int(0.95 * len(ends))]
    start = WARM_UP if stop > 1.5 * WARM_UP else 0.0
    rate = sum(unit for unit, end in zip(units, ends, strict=True) if start <= end < stop) / (stop - start)
    late = [server for sent, server in witness.sends if sent > 10]
    cut = int(0.95 * len(ends))
    total, last = sum(units[:cut]), ends[cut]
    if scenario.unit in ("calls", "charged"):  # the quota is charged when a call is admitted, not when it is answered
        total, last = sum(units), max(call.sent for call in calls)
        if scenario.unit == "charged":
            total = sum(call.tokens for call in calls) + len(calls) * (scenario.prompt + 1)
            if scenario.params:
                total = len(calls) * (scenario.prompt + 1 + scenario.params["max_tokens"])
    return Figures(
        rate=rate,
        seconds=ends[-1],
        refused=witness.refused / len(witness.sends),
        p50=statistics.median(call.seconds for call in calls),
        arrivals=_rates(ends, units),
        share=sum(server == scenario.failing for server in late) / max(1, len(late)),
        used=total / scenario.offered(last) if scenario.offered else 0.0,
        whole=sum(units) / scenario.offered(ends[-1]) if scenario.offered else 0.0,
        done=witness.done,
    )


def _rates(ends: list[float], units: list[float]) -> list[float]:
    """Return the units that arrived in each second."""
    rates = [0.0] * (int(ends[-1]) + 1)
    for end, unit in zip(ends, units, strict=True):
        rates[int(end)] += unit
    return rates


def until(arrivals: list[float], rate: float) -> float:
    """Return the first second at which the rate over the next 10 s reaches `rate`."""
    for second in range(len(arrivals)):
        if sum(arrivals[second : second + 10]) >= 10 * rate:
            return second
    return float("inf")


RULES = ("blind", "gauges", "inspect", "gradient2", "fixed 64")
HEADS = ("scenario", "manycall", "manycall with /metrics", "inspect's rule", "Gradient2", "fixed 64")


def rules(scenario: Scenario) -> list[str]:
    """Return the rules to run for a row of the table."""
    self_hosted = bool(scenario.sweep) or scenario.unit == "tokens"
    return [rule for rule in RULES if rule != "gauges" or self_hosted] + [f"fixed {size}" for size in scenario.sweep]


def line(scenario: Scenario, runs: dict[str, Figures]) -> dict[str, str]:
    """Return the cells of a row of the table."""
    fixed = [runs[f"fixed {size}"] for size in scenario.sweep]
    best = max(fixed, key=lambda run: run.rate, default=None)
    if best is not None:  # among settings of equal throughput, the one with the lowest latency
        best = min((run for run in fixed if run.rate >= 0.995 * best.rate), key=lambda run: run.p50)
    cells = {"scenario": scenario.name}
    for rule in RULES:
        run = runs.get(rule)
        if run is None:
            cells[rule] = ""
            continue
        share = run.rate / best.rate if best else run.used
        cells[rule] = f"{share:.1%}"
        if rule in ("blind", "gauges"):
            rate = best.rate if best else statistics.mean(run.arrivals[: int(0.9 * len(run.arrivals))])
            whole = f", whole {best.seconds / run.seconds if best else run.whole:.1%}"
            whole = whole if scenario.unit == "tokens" else ""
            latency = f", p50 ×{run.p50 / best.p50:.2f}" if best else ""
            cells[rule] += f"{whole}, 90 % at {until(run.arrivals, 0.9 * rate):.0f} s{latency}"
        if scenario.unit in ("calls", "charged"):
            cells[rule] += f", 429: {run.refused:.1%}"
        if scenario.failing:
            cells[rule] += f", to it: {run.share:.1%}"
    return cells


def behind(lines: list[dict[str, str]]) -> str:
    """List the scenarios in which another rule is better than ours without /metrics, and by how many points."""

    def percent(cell: str) -> float:
        return float(cell.partition("%")[0]) if cell else 0.0

    found = []
    for one in lines:
        rule = max(("inspect", "gradient2", "fixed 64"), key=lambda rule: percent(one[rule]))
        if (points := percent(one[rule]) - percent(one["blind"])) > 0:
            found.append(f"{one['scenario']} ({rule} by {points:.1f})")
    return "Better than manycall, in percentage points: " + ("; ".join(found) or "no rule in any scenario") + "."
