"""Benchmark of unknown limits: complete runs in virtual time against servers that refuse calls with status 429.

Every run has a https URL and a key, as hosted endpoints do, so the first calls are a canary of two seconds. Run it with
`python benchmarks/refusals.py --only "600 RPM"`.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import msgspec

from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from scenarios.long_figures import figures
from scenarios.long_runs import Scenario
from scenarios.servers import at, becomes, hosted, per_second, quota_becomes, second_client, stepped
from simulate import Script, Witness, prompts, simulate


class Case(msgspec.Struct):
    """One row: a scenario, and for limits of concurrency the fixed setting to compare with.

    Attributes:
        name: Name of the row.
        server: Settings of the simulated server.
        rows: Number of rows.
        prompt: Number of tokens of each prompt.
        offered: Calls or tokens that the server could have accepted up to a given second.
        unit: "calls" or "charged" (tokens).
        fixed: `-j` of the run to compare with; None if `offered` is the reference.
        script: Changes to the server during the run.
    """

    name: str
    server: SimSettings
    rows: int
    prompt: int = 50
    offered: Callable[[float], float] | None = None
    unit: str = "calls"
    fixed: int | None = None
    script: Script | None = None


class Outcome(msgspec.Struct):
    """Figures of one run.

    Attributes:
        seconds: Duration of the run.
        fixed_seconds: Duration with the fixed setting; None without one.
        used: Used share of the quota up to the last send.
        refused: Number of attempts with status 429.
        share: Their share of all attempts.
        learned: The last lines of the timeline about refusals.
    """

    seconds: float
    fixed_seconds: float | None
    used: float
    refused: int
    share: float
    learned: list[str]


def server(**more: Any) -> SimSettings:
    return hosted(rate_limit_headers="none", **more)["a"]


def quota_cases() -> list[Case]:
    """Return the quotas that are neither configured nor advertised."""
    rows = {(60, 1): (300,), (60, 60): (300,), (600, 1): (300, 1319, 6000), (600, 60): (1319, 6000)}
    rows |= {(6000, 1): (1319, 5000, 20_000), (6000, 60): (20_000,)}
    found = [
        Case(f"{rpm:,} RPM, burst {burst} s, {n:,} rows", server(rpm=rpm, burst=burst), n,
             offered=per_second(rpm / 60, burst))
        for (rpm, burst), counts in rows.items() for n in counts
    ]  # fmt: skip
    for burst in (1, 60):
        found += [
            Case(f"200k TPM, burst {burst} s, {n:,} rows", server(tpm=200_000, burst=burst), n, 200,
                 offered=per_second(200_000 / 60, burst), unit="charged")
            for n in (500, 4000)
        ]  # fmt: skip
    for latency in (0.8, 1.8):
        tokens = (latency - 0.3) / 0.015
        found += [
            Case(f"{rpm:,} RPM, burst {burst} s, answers of {latency} s, {n:,} rows",
                 server(rpm=rpm, burst=burst, tokens=tokens), n, offered=per_second(rpm / 60, burst))
            for rpm, n in ((600, 1319), (6000, 8000)) for burst in (1, 60)
        ]  # fmt: skip
    half, double = at(200, quota_becomes(300)), at(200, quota_becomes(1200))
    found += [
        Case("600 RPM, halved at 200 s", server(rpm=600), 5000, offered=stepped(10, 5, 200), script=half),
        Case("600 RPM, doubled at 200 s", server(rpm=600), 9000, offered=stepped(10, 20, 200), script=double),
        Case("600 RPM, a second client takes half", server(rpm=600), 4000, offered=per_second(5), script=second_client),
    ]
    return found


def concurrency_cases() -> list[Case]:
    """Return the limits of concurrency."""
    rows = ((3, 60, 400), (5, 300, 400), (20, 1319, 400), (20, 1319, 70), (20, 300, 4000), (100, 1319, 400),
            (100, 5000, 70), (500, 3000, 400))  # fmt: skip
    found = [
        Case(f"K = {k}, {n:,} × {tokens:,}", server(max_concurrent=k, tokens=tokens), n, fixed=k)
        for k, n, tokens in rows
    ]
    found += [
        Case(f"K = {k}, {later} from 60 s, 1,319 × 400", server(max_concurrent=k, tokens=400), 1319,
             script=at(60, becomes(max_concurrent=later)))
        for k, later in ((40, 20), (20, 40), (40, 80))
    ]  # fmt: skip
    for tokens in (400, 100):
        both = server(max_concurrent=20, rpm=600, tokens=tokens)
        found.append(Case(f"K = 20 and 600 RPM, 1,000 × {tokens}", both, 1000, fixed=20))
    return found


def random_cases() -> list[Case]:
    """Return servers that refuse calls at random."""
    return [
        Case(f"{rate:.0%} refused at random, {n:,} rows", server(fault="rate_limit", fault_rate=rate), n)
        for rate in (0.05, 0.1)
        for n in (1000, 3000)
    ]


def cases() -> list[Case]:
    return quota_cases() + concurrency_cases() + random_cases()


def run(case: Case, seed: int, concurrency: int | None = None) -> tuple[Witness, list[str]]:
    """Run a case once. Return the recorded calls, and what the endpoint noted about refusals."""
    changes: list[str] = []
    settings = msgspec.structs.replace(case.server, seed=100 * seed)

    def listen(endpoints: Any) -> None:
        note = endpoints[0].note

        def record(now: float, what: str) -> None:
            if "429" in what:
                changes.append(f"{now:.2f} {what}")
            note(now, what)

        for part in (endpoints[0].throttle, getattr(endpoints[0], "concurrency_limit", None)):
            if part is not None:
                part._note = record

    witness = simulate(
        lambda: InProcessTransport({"a": SimServer(settings, {})}),
        prompts(case.rows, case.prompt),
        concurrency=concurrency,
        script=case.script,
        prepare=listen,
        hosted=True,
    )
    return witness, changes


def play(case: Case, seed: int) -> Outcome:
    """Run a case, and its fixed setting."""
    witness, changes = run(case, seed)
    scenario = Scenario(case.name, {"a": case.server}, case.rows, case.prompt, offered=case.offered, unit=case.unit)
    found = figures(scenario, witness)
    fixed = None
    if case.fixed is not None:
        other, _ = run(case, seed, case.fixed)
        fixed = max(call.sent + call.seconds for call in other.answered)
    return Outcome(found.seconds, fixed, found.used, witness.refused, found.refused, changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--changes", type=int, default=0, help="number of changes to print for each run")
    args = parser.parse_args()
    wanted = [(case.name, seed) for case in cases() if args.only in case.name for seed in args.seeds]
    with ProcessPoolExecutor(args.processes, max_tasks_per_child=1) as pool:
        for (name, seed), one in zip(wanted, pool.map(_job, wanted), strict=True):
            reference = f"{one.used:.1%} used" if one.used else f"{one.seconds:.0f} s"
            if one.fixed_seconds is not None:
                reference = f"{one.seconds:.0f} s, ×{one.seconds / one.fixed_seconds:.2f}"
            is_concurrency = any("429: concurrency limit" in line for line in one.learned[-1:])
            label = "concurrency" if is_concurrency else ""
            print(f"| {name} | {seed} | {reference} | {one.refused}, {one.share:.1%} | {label} |", flush=True)
            for line in one.learned[: args.changes]:
                print("   ", line)


def _job(job: tuple[str, int]) -> Outcome:
    name, seed = job
    return play(next(case for case in cases() if case.name == name), seed)


if __name__ == "__main__":
    main()
