"""The link between a driver and a worker that is an actor: messages arrive once and in order, although calls fail."""

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from manycall.cluster.actor_link import ActorEnd, DriverEnd, FromWorker
from manycall.cluster.message_queues import Inbox, Outbox

RETRY_SECONDS = 0.001


class Unavailable(Exception):
    """The actor cannot be reached; a call may have run or not."""


class Dead(Exception):
    """The actor has ended."""


class Actor:
    """An actor in threads. Of its calls, some are lost, some fail after they have run, some run twice."""

    def __init__(self, end: ActorEnd, faults: float = 0.0, kinds: tuple[str, ...] = ("lost", "late", "twice")) -> None:
        self._end, self._faults, self._kinds = end, faults, kinds
        self._rng = random.Random(7)
        self._threads = ThreadPoolExecutor(6)
        self.is_dead = False
        self.waiting = 0

    def take(self, first: int, messages: list[bytes]) -> "Future[int]":
        return self._call(lambda: self._end.take(first, messages))

    def next_messages(self, acknowledged: int) -> "Future[FromWorker]":
        def wait() -> FromWorker:
            self.waiting += 1
            try:
                return self._end.next_messages(acknowledged)
            finally:
                self.waiting -= 1

        return self._call(wait)

    def is_lost(self, error: BaseException) -> bool:
        return isinstance(error, Dead)

    def _call(self, method: Callable[[], Any]) -> "Future[Any]":
        fault = self._rng.choice(self._kinds) if self._rng.random() < self._faults else ""

        def run() -> Any:
            if self.is_dead:
                raise Dead
            if fault == "lost":
                raise Unavailable
            if fault == "twice":
                method()
            result = method()
            if fault == "late":
                raise Unavailable
            return result

        return self._threads.submit(run)


async def echo(end: ActorEnd, count: int) -> None:
    for _ in range(count):
        message = await end.receive()
        assert message is not None
        end.send(b"echo " + message)
    end.close()


async def exchange(faults: float) -> list[bytes | None]:
    end = ActorEnd()
    link = DriverEnd(Actor(end, faults), RETRY_SECONDS)
    worker = asyncio.ensure_future(echo(end, 60))
    for number in range(60):
        link.send(b"%d" % number)
        if number % 20 == 19:
            await asyncio.sleep(0.002)
    received = [await link.receive() for _ in range(61)]
    await worker
    return received


def test_messages_arrive_once_and_in_order_although_calls_are_lost_repeated_or_fail_after_they_ran() -> None:
    expected = [*(b"echo %d" % number for number in range(60)), None]
    assert asyncio.run(exchange(0.0)) == expected
    assert asyncio.run(exchange(0.4)) == expected


def test_a_dead_actor_ends_the_link_and_an_unreachable_one_does_not() -> None:
    async def main() -> tuple[bytes | None, bool]:
        actor = Actor(ActorEnd(), 1.0, ("lost",))
        link = DriverEnd(actor, RETRY_SECONDS)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(link.receive(), 0.05)
        assert not link.is_lost
        actor.is_dead = True
        return await asyncio.wait_for(link.receive(), 5), link.is_lost

    assert asyncio.run(main()) == (None, True)


def test_a_wait_that_is_cancelled_leaves_one_call_at_the_actor_and_loses_nothing() -> None:
    async def main() -> tuple[int, bytes | None]:
        end = ActorEnd()
        actor = Actor(end)
        link = DriverEnd(actor, RETRY_SECONDS)
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(link.receive(), 0.01)
        waiting = actor.waiting
        end.send(b"a")
        return waiting, await link.receive()

    assert asyncio.run(main()) == (1, b"a")


def test_closing_either_end_wakes_who_waits() -> None:
    async def main() -> list[bytes | None]:
        end = ActorEnd()
        link = DriverEnd(Actor(end), RETRY_SECONDS)
        worker, driver = asyncio.ensure_future(end.receive()), asyncio.ensure_future(link.receive())
        await asyncio.sleep(0)
        end.close()
        first = [await worker, await driver]
        other = DriverEnd(Actor(ActorEnd()), RETRY_SECONDS)
        driver = asyncio.ensure_future(other.receive())
        await asyncio.sleep(0)
        other.close()
        other.send(b"nobody gets this")
        return [*first, await driver]

    assert asyncio.run(main()) == [None, None, None]


def test_an_outbox_keeps_messages_until_they_are_acknowledged_and_batches_them_by_size() -> None:
    outbox = Outbox()
    for message in (b"aaaa", b"bb", b"cc"):
        outbox.add(message)
    assert outbox.batch(5) == (1, [b"aaaa"])
    assert outbox.batch(1) == (1, [b"aaaa"])
    outbox.acknowledge(1)
    outbox.acknowledge(0)
    assert outbox.batch(5) == (2, [b"bb", b"cc"])
    outbox.acknowledge(3)
    assert outbox.batch(5) == (4, [])


def test_an_inbox_drops_what_it_knows_and_what_comes_too_early() -> None:
    inbox = Inbox()
    assert inbox.accept(1, [b"a", b"b"]) == [b"a", b"b"]
    assert list(inbox.accept(4, [b"d"])) == []
    assert list(inbox.accept(1, [b"a"])) == []
    assert inbox.accept(2, [b"b", b"c"]) == [b"c"]
    assert inbox.received == 3
