"""Run some long runs of limits.py over real HTTP against `manycall sim`, and compare them with virtual time.

Over HTTP, the servers have neither an https URL nor a key. Hosted scenarios therefore begin 2 s earlier there.
"""

import argparse
import asyncio
from collections.abc import Sequence

import msgspec
import uvloop

from manycall import clock
from manycall.client.call_client import CallClient
from manycall.client.endpoint import Endpoint
from manycall.client.endpoint_limits import MAX_OPENING_CONFIGURED
from manycall.sim.process import SimProcess
from manycall.sim.sim_settings import SimSettings
from manycall.transport.http import HttpTransport
from scenarios.long_figures import Figures, figures, measure
from scenarios.long_runs import Scenario, scenarios
from simulate import Witness, drive, prompts, scratch

SCENARIOS = {
    "600 RPM, unknown": 0.2,
    "200k TPM, configured, max_tokens 1,000": 0.3,
    "knee 64, 30 tokens": 0.25,
    "4 replicas, one fails fast": 0.2,
}
"""Scenario -> factor by which it is shortened, because it runs in real time."""


def url(behaviour: SimSettings) -> str:
    """Return a sim URL with the options that differ from the simulator's defaults."""
    own = SimSettings()
    values = {name: getattr(behaviour, name) for name in SimSettings.__struct_fields__}
    return "sim:" + ",".join(f"{name}={value}" for name, value in values.items() if value != getattr(own, name))


def over_http(scenario: Scenario, gauges: bool) -> Figures:
    """Run a scenario once over HTTP."""
    sims = [
        SimProcess(url(msgspec.structs.replace(behaviour, seed=behaviour.seed + 100)))
        for behaviour in scenario.servers.values()
    ]
    names = {sim.start().split("/")[2]: name for sim, name in zip(sims, scenario.servers, strict=True)}

    async def main() -> Witness:
        witness = Witness(HttpTransport(), gauges=gauges)
        client = CallClient(
            "sim", base_url=[f"http://{address}" for address in names], transport=witness, params=scenario.params
        )

        def limit(endpoints: Sequence[Endpoint]) -> None:
            for endpoint in endpoints:
                if scenario.configured is not None:
                    endpoint.quota = type(endpoint.quota)(scenario.configured)
                    endpoint.open_window_to_quota(clock.now(), MAX_OPENING_CONFIGURED)

        witness.done = await drive(client, prompts(scenario.rows, scenario.prompt), folder, prepare=limit)
        return witness

    try:
        with scratch() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            witness = runner.run(main())
    finally:
        for sim in sims:
            sim.stop()
    began = min(at for at, _ in witness.sends)
    witness.sends = [(at - began, names[server]) for at, server in witness.sends]
    for call in witness.answered:
        call.sent -= began
    return figures(scenario, witness)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    print("scenario | | used | whole | 429 | units/s | p50 s | to the failing")
    for name, scale in SCENARIOS.items():
        if only not in name:
            continue
        scenario = next(one for one in scenarios(scale) if one.name == name)
        rule = "gauges" if scenario.sweep else "blind"
        for how, run in (("virtual", measure(scenario, rule, 1)), ("HTTP", over_http(scenario, rule == "gauges"))):
            shares = f"{run.used:.1%} | {run.whole:.1%} | {run.refused:.1%}"
            print(f"{name} | {how} | {shares} | {run.rate:.4g} | {run.p50:.2f} | {run.share:.1%}", flush=True)


if __name__ == "__main__":
    main()
