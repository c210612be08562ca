"""Every way in which a run can end, with every way in which its function can call; and what must hold afterwards.

In virtual time, in memory: thousands of cases a minute. The servers are the simulated ones, and what they say that they
have answered is compared with the journal.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from disks import Refusing
from fakes import SoloClient, calls_of
from manycall import errors
from manycall.control.budget import Budget, Charge, SpendLimit
from manycall.data.row_source import RowSource
from manycall.records import Row
from manycall.render import format_tokens
from manycall.run.async_bridge import run_on
from manycall.run.row_recorder import MAX_INITIAL_FAILURES
from manycall.run.scheduler import RowFunction, Scheduler
from manycall.run.signals import Interrupts
from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from manycall.sim.virtual_time import VirtualLoop
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.transport.messages import HttpRequest, HttpResponse
from shapes import CALM, FAILING, WAITING, Shape

SHAPES: dict[str, Shape] = {**CALM, **FAILING, **WAITING}
HANG_SECONDS = 3600.0
"""Of virtual time. A call takes seconds, and rows have ten after the last of them."""


class Witness(InProcessTransport):
    """The simulated server; it remembers what it has answered in full.

    Attributes:
        begun: requests that it has taken up. answered: bodies of its replies, as often as they were sent.
        refusing: it answers nothing but this status; None: it is well. refuses_at: from this request on.
    """

    def __init__(self, behaviour: SimSettings) -> None:
        super().__init__({"h": SimServer(behaviour, {})})
        self.begun = 0
        self.answered: Counter[bytes] = Counter()
        self.refusing: int | None = None
        self.refuses_at = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        if request.method == "POST" and self.refusing is not None and self.sent["h"] >= self.refuses_at:
            await asyncio.sleep(0.01)
            return HttpResponse(self.refusing, b'{"error": {"message": "as ordered"}}', lambda name: None)
        self.begun += request.method == "POST"
        reply = await super().send(request)
        if request.method == "POST" and reply.status == 200:
            self.answered[reply.body] += 1
        return reply


class Case(NamedTuple):
    """One run: everything in it is drawn from the seed.

    Attributes:
        shape, ending: names of what the function does, and of what ends the run.
    """

    shape: str
    ending: str
    seed: int


class World:
    """The run of a case, and its resumption."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.rng = random.Random(f"{case}")
        self.rows = [{"id": f"r{n}", "q": n} for n in range(self.rng.choice([1, 4, 12, 30]))]
        self.known_total = self.rng.random() < 0.7
        self.concurrency = self.rng.choice([None, 1, 4, 16, 64])
        self.out = folder / "out.jsonl"
        self.disk = Refusing()
        self.server = Witness(SimSettings(latency=self.rng.choice([0.0, 0.3, 1.0]), token_latency=0.01, tokens=20))
        self.moment = self.rng.choice([0.0, 0.005, 0.3, 1.0, 1.0]) + self.rng.random() * 3
        self.scheduler: Scheduler | None = None
        self.hard = False
        self.interrupts = Interrupts()

    def run(self, *, ends: bool) -> BaseException | None:
        """Run it; return what it raised.

        Raises:
            TimeoutError: it does not end.
        """
        try:
            run_on(VirtualLoop(), self._main(ends=ends), self.interrupts)
        except errors.ManycallError as error:
            return error
        return None

    async def _main(self, *, ends: bool) -> None:
        run = RunFolder(self.out, Manifest("0", {}), disk=self.disk)
        client = SoloClient("m", base_url="http://h", transport=self.server, concurrency=self.concurrency)
        client.counters.had_success = len(run.ids) > 0
        client.counters.had_rows = client.counters.had_success or bool(run.failures.failed_before)
        total = len(self.rows) - len(run.ids) if self.known_total else None
        budget = self.budget() if ends and self.case.ending == "budget" else None
        try:
            async with client:
                calls = calls_of(client, run, budget=budget, finish_cancelled_calls=True)
                self.scheduler = Scheduler(calls, run, self._function(ends=ends), total=total)
                if ends:
                    ENDINGS[self.case.ending].begin(self)
                with self.interrupts.handled_by(lambda count: None, lambda: None):
                    async with asyncio.timeout(HANG_SECONDS):
                        await self.scheduler.run(RowSource(self.rows).pending_rows(run.ids))
        finally:
            run.close()

    def _function(self, *, ends: bool) -> RowFunction:
        shape = SHAPES[self.case.shape]
        failing = ends and self.case.ending == "canary"

        async def one(row: Row, llm: Any) -> dict[str, Any]:
            made = await shape({**row.fields, "id": row.id}, llm)
            if failing:
                raise ValueError("as ordered")
            return made

        return one

    def budget(self) -> Budget:
        most = self.rng.randint(30, 3000)
        limit = SpendLimit(most, lambda charge: charge.tokens, format_tokens, "--max-total-tokens")
        return Budget([limit], Charge(512, 0.0))

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, what)

    def end(self, reason: BaseException) -> None:
        assert self.scheduler is not None
        self.scheduler.stop(reason)

    def abandon(self) -> None:
        assert self.scheduler is not None
        self.hard = True
        self.scheduler.cancel(errors.Interrupted("interrupted"))

    def lines(self, name: str = "") -> list[dict[str, Any]]:
        """The lines of the output, or of a file in its run folder."""
        path = self.out.with_name("out.jsonl.run") / name if name else self.out
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class Ending(NamedTuple):
    """`begin` sees to it that it comes; `raises` is what the run then raises, if it has not finished before."""

    raises: type[errors.ManycallError]
    begin: Callable[[World], None]


def _deadline(world: World) -> None:
    world.later(world.moment, lambda: world.end(errors.TimeLimitReached("the deadline has come")))


def _interrupt(world: World) -> None:
    world.later(world.moment, lambda: world.end(errors.Interrupted("interrupted")))


def _interrupt_twice(world: World) -> None:
    _interrupt(world)
    world.later(world.moment + world.rng.choice([0.0, 0.1, 2.0]), world.abandon)


def _wrong_key(world: World) -> None:
    world.server.refusing, world.server.refuses_at = 401, world.rng.choice([0, 3, 40])


def _full_disk(world: World) -> None:
    world.disk.room = world.rng.randint(0, 40_000)


def _nothing(world: World) -> None:
    pass


ENDINGS: dict[str, Ending] = {
    "finish": Ending(errors.ManycallError, _nothing),
    "deadline": Ending(errors.TimeLimitReached, _deadline),
    "budget": Ending(errors.BudgetExceeded, _nothing),
    "interrupt": Ending(errors.Interrupted, _interrupt),
    "interrupt twice": Ending(errors.Interrupted, _interrupt_twice),
    "wrong key": Ending(errors.RunStopped, _wrong_key),
    "full disk": Ending(errors.StorageError, _full_disk),
    "canary": Ending(errors.RunStopped, _nothing),
}


def possible(shape: str, ending: str) -> bool:
    """Whether the run ends at all: one that waits for ever is ended by what does not wait for its rows."""
    return shape not in WAITING or ending in ("deadline", "interrupt", "interrupt twice")


def check(case: Case, folder: Path) -> list[str]:
    """Run the case, and resume it; return what is not as promised."""
    world = World(case, folder)
    try:
        raised = world.run(ends=True)
        found = _after(world, raised)
        world.disk.room = None
        world.server.refusing = None
        if case.shape not in WAITING and not found:
            found += _resumed(world)
    except Exception as error:
        found = [f"{type(error).__name__}: {error}"]
    return [f"{case}: {each}" for each in found]


def _after(world: World, raised: BaseException | None) -> list[str]:
    """What must hold after any ending."""
    shape, ending = world.case.shape, world.case.ending
    found = _journal(world)
    ended = len(_ids(world.lines())) + len(_ids(world.lines("failures.jsonl")))
    if raised is None:
        found += [f"it ended as if all were done, with {ended} of {len(world.rows)} rows"] * (ended != len(world.rows))
    elif not isinstance(raised, ENDINGS[ending].raises) and not _canary(world, raised):
        found.append(f"it raised {raised!r}")
    if ending == "finish" and shape in CALM and raised is not None:
        found.append(f"nothing should have ended it, but {raised!r}")
    if shape in FAILING and ending != "canary" and not all(_fails(shape, row) for row in world.lines("failures.jsonl")):
        found.append("rows have failed by what another row did")
    if any(row.get("text") == "made up" for row in world.lines()) and not isinstance(raised, errors.StorageError):
        found.append("a row that was cut off is in the output")
    return found


def _fails(shape: str, failure: dict[str, Any]) -> bool:
    """Whether this row fails by what it does itself."""
    return shape == "cancelled_by_subtask" or failure["row"]["q"] % 3 == 1


def _canary(world: World, raised: BaseException) -> bool:
    """Whether the run ended because its first rows all failed."""
    return len(world.lines("failures.jsonl")) >= MAX_INITIAL_FAILURES and "rows all failed" in str(raised)


def _resumed(world: World) -> list[str]:
    """What must hold after the same run again, twice: the canary may have ended the first."""
    for _ in range(2):
        world.run(ends=False)
    found = _journal(world)
    done, failed = _ids(world.lines()), _ids(world.lines("failures.jsonl"))
    if world.case.shape in CALM and len(done) != len(world.rows):
        found.append(f"{len(world.rows) - len(done)} rows are not done after it was resumed")
    if len(done | failed) != len(world.rows):
        found.append(f"{len(world.rows) - len(done | failed)} rows have no end after it was resumed")
    return found


def _ids(lines: list[dict[str, Any]]) -> set[str]:
    return {line["id"] for line in lines}


def _journal(world: World) -> list[str]:
    """Every row once in the output; every answer in the journal, and none twice."""
    done, calls = world.lines(), world.lines("calls.jsonl") + world.lines("rescued.jsonl")
    twice = len(done) - len(_ids(done))
    places = Counter((call["id"], call["key"], call["nth"]) for call in calls)
    kept = Counter(call["body"].encode() for call in calls)
    lost = (world.server.answered - kept).total()
    counts = {
        "rows twice in the output": twice,
        "calls twice in the journal": sum(n > 1 for n in places.values()),
        "answers that are not in the journal": 0 if world.hard else lost,
        "calls that were dropped on their way": 0 if world.hard else world.server.begun - world.server.answered.total(),
        "answers in the journal that the server did not give": (kept - world.server.answered).total(),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]
