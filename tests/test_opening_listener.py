"""How the window learns which calls a server has begun: from metrics, from streams and from probes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fakes import FakeTransport, SoloClient, answer, refusal
from manycall.client.encoded_call import encode_call
from manycall.client.opening_listener import make_probe
from manycall.errors import ConnectionLost
from manycall.records import Request
from manycall.sim import virtual_time
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from manycall.transport.messages import HttpRequest, HttpResponse, no_header

pytestmark = pytest.mark.usefixtures("no_key")
MESSAGES = [{"role": "user", "content": "hi"}]
SERVER = SimSettings(slots=64, latency=0, token_latency=0.05, tokens=200, spread=0.5, network=0.01)


class Network:
    """One simulated server, which may refuse probes or have no metrics.

    Attributes:
        probes: bodies of the probes.
        polls: times of the requests for metrics.
        most: largest number of calls in flight, without probes.
        peaks: (time, number of calls in flight) at each send.
    """

    def __init__(
        self, *, has_metrics: bool = False, on_probe: Callable[[], HttpResponse | None] = lambda: None, **more: Any
    ) -> None:
        self._servers = InProcessTransport({"a": SimServer(msgspec.structs.replace(SERVER, **more), {})})
        self._has_metrics, self._on_probe = has_metrics, on_probe
        self.probes: list[dict[str, Any]] = []
        self.polls: list[float] = []
        self.peaks: list[tuple[float, int]] = []
        self._in_flight = 0

    @property
    def most(self) -> int:
        return max(count for _, count in self.peaks)

    async def send(self, request: HttpRequest) -> HttpResponse:
        now = asyncio.get_running_loop().time()
        if request.method == "GET":
            self.polls.append(now)
            return await self._servers.send(request) if self._has_metrics else HttpResponse(404, b"", no_header)
        body = msgspec.json.decode(request.body)
        if body.get("max_tokens") == 1 or body.get("max_completion_tokens") == 1:
            self.probes.append(body)
            return self._on_probe() or await self._servers.send(request)
        self._in_flight += 1
        self.peaks.append((now, self._in_flight))
        try:
            return await self._servers.send(request)
        finally:
            self._in_flight -= 1

    async def close(self) -> None:
        pass


def run(network: Network | FakeTransport, calls: int, **options: Any) -> SoloClient:
    """Make `calls` calls at once."""

    async def main() -> SoloClient:
        async with SoloClient("m", transport=network, **{"base_url": "http://a", **options}) as client:
            await asyncio.gather(*(client.chat(str(n)) for n in range(calls)))
            return client

    return virtual_time.run_virtual(main())


def test_probes_open_the_window_before_the_first_answer() -> None:
    network = Network(slots=200)
    client = run(network, 150)
    assert network.most == 150
    assert next(at for at, count in network.peaks if count == 150) < 0.4  # an answer takes 10 s
    assert 3 < len(network.probes) == client.counters.probes < 30
    assert client.counters.calls == client.counters.attempts == 150


def test_probes_find_the_slots_and_stop() -> None:
    network = Network()
    client = run(network, 600)
    assert network.most <= 2 * 64 + 1
    (endpoint,) = client.pool.endpoints
    assert endpoint.knee is not None
    assert endpoint.listener is None
    assert len(network.probes) < 30
    assert any("the server works on 6" in event.what for event in endpoint.events)


def test_a_probe_is_the_same_call_limited_to_one_token() -> None:
    network = Network()
    run(network, 30, params={"temperature": 0, "max_tokens": 500, "min_tokens": 3})
    assert network.probes[0]["max_tokens"] == 1
    assert network.probes[0]["temperature"] == 0
    assert network.probes[0]["messages"][0]["role"] == "user"
    assert "min_tokens" not in network.probes[0]


@pytest.mark.parametrize("calls", [1, 8])
def test_a_run_that_needs_no_more_than_the_initial_window_sends_no_probe(calls: int) -> None:
    network = Network()
    run(network, calls)
    assert network.probes == []


def test_a_server_that_answers_at_once_needs_no_probe() -> None:
    transport = FakeTransport(lambda body: answer(), 0.01)
    client = run(transport, 500)
    assert client.counters.probes == 0
    assert len(transport.requests) == 500
    assert transport.max_in_flight > 8


@pytest.mark.parametrize("options", [{"concurrency": 50}, {"base_url": "https://a", "api_key": "k"}])
def test_no_probe_is_sent_if_the_concurrency_is_fixed_or_calls_cost_money(options: dict[str, Any]) -> None:
    network = Network()
    run(network, 200, **options)
    assert network.probes == []


def test_a_server_with_a_key_is_not_probed_and_opens_by_the_clock() -> None:
    network = Network(slots=300)
    run(network, 200, api_key="k", plain_http=True)
    assert network.probes == []
    assert next(at for at, count in network.peaks if count == 100) < 2.0


@pytest.mark.parametrize("reply", [refusal(400), refusal(429), refusal(500)])
def test_a_server_that_refuses_a_probe_is_not_probed_again_and_opens_by_the_clock(reply: HttpResponse) -> None:
    network = Network(slots=300, on_probe=lambda: reply)
    client = run(network, 200)
    assert len(network.probes) == 1
    assert next(at for at, count in network.peaks if count == 100) < 2.0
    (endpoint,) = client.pool.endpoints
    assert any("opens by the clock: a probe was refused with status" in event.what for event in endpoint.events)
    assert client.counters.http_429 == 0


def test_metrics_open_the_window_without_probes_and_are_polled_rarely_afterwards() -> None:
    network = Network(has_metrics=True, slots=200)
    run(network, 150)
    assert network.probes == []
    assert next(at for at, count in network.peaks if count == 150) < 0.3
    late = [at for at in network.polls if at > 3.0]
    assert len(late) <= late[-1] - late[0] + 2  # once per second


def test_metrics_are_read_more_and_more_rarely_while_the_window_waits() -> None:
    network = Network(has_metrics=True, slots=15)  # one call waits: too few for a queue, too many for more calls
    run(network, 40)
    assert len([at for at in network.polls if 0.2 < at < 3.2]) <= 10


def test_a_hosted_endpoint_gets_three_calls_at_first_and_eight_before_the_first_answer() -> None:
    network = Network(slots=300)
    run(network, 200, base_url="https://a", api_key="k")
    assert [at for at, _ in network.peaks[:4]] == [0.0, 0.0, 0.0, pytest.approx(0.1, abs=0.02)]
    assert network.peaks[7][0] < 0.5
    assert network.peaks[8][0] == pytest.approx(2.0)


@pytest.mark.parametrize(("network_seconds", "opens_in"), [(0.01, 0.75), (0.05, 0.75), (0.15, 0.9)])
def test_a_hosted_window_opens_more_slowly_the_longer_the_list_of_models_takes(
    network_seconds: float, opens_in: float
) -> None:
    """A refusal takes about as long, and the calls that are sent meanwhile are refused together."""
    network = Network(has_metrics=True, slots=300, network=network_seconds)
    run(network, 200, base_url="https://a", api_key="k")
    assert len(network.polls) == 2  # the first one may have to connect
    assert next(at for at, count in network.peaks if count == 128) - 2.0 == pytest.approx(opens_in, rel=0.1)


@pytest.mark.parametrize(
    ("calls", "options"),
    [(3, {"base_url": "https://a", "api_key": "k"}), (9, {"base_url": "https://a", "api_key": "k", "concurrency": 9})],
)
def test_the_list_of_models_is_not_requested_for_a_few_calls_or_a_fixed_number(
    calls: int, options: dict[str, Any]
) -> None:
    network = Network()
    run(network, calls, **options)
    assert network.polls == []


def test_a_server_that_does_not_list_its_models_is_called_all_the_same() -> None:
    class Unlisted(Network):
        async def send(self, request: HttpRequest) -> HttpResponse:
            if request.method == "GET":
                raise ConnectionLost("the connection was lost")
            return await super().send(request)

    client = run(Unlisted(slots=300), 50, base_url="https://a", api_key="k")
    assert client.counters.calls == 50


def test_streams_open_the_window_without_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nbase_url = "http://a"\nstream = "always"\n')
    network = Network(slots=200)
    run(network, 150, base_url=None)
    assert network.probes == []
    assert next(at for at, count in network.peaks if count == 150) < 3.0  # an answer takes 10 s


def test_a_proxy_that_holds_streams_back_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nbase_url = "http://a"\nstream = "always"\n')

    class Held(Network):
        async def send(self, request: HttpRequest) -> HttpResponse:
            chunks: list[bytes] = []
            response = await super().send(
                msgspec.structs.replace(request, on_chunk=chunks.append if request.on_chunk else None)
            )
            for chunk in chunks:
                assert request.on_chunk is not None
                request.on_chunk(chunk)
            return response

    network = Held(slots=500)
    client = run(network, 400, base_url=None)
    (endpoint,) = client.pool.endpoints
    assert any("streams are held back" in event.what for event in endpoint.events)


@pytest.mark.parametrize(
    "params",
    [{"n": 2}, {"tools": [{"type": "function"}]}, {"logprobs": True}, {"top_logprobs": 3}, {"best_of": 2}],
)
def test_calls_whose_answer_differs_with_one_token_are_not_probed(params: dict[str, Any]) -> None:
    assert make_probe(encode_call(Request("chat", "m", MESSAGES, params))) is None
    assert make_probe(encode_call(Request("embeddings", "m", ["x"], {}))) is None


def test_the_limit_of_a_probe_has_the_name_that_the_call_uses() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        probe = make_probe(encode_call(Request("chat", "m", MESSAGES, {name: 100, "n": 1, "logprobs": False})))
        assert probe is not None
        assert msgspec.json.decode(probe.body)[name] == 1
