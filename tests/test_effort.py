import asyncio
from pathlib import Path

import msgspec
import pytest

from fakes import FakeTransport, SoloClient
from manycall import clock
from manycall.client.cpu_load import CpuLoad
from manycall.run.run_result import RunResult
from manycall.sim import virtual_time
from manycall.transport.messages import HttpRequest, HttpResponse, no_header


class Loop(virtual_time.VirtualLoop):
    """So much CPU is used in every second; and now and then the loop is held up."""

    share = waited = 0.0

    def cpu(self) -> float:
        return self.share * self.time()

    def waited_for_cpu(self) -> float:
        return self.waited * self.time()

    def hold_up(self, seconds: float) -> None:
        self._virtual.now += seconds


def watched(share: float, late: float = 0.0, seconds: int = 5, waited: float = 0.0) -> CpuLoad:
    async def main() -> CpuLoad:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        loop.share, loop.waited = share, waited
        effort = CpuLoad()
        for _ in range(seconds):
            loop.call_later(1.0, loop.hold_up, late)
            await effort.sample_after(1.0)
        return effort

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main())


@pytest.mark.parametrize(
    ("share", "late", "bound", "said"),
    [
        (0.5, 0.0, 0.0, "50% of a core"),
        (0.97, 0.0, 5.0, "97% of a core"),
        (0.1, 0.5, 7.5, "the event loop is 0.5 s late"),
        (0.1, 0.1, 0.0, "10% of a core"),
    ],
)
def test_the_process_knows_when_it_is_the_limit(share: float, late: float, bound: float, said: str) -> None:
    effort = watched(share, late)
    assert effort.is_limiting is (bound > 0)
    assert effort.bound_seconds == pytest.approx(bound)
    assert str(effort) == said
    assert effort.worst == (said if bound else "")


def test_a_thread_that_gets_no_core_is_the_limit_too() -> None:
    effort = watched(0.5, waited=0.45)
    assert (effort.is_limiting, str(effort)) == (True, "50% of a core, and waiting for one 45% of the time")
    assert not watched(0.5, waited=0.2).is_limiting


class SlowMetrics(FakeTransport):
    """A server that takes its time to say how many calls it works on."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.method != "GET":
            return await super().send(request)
        await asyncio.sleep(0.4)
        return HttpResponse(200, b"vllm:num_requests_running 4\nvllm:num_requests_waiting 0\n", no_header)


def test_a_server_whose_metrics_are_slow_does_not_make_this_machine_the_limit() -> None:
    async def main() -> None:
        async with SoloClient("m", base_url="http://10.0.0.5/v1", transport=SlowMetrics(lambda body: "fine")) as llm:
            calls = [asyncio.create_task(llm.chat("hi")) for _ in range(2000)]
            await asyncio.wait(calls)
            (endpoint,) = llm.pool.endpoints
            assert llm.pool.cpu_load.bound_seconds == 0
            assert endpoint.window is not None
            assert endpoint.window.size > 100

    virtual_time.run_virtual(main())


def test_the_time_without_a_core_is_read_where_the_system_reports_it() -> None:
    async def main() -> float:
        return clock.cpu_wait_time()

    assert 0 <= asyncio.run(main()) < 3600


def test_the_report_says_if_the_client_was_the_bottleneck_for_a_while() -> None:
    report = RunResult(
        job="x", out=Path("o"), total_rows=1, done=1, failed=0, seconds=60.0, client_bound_detail="97% of a core"
    )
    assert "limited by this machine" not in str(report)
    report = msgspec.structs.replace(report, client_bound_seconds=12.0)
    assert "12 s (97% of a core)" in str(report)


def test_how_busy_the_machine_is_changes_nothing_in_virtual_time() -> None:
    async def figures() -> tuple[float, float, float]:
        return clock.cpu_time(), clock.cpu_time(of_all=True), clock.cpu_wait_time()

    assert virtual_time.run_virtual(figures()) == (0.0, 0.0, 0.0)
