"""A refusal that is a used-up quota at one provider and a throttle at another."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes import FakeTransport, SoloClient, answer, calls_of, refusal
from manycall.control.exhaustion import PATIENCE_SECONDS, Exhaustion
from manycall.data.row_source import RowSource
from manycall.errors import RunStopped
from manycall.records import Row
from manycall.run.row_client import RowClient
from manycall.run.scheduler import Scheduler
from manycall.sim import virtual_time
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpRequest, HttpResponse

ROWS = 1_319
NO_QUOTA = refusal(429, "You exceeded your current quota", "insufficient_quota")
IN_FLIGHT_BUDGET = refusal(402, "Your budget is reserved by calls in flight", "", {"retry-after": "2"})
BAD_KEY = refusal(401, "No connected db", "invalid_api_key")


def test_before_any_success_the_refusal_means_that_the_quota_is_used_up() -> None:
    assert not Exhaustion().is_temporary(100.0)


def test_after_a_success_it_means_a_throttle_until_the_key_had_no_success_for_five_minutes() -> None:
    key = Exhaustion()
    key.record_success()
    assert key.is_temporary(1000.0)  # the key may have been idle before: the time runs from the first refusal
    assert key.is_temporary(1000.0 + PATIENCE_SECONDS - 1)
    assert not key.is_temporary(1000.0 + PATIENCE_SECONDS)
    key.record_success()
    assert key.is_temporary(1000.0 + PATIENCE_SECONDS + 1)
    assert key.is_temporary(1000.0 + 2 * PATIENCE_SECONDS)


class Trial:
    """A run of 1,319 rows in virtual time, against a server that answers by the second.

    Attributes:
        done, failed: rows. stopped: why it ended early, "" if it did not. seconds: how long it took.
    """

    def __init__(
        self,
        folder: Path,
        reply: Callable[[float, HttpRequest], HttpResponse],
        keys: str = '"k1"',
        url: str = "https://h",
    ) -> None:
        entry = f'base_url = "{url}"\napi = "chat"\napi_key = [{keys}]'  # `answer` is a chat completion
        (folder / "endpoints.toml").write_text(f"[[endpoint]]\n{entry}\n")
        self.transport = Timed(reply)
        self.out = folder / "out.jsonl"
        self.stopped = ""
        self.reason: RunStopped | None = None
        virtual_time.run_virtual(self._main())

    async def _main(self) -> None:
        run = RunFolder(self.out, Manifest("0", {}))
        self.client = SoloClient("m", transport=self.transport, concurrency=16)
        try:
            async with self.client:
                scheduler = Scheduler(calls_of(self.client, run), run, ask)
                await scheduler.run(RowSource([{"id": f"r{n}"} for n in range(ROWS)]).pending_rows(run.ids))
        except RunStopped as reason:
            self.stopped, self.reason = str(reason), reason
        finally:
            run.close()
        self.seconds = virtual_time.now()
        self.done = len(self.out.read_bytes().splitlines())
        self.failed = self.client.counters.failed


class Timed(FakeTransport):
    """Replies after 0.2 s, for the key "slow" after 10 s, by a function of the second and the request."""

    def __init__(self, reply: Callable[[float, HttpRequest], HttpResponse]) -> None:
        super().__init__(lambda body: reply(virtual_time.now(), self.requests[-1]), seconds=0.2)
        self.reply = reply

    async def send(self, request: HttpRequest) -> HttpResponse:
        await super().send(request)
        if request.key is not None and request.key.reveal() == "slow":
            await asyncio.sleep(10)
        return self.reply(virtual_time.now(), request)


async def ask(row: Row, llm: RowClient) -> dict[str, Any]:
    return {"text": (await llm.chat(row.id)).text}


@pytest.mark.parametrize("refused", [NO_QUOTA, IN_FLIGHT_BUDGET, BAD_KEY])
@pytest.mark.parametrize("seconds", [5, 60, 240])
def test_a_throttle_in_the_middle_of_a_run_costs_no_row(tmp_path: Path, refused: HttpResponse, seconds: float) -> None:
    end = Trial(tmp_path, lambda now, _: refused if 5 <= now < 5 + seconds else answer())
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    assert end.seconds < ROWS / 16 * 0.2 + 2.5 * seconds + 30


def test_a_throttle_of_every_minute_costs_no_row(tmp_path: Path) -> None:
    end = Trial(tmp_path, lambda now, _: NO_QUOTA if now % 60 > 10 else answer())
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")


@pytest.mark.parametrize("refused", [NO_QUOTA, IN_FLIGHT_BUDGET])
def test_an_account_that_runs_out_of_money_stops_the_run_within_the_bound_and_says_so(
    tmp_path: Path, refused: HttpResponse
) -> None:
    end = Trial(tmp_path, lambda now, _: refused if now >= 5 else answer())
    assert 0 < end.done < ROWS
    assert end.failed == 0
    assert PATIENCE_SECONDS < end.seconds < PATIENCE_SECONDS + 60
    assert "no call with this key has succeeded for 3" in end.stopped
    assert refused.body.decode().split('"')[5][:8] in end.stopped


def test_a_few_refusals_of_a_key_that_works_cost_as_many_retries(tmp_path: Path) -> None:
    refused = iter([BAD_KEY] * 4)
    end = Trial(tmp_path, lambda now, _: next(refused, answer()) if now >= 5 else answer())
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    assert ROWS < end.client.counters.attempts <= ROWS + 4


def test_a_key_that_is_revoked_stops_the_run_within_the_bound_and_says_so(tmp_path: Path) -> None:
    end = Trial(tmp_path, lambda now, _: BAD_KEY if now >= 5 else answer())
    assert 0 < end.done < ROWS
    assert end.failed == 0
    assert PATIENCE_SECONDS < end.seconds < PATIENCE_SECONDS + 60
    assert "No connected db (no call with this key has succeeded for 3" in end.stopped
    assert "Check the API key" in end.stopped


def test_a_server_that_says_that_its_refusal_of_a_key_is_final_is_believed(tmp_path: Path) -> None:
    final = refusal(401, "revoked", "", {"x-should-retry": "false"})
    end = Trial(tmp_path, lambda now, _: final if now >= 5 else answer())
    assert "revoked" in end.stopped
    assert end.seconds < 6


@pytest.mark.parametrize("second", ["k2", "slow"])
def test_the_other_key_does_the_rows_while_one_is_refused(tmp_path: Path, second: str) -> None:
    def reply(now: float, request: HttpRequest) -> HttpResponse:
        assert request.key is not None
        return BAD_KEY if request.key.reveal() == "k1" and now >= 2 else answer()

    end = Trial(tmp_path, reply, keys=f'"k1", "{second}"')
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    assert end.client.counters.attempts < ROWS + 100


def test_an_account_without_money_stops_the_run_at_once(tmp_path: Path) -> None:
    end = Trial(tmp_path, lambda now, _: NO_QUOTA)
    assert (end.done, end.failed) == (0, 0)
    assert "exceeded your current quota" in end.stopped
    assert end.seconds < 3
    assert end.client.counters.attempts <= 8


def test_a_key_that_runs_out_of_money_gets_no_more_calls_while_another_has_some(tmp_path: Path) -> None:
    def reply(now: float, request: HttpRequest) -> HttpResponse:
        assert request.key is not None
        if request.key.reveal() == "k1":
            return NO_QUOTA if now >= 2 else answer()
        return answer()

    end = Trial(tmp_path, reply, keys='"k1", "slow"')
    assert end.seconds > PATIENCE_SECONDS
    assert (end.done, end.failed, end.stopped) == (ROWS, 0, "")
    assert "exceeded your current quota" in str(end.client.pool.endpoints[0].disabled_reason)
    assert end.client.pool.endpoints[1].disabled_reason is None
