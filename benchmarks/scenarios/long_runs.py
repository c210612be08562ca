"""Long runs: quotas, knees and replicas, compared with the optimum and with the rules of other projects."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from manycall.limits import RateLimits
from manycall.sim.sim_settings import SimSettings
from scenarios.servers import (
    at,
    becomes,
    capacity,
    dies_and_is_back,
    hosted,
    knee,
    per_second,
    quota_becomes,
    replicas,
    second_client,
    stepped,
    together,
)
from simulate import Script


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
                 offered=lambda t: rate * t - rate * 0.25 * min(60.0, max(0.0, t - 100)), script=dies_and_is_back),
        Scenario("4 replicas, one 10 times slower", slow, n(24_000), offered=together(slow.values())),
        Scenario("4 replicas, one fails fast", {**four, "r0": msgspec.structs.replace(four["r0"], error_rate=1.0)},
                 n(24_000), failing="r0", offered=together(three)),
    ]  # fmt: skip
    return found
