"""Budgets of tokens, money and time: kept to within a call or so, over all sessions, and never at a row's cost."""

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import manycall
from fakes import FakeTransport, Handler, SoloClient, answer, asked, calls_of, refusal
from manycall import errors
from manycall.control.budget import MAX_IN_FLIGHT_UNPRICED, Budget, Charge, SpendLimit
from manycall.data.row_source import RowSource
from manycall.providers.prices import Price, Rates
from manycall.records import Usage
from manycall.render import format_money, format_tokens
from manycall.reports.provenance import provenance_facts
from manycall.run.options import RunOptions
from manycall.run.scheduler import Scheduler
from manycall.run.spending import EXPECTED_USAGE, Spending
from manycall.run.spending_limits import SpendingLimits, spending_limits
from manycall.sim import virtual_time
from manycall.store.manifest import Manifest
from manycall.store.output_reader import OutputReader
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpRequest, HttpResponse
from shell import finish, rows, sim, start
from shell import manycall as command
from test_kill import wait_until_calls
from test_scheduler import ask, questions

OUT = Path("out.jsonl")
NO_PRICE = Price(Rates(0, 0))
USAGES = st.builds(Usage, st.integers(1, 50), st.integers(0, 1000))


def of_tokens(most: float) -> SpendLimit:
    return SpendLimit(most, lambda charge: charge.tokens, format_tokens, "--max-total-tokens")


def of_money(most: float) -> SpendLimit:
    return SpendLimit(most, lambda charge: charge.cost, format_money, "--max-cost")


def worth(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens


def charge_of(usage: Usage, price: Price = NO_PRICE) -> Charge:
    return Charge(worth(usage), price.cost(usage))


EXPECTED = charge_of(EXPECTED_USAGE)


# the pure part


@given(st.lists(USAGES, min_size=1, max_size=80), st.integers(1, 20_000), st.integers(1, 64), st.randoms())
def test_no_call_begins_at_the_budget_and_the_overshoot_is_that_of_the_expectation(
    calls: list[Usage], most: int, at_once: int, rng: random.Random
) -> None:
    """Calls are begun while there is room, and end in any order."""
    budget = Budget([of_tokens(most)], EXPECTED)
    ended: list[int] = []
    flying: list[Usage] = []
    bound = 0.0
    waiting = list(calls)
    while waiting or flying:
        while waiting and len(flying) < at_once and budget.has_room(len(flying)):
            sized = sum(c * c for c in ended) / sum(ended) if ended else worth(EXPECTED_USAGE)
            expected = sized * (1 + len(flying) / (len(ended) or 1))
            assert expected >= (sum(ended) / len(ended) if ended else 0) - 1e-6  # never less than the mean
            assert sum(ended) + expected * len(flying) < most + 1e-6
            assert ended or len(flying) < MAX_IN_FLIGHT_UNPRICED
            flying.append(waiting.pop())
            bound = most + expected + sum(worth(each) - expected for each in flying)
        if not flying:
            assert budget.exhausted  # it never waits for nothing
            break
        ended.append(worth(usage := flying.pop(rng.randrange(len(flying)))))
        budget.spend(charge_of(usage))
    assert sum(budget.spent()) == pytest.approx(sum(ended))
    assert sum(ended) <= bound + 1e-6
    assert waiting == [] or sum(ended) >= most


@given(st.lists(USAGES, min_size=1, max_size=40), st.integers(1, 5000), st.floats(0.001, 1), st.integers(0, 30))
def test_of_several_limits_the_tightest_counts(calls: list[Usage], most: int, cost: float, in_flight: int) -> None:
    price = Price(Rates(100, 700))
    limits, expected = [of_tokens(most), of_money(cost)], charge_of(EXPECTED_USAGE, price)
    both, each = Budget(limits, expected), [Budget([limit], expected) for limit in limits]
    for usage in calls:
        for budget in (both, *each):
            budget.spend(charge_of(usage, price))
    assert both.has_room(in_flight) == all(budget.has_room(in_flight) for budget in each)
    assert bool(both.exhausted) == any(budget.exhausted for budget in each)


def test_replies_that_do_not_say_what_they_cost_are_taken_for_what_the_others_did() -> None:
    budget = Budget([of_tokens(1000)], EXPECTED)
    budget.spend(None)
    assert budget.spent() == [worth(EXPECTED_USAGE)]
    budget.spend(charge_of(Usage(100, 20)))
    assert budget.spent() == [240]
    budget.spend(None)
    assert budget.usage_lines() == ["360 tokens of 1,000 tokens"]


def test_money_is_tokens_at_their_price() -> None:
    price = Price(Rates(0.5, 1.5))
    budget = Budget([of_money(2.0)], charge_of(EXPECTED_USAGE, price))
    budget.spend(charge_of(Usage(1_000_000, 800_000), price))
    assert budget.exhausted is None
    assert budget.usage_lines() == ["$1.70 of $2.00"]
    budget.spend(charge_of(Usage(0, 200_000), price))
    assert budget.exhausted == ("Stopped: --max-cost $2.00 reached ($2.00 spent in all sessions).")
    assert format_money(0.00123) == "$0.0012"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"max_time": 90}, 90),
        ({"max_time": 0.5}, 0.5),
        ({"max_time": "90"}, 90),
        ({"max_time": "90s"}, 90),
        ({"max_time": "30m"}, 1800),
        ({"max_time": "1.5h"}, 5400),
    ],
)
def test_a_deadline_is_seconds_or_a_text(given_: dict[str, Any], expected: float) -> None:
    assert allowed(**given_).seconds == expected


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"max_time": "soon"}, "max_time='soon' is not a time like 90, 90s, 30m or 2h"),
        ({"max_time": 0}, "max_time=0"),
        ({"max_time": float("nan")}, "max_time=nan"),
        ({"max_time": "-5m"}, "max_time='-5m'"),
        ({"max_total_tokens": 0}, "max_total_tokens= must be more than 0"),
        ({"max_cost": -1, "price": "1/2"}, "max_cost= must be more than 0"),
        ({"max_cost": float("nan"), "price": "1/2"}, "max_cost= must be more than 0"),
        ({"price": "0.15"}, "price='0.15' is not a valid price. Expected IN/OUT or IN/CACHED/OUT"),
        ({"price": "1/two"}, "price='1/two' is not a valid price"),
        ({"price": (1, -2)}, "price=(1, -2) is not a valid price"),
        ({"price": 7}, "price=7 is not a valid price"),
    ],
)
def test_what_is_no_budget_is_said(given_: dict[str, Any], said: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        allowed(**given_)
    assert said in str(caught.value)


def allowed(**given_: Any) -> SpendingLimits:
    return spending_limits(RunOptions(out="out.jsonl", **given_))


# in motion


class World:
    """One output, with a budget, in virtual time."""

    def __init__(self, folder: Path, server: Handler | FakeTransport, *, concurrency: int = 512) -> None:
        self.out = folder / "out.jsonl"
        self.transport = server if isinstance(server, FakeTransport) else FakeTransport(server)
        self.concurrency = concurrency

    def go(self, count: int, **given_: Any) -> SoloClient:
        async def main() -> SoloClient:
            run = RunFolder(self.out, Manifest("0", {}))
            client = SoloClient("m", base_url="http://h", transport=self.transport, concurrency=self.concurrency)
            client.counters.had_success = len(run.ids) > 0
            client.counters.had_rows = client.counters.had_success or bool(run.failures.failed_before)
            limits = allowed(**given_)
            spending = Spending(limits, limits.price_book("m", client.priced_endpoints))
            spending.count_earlier(run.journal)
            self.budget = spending.budget
            try:
                async with client:
                    scheduler = Scheduler(calls_of(client, run, budget=self.budget, charge=spending.charge), run, ask)
                    with allowed(**given_).time_limit(scheduler.stop):
                        await scheduler.run(RowSource(questions(count)).pending_rows(run.ids))
            finally:
                self.took = virtual_time.now()
                run.close()
            return client

        return virtual_time.run_virtual(main())

    @property
    def done(self) -> int:
        return len(self.out.read_bytes().splitlines())


def costing(prompt: int, completion: int) -> HttpResponse:
    return answer(usage={"prompt_tokens": prompt, "completion_tokens": completion})


class Uneven(FakeTransport):
    """Answers of lognormal length, some 100 tokens a call; the long ones take long."""

    def __init__(self) -> None:
        super().__init__(lambda body: costing(20, self._tokens(body)))

    def _tokens(self, body: dict[str, Any]) -> int:
        return round(random.Random(asked(body)).lognormvariate(4.2, 0.6))

    async def send(self, request: HttpRequest) -> HttpResponse:
        await asyncio.sleep(0.02 * self._tokens(msgspec.json.decode(request.body)))
        return await super().send(request)


@pytest.mark.parametrize("most", [50_000, 100_000, 300_000])
def test_hundreds_of_calls_in_flight_do_not_overshoot_by_hundreds(tmp_path: Path, most: int) -> None:
    world = World(tmp_path, Uneven())
    with pytest.raises(errors.BudgetExceeded, match=rf"max_total_tokens= {most:,} tokens reached"):
        world.go(6000, max_total_tokens=most)
    assert world.budget is not None
    assert most <= sum(world.budget.spent()) < 1.06 * most
    assert world.done == len(world.transport.log)
    assert world.took < 30  # a few times the longest answer, which takes 9 s


def test_a_budget_is_of_the_output_not_of_the_session(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: costing(60, 40), concurrency=32)
    with pytest.raises(errors.BudgetExceeded, match="10,000 tokens spent"):
        world.go(1000, max_total_tokens=10_000)
    assert world.done == len(world.transport.log) == 100
    for most in (9_000, 10_000):
        with pytest.raises(errors.BudgetExceeded):
            world.go(1000, max_total_tokens=most)
    assert len(world.transport.log) == 100
    with pytest.raises(errors.BudgetExceeded, match=r"\$0\.025[01] spent"):
        world.go(1000, max_cost=0.025, price="0.5/1.75")  # $0.0001 a call
    assert world.done in (250, 251)
    world.go(300, max_total_tokens=30_000)
    assert world.done == 300


def test_a_budget_that_is_just_enough_is_no_reason_to_stop(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: costing(60, 40), concurrency=8)
    world.go(100, max_total_tokens=10_000)
    world.go(100, max_total_tokens=10_000)
    assert world.done == len(world.transport.log) == 100


def test_what_was_paid_for_no_answer_counts_now_and_later(tmp_path: Path) -> None:
    def thinking(body: dict[str, Any]) -> HttpResponse:
        first = asked(body) == "q0"
        return answer("" if first else "fine", "length" if first else "stop", usage={"completion_tokens": 100})

    world = World(tmp_path, thinking, concurrency=1)
    with pytest.raises(errors.BudgetExceeded, match="1,000 tokens spent"):
        world.go(1000, max_total_tokens=1000)
    assert (world.done, len(world.transport.log)) == (9, 10)
    with pytest.raises(errors.BudgetExceeded):
        world.go(1000, max_total_tokens=1000)
    assert len(world.transport.log) == 10


def test_a_tiny_budget_is_overrun_by_one_call(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: costing(500, 500))
    with pytest.raises(errors.BudgetExceeded):
        world.go(1000, max_total_tokens=1)
    assert len(world.transport.log) == 1


def test_few_calls_run_until_the_first_cost_is_known(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: costing(5000, 20_000))
    with pytest.raises(errors.BudgetExceeded):
        world.go(1000, max_total_tokens=100_000)
    assert len(world.transport.log) == MAX_IN_FLIGHT_UNPRICED


def test_failed_calls_that_cost_nothing_use_no_budget(tmp_path: Path) -> None:
    fails = random.Random(7)
    world = World(tmp_path, lambda body: refusal(503) if fails.random() < 0.5 else costing(60, 40), concurrency=64)
    with pytest.raises(errors.BudgetExceeded, match="10,000 tokens spent"):
        world.go(1000, max_total_tokens=10_000)
    assert world.done == 100


def test_at_the_deadline_no_new_call_is_made_and_those_in_flight_finish(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: answer(), concurrency=4)
    with pytest.raises(errors.TimeLimitReached, match=r"the time limit of 2\.5 s \(max_time=\) was reached"):
        world.go(100, max_time=2.5)
    assert (world.took, world.done) == (3.0, 12)
    world.go(20, max_time="2.5s")  # the last two rounds: begun in time
    assert (world.took, world.done) == (2.0, 20)


def test_a_deadline_that_comes_while_the_last_calls_are_in_flight_stops_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: answer(), concurrency=4)
    world.go(8, max_time=1.5)
    assert (world.took, world.done) == (2.0, 8)


def test_a_deadline_waits_for_no_retry(tmp_path: Path) -> None:
    world = World(tmp_path, lambda body: refusal(503, headers={"retry-after": "3000"}))
    with pytest.raises(errors.TimeLimitReached):
        world.go(3, max_time="1m")
    assert world.took == 60


# from a shell


def spent() -> int:
    usages = (json.loads(call["body"])["usage"] for call in rows(Path("out.jsonl.run/calls.jsonl")))
    return sum(usage["prompt_tokens"] + usage["completion_tokens"] for usage in usages)


def test_sessions_that_are_killed_share_one_budget() -> None:
    with sim("--latency", "0.05", "--token-latency", "0", "--tokens", "60") as endpoint:
        words = ("generate", "-p", "x", "-n", "3000", "-j", "16", "-u", endpoint.url, "-m", "any", "-o", OUT)
        budget = ("--max-total-tokens", "20000")
        for calls in (60, 120):
            process = start(*words, *budget)
            wait_until_calls(calls)
            process.send_signal(signal.SIGKILL)
            assert finish(process).code == -signal.SIGKILL
        stopped = command(*words, *budget)
        assert stopped.code == 4
        assert f"--max-total-tokens 20,000 tokens reached ({spent():,} tokens spent in all sessions" in stopped.err
        assert f"{len(rows(OUT))} rows are saved. Raise the budget and resume with: manycall generate" in stopped.err
        assert 20_000 <= spent() < 20_500
        calls = endpoint.stats["finished"]
        assert command(*words, *budget).code == 4
        assert endpoint.stats["finished"] == calls
        more = command(*words, "--max-cost", "0.021", "--price", "1/1")
    assert more.code == 4
    assert 21_000 <= spent() < 21_500


def test_the_report_says_what_was_spent() -> None:
    words = ("generate", "-p", "x", "-u", "sim:latency=0", "-m", "any", "-o", OUT)
    first = json.loads(command(*words, "-n", "10", "--price", "2/3", "--json").out)
    dollars_ = (2 * first["prompt_tokens"] + 3 * first["completion_tokens"]) / 1e6
    assert first["cost"] == pytest.approx(dollars_)
    assert (first["total_cost"], first["budget_usage"]) == (first["cost"], [])
    assert first["total_prompt_tokens"] + first["total_completion_tokens"] == spent()
    budget = ("--max-total-tokens", "100000", "--max-cost", "3", "--price", "2/3")
    second = json.loads(command(*words, "-n", "20", *budget, "--json").out)
    assert second["total_prompt_tokens"] + second["total_completion_tokens"] == spent()
    assert second["total_cost"] == pytest.approx(second["cost"] + first["cost"])
    third = command(*words, "-n", "20", *budget).out
    assert f"{spent():,} tokens of 100,000 tokens, ${second['total_cost']:.4f} of $3.00" in third


def test_report_card_and_journal_agree_on_all_sessions_though_one_was_killed() -> None:
    with sim("--latency", "0.02", "--token-latency", "0") as endpoint:
        words = ("generate", "-p", "x", "-u", endpoint.url, "-m", "any", "-o", OUT, "--price", "10/20")
        first = json.loads(command(*words, "-n", "20", "--json").out)
        process = start(*words, "-n", "1000", "-j", "4")
        wait_until_calls(60)
        process.send_signal(signal.SIGKILL)
        finish(process)
        last = json.loads(command(*words, "-n", "150", "--json").out)
        shown = command(*words, "-n", "151").out
    card = json.loads(command("dataset-card", OUT, "--json").out)
    usages = [json.loads(call["body"])["usage"] for call in rows(Path("out.jsonl.run/calls.jsonl"))]
    new = usages.pop()  # of the row that the last command added
    counted = {name: sum(usage[name] for usage in usages) for name in ("prompt_tokens", "completion_tokens")}
    cost = (10 * counted["prompt_tokens"] + 20 * counted["completion_tokens"]) / 1e6
    assert {name: last[f"total_{name}"] for name in counted} == counted
    assert {name: card[name] - new[name] for name in counted} == counted
    assert last["total_cost"] == pytest.approx(cost)
    assert first["total_cost"] == first["cost"] < last["cost"] < last["total_cost"]
    assert f"{spent():,} ({card['prompt_tokens']:,} in, {card['completion_tokens']:,} out) in all sessions; " in shown
    assert f"${card['cost']:.4f} in all sessions; " in shown
    in_reports = provenance_facts(OutputReader(OUT), 0, 0)["tokens"]
    assert in_reports == f"{card['prompt_tokens']:,} in, {card['completion_tokens']:,} out"


def test_replies_that_a_row_no_longer_waits_for_are_in_the_figures() -> None:
    async def hasty(row: dict[str, Any], llm: Any) -> dict[str, Any]:
        slow = asyncio.create_task(llm.chat(f"slow {row['id']}"))
        await asyncio.sleep(0.05)
        slow.cancel()
        return {"text": (await llm.chat("x")).text}

    with sim("--latency", "0.2", "--token-latency", "0") as endpoint:
        report = manycall.map(hasty, questions(20), model="m", base_url=endpoint.url, out=OUT, progress=False)
    assert len(rows(Path("out.jsonl.run/calls.jsonl"))) > 25  # those that were sent before they were cancelled
    assert report.prompt_tokens + report.completion_tokens == spent()


def test_a_deadline_ends_a_command_cleanly() -> None:
    words = ("generate", "-p", "x", "-n", "100000", "-u", "sim:latency=0.1", "-m", "any", "-o", OUT, "-j", "4")
    done = command(*words, "--max-time", "1s")
    assert done.code == 4
    assert "Stopped: the time limit of 1 s (--max-time) was reached." in done.err
    assert f"{len(rows(OUT))} rows are saved. Resume with: manycall generate" in done.err
    assert len(rows(OUT)) == len(rows(Path("out.jsonl.run/calls.jsonl"))) > 0


@pytest.mark.parametrize("verb", [("eval", "wordmath"), ("run", "f.py:f", "in.jsonl"), ("generate", "-p", "x")])
def test_every_verb_that_calls_has_budgets(verb: tuple[str, ...]) -> None:
    Path("f.py").write_text("async def f(row, llm):\n    return {'text': (await llm.chat('x')).text}\n")
    Path("in.jsonl").write_text('{"q": 1}\n' * 50)
    common: tuple[str | Path, ...] = (*verb, "-n", "50", "-u", "sim:latency=0", "-m", "any", "-o", OUT)
    done = command(*common, "--max-total-tokens", "300", "--max-time", "1h")
    assert (done.code, "--max-total-tokens 300 tokens reached" in done.err) == (4, True)
    done = command(*common, "--max-cost", "3")
    assert (done.code, "--max-cost needs the price" in done.err) == (2, True)


def test_from_python_a_budget_is_an_option(tmp_path: Path) -> None:
    with pytest.raises(errors.RunStopped) as caught:
        manycall.generate(
            "x", samples=500, model="any", base_url="sim:latency=0", out="o.jsonl", progress=False,
            max_cost=0.001, price=(1.0, 1.0), max_time=60.0, concurrency=4,
        )  # fmt: skip
    assert "max_cost= $0.0010 reached" in str(caught.value)
    assert caught.value.rows_done == len(rows(Path("o.jsonl"))) > 0
    manifest = msgspec.json.decode(Path("o.jsonl.run/manifest.json").read_bytes())
    assert "price" not in json.dumps(manifest["settings"])
