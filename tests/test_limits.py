"""Whole runs in virtual time: the real source, scheduler, client, journal and output against simulated servers."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fakes import SoloClient, no_header
from manycall.client import window_cache
from manycall.errors import RunStopped
from manycall.limits import RateLimits
from manycall.sim import virtual_time
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from manycall.transport.messages import HttpRequest, HttpResponse
from scenarios.long_figures import measure
from scenarios.long_runs import Scenario, scenarios
from scenarios.servers import GPU, HOSTED, capacity, knee, replicas
from simulate import Witness, prompts, questions, simulate


def pool(**servers: SimSettings) -> Callable[[], InProcessTransport]:
    return lambda: InProcessTransport({name: SimServer(behaviour, {}) for name, behaviour in servers.items()})


def changes(folder: Path) -> list[str]:
    """What the timeline says was learned."""
    lines = (folder / "out.jsonl.run" / "timeline.jsonl").read_bytes().splitlines()
    events = [msgspec.json.decode(line) for line in lines]
    return [f"{event['endpoint']} {event['event']}" for event in events if "event" in event]


def named(name: str) -> Scenario:
    return next(one for one in scenarios(0.4) if one.name == name)


@pytest.mark.parametrize(
    ("name", "used", "refused"),
    [
        ("600 RPM, configured", 0.97, 0.0),
        ("600 RPM, in headers", 0.97, 0.01),  # the first answer announces the quota, when more calls are in flight
        ("600 RPM, in headers (Anthropic's)", 0.97, 0.01),
        ("200k TPM, configured, max_tokens 1,000", 0.96, 0.0),
        ("600 RPM, unknown", 0.93, 0.03),
        ("600 RPM, unknown, a minute's burst", 0.93, 0.03),
        ("200k TPM, unknown", 0.9, 0.03),
        ("600 RPM, unknown, a second client takes half", 0.93, 0.03),
    ],
)
def test_quotas_are_used_and_hardly_overrun(name: str, used: float, refused: float) -> None:
    outcome = measure(named(name), "blind", 1)
    assert outcome.used >= used
    assert outcome.refused <= refused


@pytest.mark.parametrize("rule", ["inspect", "gradient2", "fixed 64"])
def test_a_rule_from_another_project_can_be_measured_when_the_server_refuses_calls(rule: str) -> None:
    assert measure(named("200k TPM, configured, max_tokens 1,000"), rule, 1).refused > 0.5


def test_one_of_several_that_fails_fast_gets_hardly_any_traffic() -> None:
    outcome = measure(named("4 replicas, one fails fast"), "blind", 1)
    assert outcome.share <= 0.02
    assert outcome.used >= 0.9  # a short run, with its beginning


def test_when_one_of_several_dies_the_others_do_its_work() -> None:
    outcome = measure(next(one for one in scenarios() if one.name == "4 replicas, one dies at 100 s"), "blind", 1)
    assert outcome.whole >= 1 / 1.1


def test_the_same_seed_gives_the_same_run_byte_for_byte(tmp_path: Path) -> None:
    flaky = msgspec.structs.replace(GPU, slots=32, tokens=60, error_rate=0.02, drop_rate=0.02, rpm=6000)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        simulate(pool(a=flaky, b=GPU), prompts(1500, 20), gauges=True, keep=tmp_path / name)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.jsonl")} for name in ("one", "two")
    )
    assert one == two
    assert {"out.jsonl", "calls.jsonl", "timeline.jsonl"} <= one.keys()


def test_every_change_is_a_line_of_the_timeline_with_its_reason(tmp_path: Path) -> None:
    simulate(
        pool(a=msgspec.structs.replace(HOSTED, rpm=600), b=msgspec.structs.replace(GPU, error_rate=1.0)),
        prompts(800, 20),
        keep=tmp_path,
    )
    said = changes(tmp_path)
    assert "http://a/v1 the server advertises 600 rpm (token bucket)" in said
    assert any("http://a/v1 window " in line for line in said)
    assert any("http://b/v1 ejected for 1 s: 3 consecutive failures" in line for line in said)


def test_what_was_found_is_known_to_the_next_run_which_begins_with_few_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(pool(a=msgspec.structs.replace(GPU, slots=64, tokens=60)), prompts(4000, 20), keep=tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = window_cache.load_windows()["http://a/v1 sim"]
    assert 50 < found < 110

    async def known(model: str) -> int | None:
        async with SoloClient(model, base_url="http://a") as client:
            assert client.permits.total_window == 8  # the server may have been restarted with less memory
            return client.pool.endpoints[0].cached_knee

    assert asyncio.run(known("sim")) == found
    assert asyncio.run(known("other")) is None


def test_a_cache_that_cannot_be_read_or_written_is_no_trouble(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "manycall").mkdir()
    window_cache.path().write_bytes(b'{"x": "y"}')
    assert window_cache.load_windows() == {}
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    window_cache.save_windows({"a": 1})


@pytest.mark.usefixtures("no_key")
def test_rows_that_begin_alike_go_to_the_same_server() -> None:
    remembers = msgspec.structs.replace(
        GPU, slots=32, tokens=30, prefill_latency=1e-4, prefix_cache_tokens=40_000, spread=0.3
    )

    def reused(affinity: bool) -> tuple[float, float]:
        witness = simulate(pool(a=remembers, b=remembers, c=remembers), questions(200, 10, 1200, 30), affinity=affinity)
        assert isinstance(witness.pool, InProcessTransport)
        servers = witness.pool.servers.values()
        tokens = sum(server.batch.reused for server in servers)
        return tokens, max(call.sent + call.seconds for call in witness.answered)

    (without, slow), (with_, fast) = reused(False), reused(True)
    assert with_ > 1.2 * without
    assert fast < slow


class Keys:
    """A server whose first key has no money left."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.code, self.sent = status, code, {"k1": 0, "k2": 0}

    async def send(self, request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.1)
        assert request.key is not None
        key = request.key.reveal()
        self.sent[key] += request.method == "POST"
        if key == "k1":
            body = msgspec.json.encode({"error": {"message": "no money", "code": self.code}})
            return HttpResponse(self.status, body, no_header)
        usage: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": 2}
        choice = {"index": 0, "message": {"role": "assistant", "content": "fine"}, "finish_reason": "stop"}
        return HttpResponse(200, msgspec.json.encode({"choices": [choice], "usage": usage}), no_header)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(("status", "code"), [(429, "insufficient_quota"), (401, "invalid_api_key"), (402, "")])
def test_a_key_without_money_gets_no_more_calls_while_another_lives(tmp_path: Path, status: int, code: str) -> None:
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nbase_url = "https://h"\napi_key = ["k1", "k2"]\n')
    transport = Keys(status, code)

    async def main() -> SoloClient:
        async with SoloClient("m", transport=transport) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(200)))
            return llm

    client = virtual_time.run_virtual(main())
    assert transport.sent["k1"] <= 8  # those that were on their way
    assert transport.sent["k2"] == 200
    assert "no money" in str(client.pool.endpoints[0].disabled_reason)
    assert "k1" not in repr(client.pool.endpoints[0].events)


def test_the_last_key_without_money_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nbase_url = "https://h"\napi_key = ["k1", "k1"]\n')

    async def main() -> None:
        async with SoloClient("m", transport=Keys(429, "insufficient_quota")) as llm:
            await llm.chat("x")

    with pytest.raises(RunStopped, match="no money"):
        virtual_time.run_virtual(main())


@pytest.mark.usefixtures("no_key")
def test_a_call_that_stalls_is_sent_to_another_at_the_end() -> None:
    async def freeze(pool: InProcessTransport) -> None:
        await asyncio.sleep(20)
        pool.frozen.add("a")

    made = pool(
        a=msgspec.structs.replace(GPU, slots=16, tokens=60), b=msgspec.structs.replace(GPU, slots=16, tokens=60)
    )
    witness = simulate(made, prompts(1500, 20), script=freeze)
    answered = [call for call in witness.answered if call.tokens > 1]  # the others are probes
    assert len(answered) == 1500
    assert max(call.sent + call.seconds for call in answered) < 200  # not the 600 s of the timeout
    assert len(witness.sends) - len(witness.answered) + 1500 <= 1500 * 1.02 + 2


def test_what_may_be_billed_twice_is_not_sent_twice(tmp_path: Path) -> None:
    slow = msgspec.structs.replace(GPU, slots=16, tokens=60, token_latency=0.8)
    (tmp_path / "endpoints.toml").write_text(
        "".join(f'[[endpoint]]\nbase_url = "http://{name}"\napi_key = "k"\nplain_http = true\n' for name in "ab")
    )
    witness = Witness(pool(a=GPU, b=slow)(), gauges=False)

    async def main() -> None:
        async with SoloClient("m", transport=witness) as llm:
            await asyncio.gather(*(llm.chat(str(n)) for n in range(300)))

    virtual_time.run_virtual(main())
    assert len(witness.sends) == 300


def test_a_scenario_has_a_best_that_can_be_reached() -> None:
    behaviour = knee(64, tokens=250)["a"]
    outcome = measure(Scenario("", {"a": behaviour}, 4000, offered=lambda t: capacity(behaviour) * t), "fixed 64", 1)
    assert 0.97 <= outcome.used <= 1.03
    assert capacity(replicas(64)["r0"]) == capacity(behaviour)


def test_a_known_quota_is_paced_from_the_first_call() -> None:
    witness = simulate(
        pool(a=msgspec.structs.replace(HOSTED, rpm=600, rate_limit_headers="none")),
        prompts(300, 20),
        limits=RateLimits(rpm=600),
    )
    first = [at for at, _ in witness.sends if at < 20]
    assert len(first) == pytest.approx(20 * 9.8, rel=0.03)


def test_files_and_memory_bound_what_is_in_flight() -> None:
    """In a process of its own, because a limit that was lowered stays low."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2]))); "
        "from manycall.client.system_limits import max_in_flight, max_permits; "
        "print(max_in_flight(), max_permits(500))"
    )

    def most(soft: int, hard: int) -> list[int]:
        command = [sys.executable, "-c", code, str(soft), str(hard)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        return [int(word) for word in found.stdout.split()]

    assert most(64, 64) == [32, 32]  # -j 500 cannot have more connections than files
    assert most(200, 200) == [136, 136]
    assert most(100, 1000) == [936, 500]  # the soft limit is raised as far as it may be
