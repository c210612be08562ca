"""The compared rules for the number of calls in flight: manycall's own, those of other projects, and fixed numbers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import msgspec

import baselines
from manycall.client.endpoint import Endpoint
from manycall.control import retry
from manycall.control.quota import Quota
from manycall.errors import FailureClass
from manycall.limits import RateLimits
from manycall.sim.in_process import InProcessTransport
from scenarios.servers import Servers
from simulate import Script, WatchedServer, Witness, prompts, simulate

OWN = ("blind", "gauges")
"""manycall's own rule, without and with `/metrics`."""
OTHERS: dict[str, Callable[[], baselines.Fixed]] = {"inspect": baselines.Inspect, "gradient2": baselines.Gradient2}


def fixed(in_flight: int) -> str:
    """Return the name of the rule that keeps a fixed number of calls in flight."""
    return f"fixed {in_flight}"


def run_with_rule(
    servers: Servers,
    rows: int,
    prompt: int,
    rule: str,
    seed: int,
    *,
    configured: RateLimits | None = None,
    params: dict[str, Any] | None = None,
    script: Script | None = None,
    hosted: bool = False,
    timeout: float = 600.0,
    total: int | None = None,
) -> Witness:
    """Run the rows once with the rule "blind", "gauges", "inspect", "gradient2" or "fixed N".

    Args:
        total: Number of rows, if the run knows it, as it does for most input files.
    """
    seeded = {name: msgspec.structs.replace(each, seed=each.seed + 100 * seed) for name, each in servers.items()}
    is_own = rule in OWN
    with nullcontext() if is_own else _scripted():
        return simulate(
            lambda: InProcessTransport({name: WatchedServer(each, {}) for name, each in seeded.items()}),
            prompts(rows, prompt),
            gauges=rule == "gauges",
            limits=configured if is_own else None,
            params=params,
            script=script,
            prepare=(lambda endpoints: None) if is_own else partial(_replace_control, _maker(rule, len(servers))),
            hosted=hosted,
            timeout=timeout,
            total=total,
        )


def _maker(rule: str, servers: int) -> Callable[[], baselines.Fixed]:
    if rule in OTHERS:
        return OTHERS[rule]
    return partial(baselines.Fixed, max(1, int(rule.split()[1]) // servers))


def _replace_control(make: Callable[[], baselines.Fixed], endpoints: Sequence[Endpoint]) -> None:
    """Replace the concurrency window by another rule, without quota and throttle."""
    for endpoint in endpoints:
        endpoint.observe_with(None)
        endpoint.window = make()  # type: ignore[assignment]
        endpoint.throttle = baselines.Unthrottled(endpoint.window)  # type: ignore[assignment, arg-type]
        endpoint.quota = Quota(RateLimits())
        endpoint.quota.apply_advertised = lambda *read: None  # type: ignore[method-assign]


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
