"""Benchmark of the concurrency control: throughput in virtual time, compared with the optimum and with other rules.

Writes the table of docs/limits.md. Run it with `make sim`.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

import baselines
from manycall import clock
from manycall.client.endpoint import Endpoint
from manycall.control import retry
from manycall.control.quota import Quota
from manycall.errors import FailureClass
from manycall.limits import RateLimits
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from simulate import Script, Witness, prompts, simulate

PAGE = Path(__file__).parents[1] / "docs" / "limits.md"
BEGIN, END = "<!-- table: make sim -->", "<!-- end of table -->"
WARM_UP = 60.0
"""Seconds at the start of a run that are excluded if the reference is the best fixed setting. `whole` excludes
nothing."""

GPU = SimSettings(latency=0.0, token_latency=0.008, batch_latency=4e-5, network=0.01, spread=0.8)
HOSTED = SimSettings(latency=0.3, token_latency=0.015, tokens=250, spread=0.6, slots=100_000, network=0.05)


class Scenario(msgspec.Struct):
    """One row of the table.

    Attributes:
        servers: Settings of the simulated servers by name.
        rows: Number of rows.
        prompt: Number of tokens of each prompt.
        sweep: Fixed concurrency settings, of which the best is the reference. If empty, `offered` is the reference.
        offered: Units (calls or tokens) that the servers could have delivered up to a given second.
        unit: The unit of throughput: "tokens", "calls" or "charged".
        configured: The rate limits that the user configured.
        script: Changes to the servers during the run.
        params: Parameters of the calls.
        failing: Name of the server that fails.
    """

    name: str
    servers: dict[str, SimSettings]
    rows: int
    prompt: int = 50
    sweep: Sequence[int] = ()
    offered: Callable[[float], float] | None = None
    unit: str = "tokens"
    configured: RateLimits | None = None
    script: Script | None = None
    params: dict[str, Any] | None = None
    failing: str = ""


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
    """

    rate: float
    seconds: float
    refused: float
    p50: float
    arrivals: list[float]
    share: float
    used: float
    whole: float


async def _at(moment: float, act: Callable[[InProcessTransport], None], pool: InProcessTransport) -> None:
    await clock.sleep(moment)
    act(pool)


def at(moment: float, act: Callable[[InProcessTransport], None]) -> Script:
    """Return a script that changes the servers at the given second."""
    return partial(_at, moment, act)


def knee(slots: int, **more: Any) -> dict[str, SimSettings]:
    return {"a": msgspec.structs.replace(GPU, slots=slots, **more)}


def becomes(**changes: Any) -> Callable[[InProcessTransport], None]:
    def act(pool: InProcessTransport) -> None:
        pool.servers["a"].settings = msgspec.structs.replace(pool.servers["a"].settings, **changes)

    return act


def quota_becomes(per_minute: float) -> Callable[[InProcessTransport], None]:
    def act(pool: InProcessTransport) -> None:
        pool.servers["a"].quotas["requests"].per_minute = per_minute

    return act


async def second_client(pool: InProcessTransport) -> None:
    """A second client uses 5 calls per second."""
    while True:
        pool.servers["a"].quotas["requests"].take(1, clock.now())
        await clock.sleep(0.2)


def per_second(rate: float, burst: float = 1.0) -> Callable[[float], float]:
    return lambda t: rate * (t + burst)


def stepped(before: float, after: float, at: float) -> Callable[[float], float]:
    return lambda t: before * (min(t, at) + 1) + after * max(0.0, t - at)


def hosted(**more: Any) -> dict[str, SimSettings]:
    return {"a": msgspec.structs.replace(HOSTED, **more)}


def capacity(behaviour: SimSettings) -> float:
    """Return the tokens per second at the knee."""
    return behaviour.slots / (behaviour.token_latency + behaviour.batch_latency * behaviour.slots)


def replicas(*slots: int, **more: Any) -> dict[str, SimSettings]:
    return {
        f"r{n}": msgspec.structs.replace(GPU, slots=each, tokens=250, seed=n, **more) for n, each in enumerate(slots)
    }


def together(servers: Iterable[SimSettings]) -> Callable[[float], float]:
    rate = sum(capacity(server) for server in servers)
    return lambda t: rate * t


def scenarios(scale: float = 1.0) -> list[Scenario]:
    """Return the rows of the table. `scale` shortens the runs (for tests)."""

    def n(rows: float) -> int:
        return max(400, int(rows * scale))

    none: dict[str, Any] = {"rate_limit_headers": "none"}
    rpm: dict[str, Any] = {"offered": per_second(10), "unit": "calls"}
    tpm: dict[str, Any] = {"offered": per_second(200_000 / 60), "unit": "charged"}
    found = [
        Scenario("600 RPM, configured", hosted(rpm=600, **none), n(6000), configured=RateLimits(rpm=600), **rpm),
        Scenario("600 RPM, in headers", hosted(rpm=600), n(6000), **rpm),
        Scenario("600 RPM, in headers (Anthropic's)", hosted(rpm=600, rate_limit_headers="anthropic"), n(6000), **rpm),
        Scenario("600 RPM, unknown", hosted(rpm=600, **none), n(6000), **rpm),
        Scenario("600 RPM, unknown, a minute's burst", hosted(rpm=600, burst=60, **none), n(6000),
                 offered=per_second(10, 60), unit="calls"),
        Scenario("6,000 RPM, unknown", hosted(rpm=6000, **none), n(60_000), offered=per_second(100), unit="calls"),
        Scenario("200k TPM, configured", hosted(tpm=200_000, **none), n(4000), 200,
                 configured=RateLimits(tpm=200_000), **tpm),
        Scenario("200k TPM, configured, max_tokens 1,000", hosted(tpm=200_000, **none), n(1500), 200,
                 configured=RateLimits(tpm=200_000), params={"max_tokens": 1000}, **tpm),
        Scenario("200k TPM, unknown", hosted(tpm=200_000, **none), n(4000), 200, **tpm),
        Scenario("200k TPM, unknown, a minute's burst", hosted(tpm=200_000, burst=60, **none), n(4000), 200,
                 offered=per_second(200_000 / 60, 60), unit="charged"),
        Scenario("600 RPM, unknown, halved at 200 s", hosted(rpm=600, **none), n(5000), unit="calls",
                 offered=stepped(10, 5, 200), script=at(200, quota_becomes(300))),
        Scenario("600 RPM, unknown, doubled at 200 s", hosted(rpm=600, **none), n(9000), unit="calls",
                 offered=stepped(10, 20, 200), script=at(200, quota_becomes(1200))),
        Scenario("600 RPM, configured, a second client takes half", hosted(rpm=600, **none), n(4000),
                 configured=RateLimits(rpm=600), script=second_client, offered=per_second(5), unit="calls"),
        Scenario("600 RPM, unknown, a second client takes half", hosted(rpm=600, **none), n(4000),
                 script=second_client, offered=per_second(5), unit="calls"),
    ]  # fmt: skip
    for slots, rows in ((8, 2500), (64, 9000), (256, 20_000), (1024, 30_000)):
        for tokens in (30, 250, 1200):
            more = {30: 3.0, 250: 1.0, 1200: 0.6}[tokens]
            found.append(
                Scenario(f"knee {slots}, {tokens:,} tokens", knee(slots, tokens=tokens), n(rows * more),
                         sweep=(slots, round(1.15 * slots)))
            )  # fmt: skip
    found += [
        Scenario("prompts of 2,000, answers of 60", knee(256, tokens=60, prefill_latency=5e-5), n(10_000), 2000,
                 sweep=(64, 128, 256)),
        Scenario("memory for some 150 calls of 1,400", knee(1024, tokens=1200, kv_cache_tokens=210_000), n(10_000), 200,
                 sweep=(128, 160, 192, 256)),
        Scenario("all answers of equal length", knee(200, tokens=250, spread=0.0), n(15_000), sweep=(200, 230)),
        Scenario("knee 256, halved at 150 s", knee(256, tokens=250), n(20_000), sweep=(128, 256),
                 script=at(150, becomes(slots=128))),
        Scenario("knee 256, doubled at 150 s", knee(256, tokens=250), n(24_000), sweep=(256, 512),
                 script=at(150, becomes(slots=512))),
    ]  # fmt: skip
    for count in (2, 4, 8):
        pool = replicas(*[64] * count)
        found.append(Scenario(f"{count} replicas", pool, n(6000 * count), offered=together(pool.values())))
    unequal, four = replicas(32, 64, 128, 256), replicas(64, 64, 64, 64)
    slow = {**replicas(64, 64, 64), "r3": msgspec.structs.replace(four["r3"], token_latency=0.08, batch_latency=4e-4)}
    three = list(four.values())[:3]
    rate = sum(capacity(server) for server in four.values())
    found += [
        Scenario("4 unequal replicas (32, 64, 128, 256)", unequal, n(30_000), offered=together(unequal.values())),
        Scenario("4 replicas, one dies at 100 s", four, n(24_000),
                 offered=lambda t: rate * min(t, 100) + rate * 0.75 * max(0.0, t - 100),
                 script=at(100, lambda pool: pool.kill("r0"))),
        Scenario("4 replicas, one dies at 100 s, is back at 160 s", four, n(24_000),
                 offered=lambda t: rate * t - rate * 0.25 * min(60.0, max(0.0, t - 100)), script=_dies_and_is_back),
        Scenario("4 replicas, one 10 times slower", slow, n(24_000), offered=together(slow.values())),
        Scenario("4 replicas, one fails fast", {**four, "r0": msgspec.structs.replace(four["r0"], error_rate=1.0)},
                 n(24_000), failing="r0", offered=together(three)),
    ]  # fmt: skip
    return found


async def _dies_and_is_back(pool: InProcessTransport) -> None:
    await clock.sleep(100)
    pool.kill("r0")
    await clock.sleep(60)
    pool.down.discard("r0")


def _other(make: Callable[[], baselines.Fixed], endpoints: Sequence[Endpoint]) -> None:
    """Replace the concurrency window by another rule, without quota and throttle."""
    for endpoint in endpoints:
        endpoint.window = make()  # type: ignore[assignment]
        endpoint.throttle = baselines.Unthrottled(endpoint.window)  # type: ignore[assignment, arg-type]
        endpoint.quota = Quota(RateLimits())
        endpoint.quota.apply_advertised = lambda advertised, now: None  # type: ignore[method-assign]


def play(scenario: Scenario, rule: str, seed: int) -> Figures:
    """Run a scenario once with the rule "blind", "gauges", "inspect", "gradient2" or "fixed N"."""
    servers = {name: msgspec.structs.replace(b, seed=b.seed + 100 * seed) for name, b in scenario.servers.items()}
    makers: dict[str, Callable[[], baselines.Fixed]] = {
        "inspect": baselines.Inspect,
        "gradient2": baselines.Gradient2,
    }
    if rule.startswith("fixed"):
        share = max(1, int(rule.split()[1]) // len(servers))
        makers[rule] = partial(baselines.Fixed, share)
    other = rule not in ("blind", "gauges")
    with _scripted() if other else nullcontext():
        witness = simulate(
            lambda: InProcessTransport({name: SimServer(b, {}) for name, b in servers.items()}),
            prompts(scenario.rows, scenario.prompt),
            gauges=rule == "gauges",
            limits=None if other else scenario.configured,
            params=scenario.params,
            script=scenario.script,
            prepare=partial(_other, makers[rule]) if other else lambda endpoints: None,
        )
    return figures(scenario, witness)


@contextmanager
def _scripted() -> Iterator[None]:
    """Retry like a simple script, without a throttle."""
    wait, rule = retry.backoff_seconds, retry.RULES[FailureClass.RATE_LIMITED]
    retry.backoff_seconds = baselines.backoff
    retry.RULES[FailureClass.RATE_LIMITED] = retry.RetryRule(retry.RETRY, 100_000)
    try:
        yield
    finally:
        retry.backoff_seconds, retry.RULES[FailureClass.RATE_LIMITED] = wait, rule


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


def tasks(scenario: Scenario) -> list[str]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rules", default="", help="only these rules, separated by commas (and the sweep)")
    parser.add_argument("--write", action="store_true", help=f"write the table to {PAGE.name}")
    args = parser.parse_args()
    began = time.time()
    chosen = [one for one in scenarios(args.scale) if args.only in one.name]
    wanted = [
        (index, rule, seed)
        for index, scenario in enumerate(chosen)
        for rule in tasks(scenario)
        for seed in range(1, args.seeds + 1)
        if not args.rules or rule in args.rules.split(",") or rule.removeprefix("fixed ") in map(str, scenario.sweep)
    ]
    runs: dict[tuple[int, str, int], Figures] = {}
    with ProcessPoolExecutor(max_tasks_per_child=1) as pool:
        futures = {job: pool.submit(_job, args.only, args.scale, *job) for job in wanted}
        lines = []
        for index, scenario in enumerate(chosen):
            for seed in range(1, args.seeds + 1):
                for job, future in futures.items():
                    if job[0] == index and job[2] == seed:
                        runs[job] = future.result()
                lines.append(line(scenario, {j[1]: f for j, f in runs.items() if j[0] == index and j[2] == seed}))
                print(" | ".join(cell for cell in lines[-1].values()), flush=True)
    if args.write:
        _write(lines, time.time() - began, args.seeds)


def _job(only: str, scale: float, index: int, rule: str, seed: int) -> Figures:
    return play([one for one in scenarios(scale) if only in one.name][index], rule, seed)


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


def _write(lines: list[dict[str, str]], seconds: float, seeds: int) -> None:
    heads = ("scenario", "manycall", "manycall with /metrics", "inspect's rule", "Gradient2", "fixed 64")
    table = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    table += [f"| {' | '.join(one.values())} |" for one in lines]
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    seeds_text = f"Seeds 1 to {seeds}" if seeds > 1 else "Seed 1"
    text = (
        f"{before}{BEGIN}\n{seeds_text}; run time {seconds / 60:.0f} minutes.\n\n"
        + "\n".join(table)
        + f"\n\n{behind(lines)}\n{END}{after}"
    )
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
