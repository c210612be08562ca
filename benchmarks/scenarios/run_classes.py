"""Short runs by class: self-hosted servers, hosted endpoints with and without limits, replicas, a shared server."""

from collections.abc import Iterator
from itertools import product

import msgspec

from scenarios.servers import Servers, full_batch_step, hosted, knee, replicas

ROWS = (30, 200, 500, 1_319, 5_000)
SECONDS = (1, 8, 30, 120)
SPREADS = (0.3, 0.8)
KNEES = (16, 64, 256, 1_024)
STANDARD = (64, 256)
"""Fixed settings that are tried for every run, as far as they are within a factor of 4 of the knee."""
ALL_AT_ONCE = 8_192


class ShortRun(msgspec.Struct, frozen=True):
    """One short run.

    Attributes:
        kind: Class of the run, a row of the table.
        name: Description, which differs from that of each other run.
        servers: Settings of the simulated servers by name.
        rows: Number of rows.
        knee: Number of calls in flight that uses the servers fully.
        prompt: Number of tokens of each prompt.
        timeout: Seconds for one attempt.
        is_hosted: Whether the endpoint has an https URL and a key.
        other_client: Number of calls that another client keeps in flight.
    """

    kind: str
    name: str
    servers: Servers
    rows: int
    knee: int
    prompt: int = 50
    timeout: float = 600.0
    is_hosted: bool = False
    other_client: int = 0

    @property
    def at_knee(self) -> int:
        """The fixed setting that equals the knee; no more than there are rows."""
        return min(self.knee, self.rows)

    @property
    def sweep(self) -> list[int]:
        """The fixed settings that are tried, none of them more than there are rows.

        With another client they are at most the knee: more calls in flight only take a larger share of the server.
        """
        k = self.knee
        sizes = [max(1, k // 2), k, round(1.15 * k), 2 * k, *(n for n in STANDARD if k / 4 <= n <= 4 * k)]
        if k == ALL_AT_ONCE:
            sizes = [64, 256, 1_024, k]
        return sorted({min(size, self.rows) for size in sizes if size <= k or not self.other_client})


def short_runs(scale: float = 1.0) -> list[ShortRun]:
    """Return all short runs. `scale` reduces the number of rows (for tests)."""
    runs = [*_named(), *_self_hosted(), *_hosted(), *_quotas(), *_concurrency_limits(), *_replicas(), *_shared()]
    return [msgspec.structs.replace(run, rows=max(16, round(run.rows * scale))) for run in runs]


def _named() -> Iterator[ShortRun]:
    """Yield the runs that each have a separate row."""
    for rows, tokens, slots in ((1_319, 150, 256), (198, 8_000, 256), (2_000, 4_000, 256), (480, 16_000, 128)):
        name = f"{rows:,} rows of {tokens:,} tokens, {slots} slots"
        yield ShortRun(name, f"named: {name}", knee(slots, tokens=tokens), rows, slots, timeout=3_600)
    for rows, tokens in ((1_319, 400), (500, 8_000), (10_000, 400)):
        name = f"{rows:,} rows of {tokens:,} tokens, hosted"
        yield ShortRun(name, f"named: {name}", hosted(tokens=tokens), rows, ALL_AT_ONCE, timeout=3_600, is_hosted=True)


def _self_hosted() -> Iterator[ShortRun]:
    for seconds, slots, rows, spread in product(SECONDS, KNEES, ROWS, SPREADS):
        servers = knee(slots, tokens=round(seconds / full_batch_step(slots)), spread=spread)
        name = f"self-hosted, {seconds} s, knee {slots:,}, {rows:,} rows, spread {spread}"
        yield ShortRun(f"self-hosted, {seconds} s", name, servers, rows, slots, timeout=_timeout(seconds))


def _hosted() -> Iterator[ShortRun]:
    for seconds, rows, spread in product(SECONDS, ROWS, SPREADS):
        servers = hosted(tokens=round((seconds - 0.3) / 0.015), spread=spread)
        name = f"hosted, {seconds} s, {rows:,} rows, spread {spread}"
        yield ShortRun(
            f"hosted, {seconds} s", name, servers, rows, ALL_AT_ONCE, timeout=_timeout(seconds), is_hosted=True
        )


def _timeout(seconds: float) -> float:
    return 600.0 if seconds < 120 else 1_800.0


QUOTAS = (
    ("60 RPM", {"rpm": 60}, 1.0, (60, 300)),
    ("600 RPM", {"rpm": 600}, 10.0, (300, 1_319)),
    ("6,000 RPM", {"rpm": 6_000}, 100.0, (1_319, 5_000)),
    ("200k TPM", {"tpm": 200_000}, 200_000 / 60 / 450, (500, 2_000)),
)
"""(name, setting of the simulator, calls per second, numbers of rows)."""
QUOTA_PROMPT, QUOTA_SECONDS = 200, 4.05
"""Tokens of a prompt, and the mean duration of a call, at endpoints with a quota: 250 tokens."""


def _quotas() -> Iterator[ShortRun]:
    for (quota, setting, rate, counts), burst, headers in product(QUOTAS, (1, 60), ("none", "auto")):
        source = "unknown" if headers == "none" else "advertised"
        for rows in counts:
            kind = f"{quota}, {source}"
            servers = hosted(**setting, burst=burst, rate_limit_headers=headers)
            in_flight = max(1, round(rate * QUOTA_SECONDS))
            name = f"{kind}, {burst} s burst, {rows:,} rows"
            yield ShortRun(kind, name, servers, rows, in_flight, QUOTA_PROMPT, is_hosted=True)


def _concurrency_limits() -> Iterator[ShortRun]:
    table = {
        3: ((60, 400),),
        5: ((300, 400),),
        20: ((1_319, 400), (1_319, 70), (300, 4_000)),
        100: ((1_319, 400), (5_000, 70)),
        500: ((3_000, 400),),
    }
    for limit, counts in table.items():
        for rows, tokens in counts:
            servers = hosted(tokens=tokens, max_concurrent=limit)
            name = f"concurrency limit {limit}, {rows:,} rows of {tokens:,} tokens"
            yield ShortRun("concurrency limit", name, servers, rows, limit, is_hosted=True)


def _replicas() -> Iterator[ShortRun]:
    """Yield the runs with replicas, which have the same seed: each gives the same answer to the same prompt.

    Otherwise the longest answer would depend on which replica gets its prompt, and so differ between the rules.
    """
    for kind, slots, counts in (
        ("replicas, equal", (64, 64, 64, 64), (500, 1_319, 5_000)),
        ("replicas, unequal", (32, 64, 128, 256), (500, 2_000, 5_000)),
    ):
        for rows in counts:
            yield ShortRun(kind, f"{kind}, {rows:,} rows", replicas(*slots, seed=0), rows, sum(slots))


def _shared() -> Iterator[ShortRun]:
    for slots, rows, tokens in ((64, 1_319, 300), (256, 3_000, 1_200)):
        name = f"shared server, {slots} slots, {rows:,} rows of {tokens:,} tokens"
        yield ShortRun("shared server", name, knee(slots, tokens=tokens), rows, slots, other_client=32)
