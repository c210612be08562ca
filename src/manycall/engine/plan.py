"""What a run would do: its first requests, and what all of them may cost. Without any call.

What a call costs is taken from those in the output's journal, if there are any (`--limit 5` makes some); otherwise it
is guessed, and the plan says so.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from manycall.control.budget import Price, dollars
from manycall.control.estimate import BYTES_PER_TOKEN, FIRST_OUTPUT
from manycall.data.sources import Source
from manycall.engine.calls import Answer, Calls
from manycall.engine.report import Report
from manycall.engine.scheduler import RowFunction
from manycall.ids import IdTable
from manycall.records import UNREADABLE, Completion, Request, Usage
from manycall.store.journal import reply
from manycall.store.manifest import run_folder
from manycall.store.parts import names
from manycall.store.reading import read_lines
from manycall.wire import openai

SHOWN, MEASURED = 2, 100
"""Rows whose requests are shown; rows whose requests are measured."""
LEARNED_FROM = 1000
"""Calls of the journal."""
FEW = 5
"""Rows from which more is known than guessed."""
IN_FLIGHT = 64
SECONDS, TOKENS_PER_SECOND = 1.0, 50.0
"""Of a call, and of one answer: guesses of a server of the usual kind."""
STAND_IN = "(what the model says to request {})"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # a digit might pass for a score


class Mean(NamedTuple):
    """What is expected of the run: calls a row; tokens and seconds a call; and where that is from."""

    calls: float
    prompt: float
    answer: float
    seconds: float
    basis: str


class Plan(Report):
    """What a run would do. `print` it.

    Attributes:
        requests: the bodies of the first rows' requests, as they would be sent. calls: expected, in all.
        prompt_tokens, completion_tokens, cost, seconds: expected of all rows that are left; calls as well.
        basis: what that is reckoned from.
    """

    requests: list[dict[str, Any]] = msgspec.field(default_factory=list)
    basis: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """What there is to say, as (what, how much)."""
        of = "an unknown number" if self.rows is None else f"{self.rows:,}"
        done = f", of which {self.done:,} are done" if self.done else ""
        if self.rows is None:
            return [("rows", of), ("reckoned", self.basis)]
        spent = self.prompt_tokens + self.completion_tokens
        return [
            ("rows", f"{of}{done}"),
            ("calls", f"about {self.calls:,}"),
            ("tokens", f"about {spent:,} ({self.prompt_tokens:,} in, {self.completion_tokens:,} out)"),
            ("cost", "say --price IN/OUT" if self.cost is None else f"about {dollars(self.cost)}"),
            ("time", f"about {_time(self.seconds)}"),
            ("reckoned", self.basis),
        ]

    def __str__(self) -> str:
        shown = [msgspec.json.format(msgspec.json.encode(each), indent=2).decode() for each in self.requests]
        return "\n\n".join([*shown, super().__str__(), "Nothing was called."])


class Rehearsal(Calls):
    """An `llm` that notes what it is asked, and says nothing of use: so nothing is asked again, for it was cut."""

    def __init__(self, model: str, params: dict[str, Any]) -> None:
        super().__init__(model, params)
        self.requests: list[Request] = []

    async def _call(self, request: Request) -> Answer:
        said = STAND_IN.format(LETTERS[len(self.requests) % len(LETTERS)])
        self.requests.append(request)
        return Completion(said, "length", Usage(), b"{}")


async def plan(
    name: str,
    function: RowFunction,
    source: Source,
    out: Path,
    model: str,
    params: dict[str, Any],
    price: Price | None,
    in_flight: int | None,
) -> Plan:
    """Rehearse the first rows; reckon what all of them would take.

    Raises:
        UsageError: a row that cannot be used.
    """
    rehearsed: list[list[Request]] = []
    known, met = _done(out), 0
    must_count = source.total is not None and len(known) > 0
    async for row in source.rows(known):
        met += 1
        if met <= MEASURED:
            llm = Rehearsal(model, params)
            with suppress(
                Exception, SystemExit, GeneratorExit
            ):  # what the model says means something to it; what we say does not
                await function(row, llm)  # type: ignore[arg-type]
            rehearsed.append(llm.requests)
        elif not must_count:
            break
    left = met if must_count else source.total
    learned = _learned(out)
    mean = learned or _guessed([request for requests in rehearsed for request in requests], len(rehearsed))
    advice = "" if learned else _advice(mean, source.times, left)
    done = (source.total or 0) - (left or 0)
    calls = round(mean.calls * (left or 0))
    prompt, answer = round(calls * mean.prompt), round(calls * mean.answer)
    shown = [request for requests in rehearsed[:SHOWN] for request in requests]
    wide = in_flight or IN_FLIGHT
    return Plan(
        name=f"{name} (dry run)", out=out, rows=source.total, done=done, failed=0, calls=calls,
        prompt_tokens=prompt, completion_tokens=answer, cost=None if price is None else price.of(prompt, answer),
        seconds=mean.seconds * -(-calls // wide), requests=[msgspec.json.decode(openai.encode(r)) for r in shown],
        basis=f"{mean.basis}{advice}; {wide} in flight",
    )  # fmt: skip


def _done(out: Path) -> IdTable:
    """The rows that would not be asked for again."""
    known = IdTable()
    for name in chain(names(out), names(run_folder(out) / "rejected.jsonl")):
        known.add_done(name)
    return known


def _advice(mean: Mean, times: int, left: int | None) -> str:
    """How to know better what it will cost, for less than all of it."""
    few = -(-FEW // times)
    calls = round(mean.calls * few * times)
    return (
        f" (--limit {few} first, about {calls:,} calls, makes it better)" if left is None or few * times < left else ""
    )


def _guessed(requests: list[Request], rows: int) -> Mean:
    most = [r.params.get("max_completion_tokens") or r.params.get("max_tokens") for r in requests]
    answers = [float(each) if isinstance(each, int) else FIRST_OUTPUT for each in most]
    sizes = [len(msgspec.json.encode(request.content)) / BYTES_PER_TOKEN for request in requests]
    each = 1 / max(len(requests), 1)
    answer = sum(answers) * each
    basis = f"guessed: {BYTES_PER_TOKEN:g} bytes a token, answers of {answer:.0f} tokens"
    return Mean(len(requests) / max(rows, 1), sum(sizes) * each, answer, SECONDS + answer / TOKENS_PER_SECOND, basis)


class _Call(msgspec.Struct):
    id: str
    seconds: float = 0.0


def _learned(out: Path) -> Mean | None:
    """From the calls that the output has cost so far."""
    calls = list(islice(_calls(run_folder(out) / "calls.jsonl"), LEARNED_FROM))
    if not calls:
        return None
    made, rows = len(calls), len({call.id for call, _ in calls})
    prompt, answer = (sum(each) / made for each in zip(*(used for _, used in calls), strict=True))
    seconds = sum(call.seconds for call, _ in calls) / made
    return Mean(made / rows, prompt, answer, seconds, f"from {made} calls in the journal")


def _calls(path: Path) -> Iterator[tuple[_Call, tuple[int, int]]]:
    for _, line in read_lines(path):
        with suppress(*UNREADABLE):  # damage is for the run to tell
            used = openai.usage(reply(line))
            yield msgspec.json.decode(line, type=_Call), (used.prompt_tokens, used.completion_tokens)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
