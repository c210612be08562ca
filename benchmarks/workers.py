"""How well several workers share limits and budgets, in virtual time, compared with one.

Writes a table of docs/limits.md. Run it with `make workers`.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from manycall.limits import RateLimits
from scenarios import page
from scenarios.servers import Servers, at, capacity, hosted, knee, per_second, quota_becomes, stepped
from scenarios.several_workers import Outcome, run_workers
from simulate import Script

MARKER = "make workers"
HEADS = ("scenario", "1 worker", "2 workers", "8 workers")


class Scenario(Protocol):
    """A row of the table."""

    @property
    def name(self) -> str: ...

    def measure(self, workers: int) -> str:
        """Return a cell: the figures with this number of workers."""


class Quota(NamedTuple):
    """A quota that workers share.

    Attributes:
        offered: calls that it permits up to a given second.
    """

    name: str
    servers: Servers
    rows: int
    offered: Callable[[float], float]
    configured: RateLimits | None = None
    script: Script | None = None

    def measure(self, workers: int) -> str:
        """Return the used share of the quota, and that of the refused attempts."""
        outcome = run_workers(self.servers, self.rows, workers, configured=self.configured, script=self.script)
        assert not outcome.failed
        sent = [call.sent for call in outcome.witness.answered]
        refused = outcome.witness.refused / len(outcome.witness.sends)
        return f"{len(sent) / self.offered(max(sent)):.1%}, 429: {refused:.1%}, {holders(outcome)}"


class TokenBudget(NamedTuple):
    """A budget that workers share."""

    name: str
    servers: Servers
    rows: int
    tokens: int
    is_hosted: bool

    def measure(self, workers: int) -> str:
        """Return by how many calls of mean cost the budget was exceeded."""
        outcome = run_workers(self.servers, self.rows, workers, budget=float(self.tokens), hosted=self.is_hosted)
        calls = len(outcome.witness.answered)
        over = (outcome.spent - self.tokens) / (outcome.spent / calls)
        return f"{over:.0f} calls over ({over / calls:.1%}), {outcome.seconds:.0f} s"


class SharedServer(NamedTuple):
    """A self-hosted server that workers share, each with its own window."""

    name: str
    servers: Servers
    rows: int

    def measure(self, workers: int) -> str:
        """Return the used share of the server, and the longest queue relative to the number of its slots."""
        outcome = run_workers(self.servers, self.rows, workers, hosted=False)
        assert not outcome.failed
        ends = sorted((call.sent + call.seconds, call.tokens) for call in outcome.witness.answered)
        until = ends[int(0.95 * len(ends))][0]
        tokens = sum(count for end, count in ends if end < until)
        used = tokens / until / capacity(self.servers["a"])
        return f"{used:.1%}, queue ×{outcome.longest_queue / self.servers['a'].slots:.2f}"


def holders(outcome: Outcome) -> str:
    """Return how many workers have ended rows."""
    count = sum(each > 0 for each in outcome.ended)
    return f"{count} holder{'s' if count > 1 else ''}"


def quotas(scale: float) -> Iterator[Quota]:
    """Yield the quotas: 600 and 6,000 calls per minute, for about 300 s."""
    none: dict[str, Any] = {"rate_limit_headers": "none"}
    for rpm in (600, 6000):
        name, rows, offered = f"{rpm:,} RPM", int(rpm * 5 * scale), per_second(rpm / 60)
        yield Quota(f"{name}, configured", hosted(rpm=rpm, **none), rows, offered, configured=RateLimits(rpm=rpm))
        yield Quota(f"{name}, in headers", hosted(rpm=rpm), rows, offered)
        yield Quota(f"{name}, unknown", hosted(rpm=rpm, **none), rows, offered)
        halved = stepped(rpm / 60, rpm / 120, 200 * scale), at(200 * scale, quota_becomes(rpm / 2))
        name = f"{name}, unknown, halved at {200 * scale:.0f} s"
        yield Quota(name, hosted(rpm=rpm, **none), rows, halved[0], script=halved[1])


def budgets(scale: float) -> Iterator[TokenBudget]:
    """Yield the budgets."""
    for tokens in (20_000, 200_000, 1_000_000):
        servers = hosted(rate_limit_headers="none")
        yield TokenBudget(f"{tokens:,} tokens, hosted", servers, 20_000, int(tokens * scale), True)
        yield TokenBudget(f"{tokens:,} tokens, knee 64", knee(64, tokens=250), 20_000, int(tokens * scale), False)


def self_hosted(scale: float) -> Iterator[SharedServer]:
    """Yield the self-hosted servers."""
    for slots, rows in ((64, 9000), (256, 20_000)):
        yield SharedServer(f"knee {slots}, 250 tokens", knee(slots, tokens=250), int(rows * scale))


def main() -> None:
    """Measure all, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the numbers of rows and tokens")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--write", action="store_true", help=f"write the table to {page.PAGE.name}")
    args = parser.parse_args()
    table: list[list[str]] = [[*HEADS]]
    scenarios: list[Scenario] = [*quotas(args.scale), *self_hosted(args.scale), *budgets(args.scale)]
    for scenario in scenarios:
        if args.only in scenario.name:
            table.append([scenario.name, *(scenario.measure(workers) for workers in (1, 2, 8))])
            print(f"| {' | '.join(table[-1])} |", flush=True)
    if args.write:
        page.replace_between(MARKER, ["Seed 1.", page.markdown(table)])


if __name__ == "__main__":
    main()
