"""The two ends of a link to a worker that is an actor: the driver calls its methods, never the other way round.

`DriverEnd` keeps one call outstanding that waits for messages of the worker (`ActorEnd.next_messages`), and sends its
own with another one (`ActorEnd.take`). A call reaches an actor at most once, and one that fails may have run
(https://docs.ray.io/en/latest/ray-core/fault_tolerance/actors.html). So both are repeated until they are acknowledged,
and repeating them has no effect. Ray itself is in `ray_workers.py`.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Condition
from typing import Any, NamedTuple, Protocol

from manycall import clock
from manycall.cluster.message_queues import Inbox, Outbox

WAIT_SECONDS = 1.0
"""How long the actor keeps a call that asks for messages when there are none."""
ANSWER_SECONDS = 5.0
"""The driver calls again if an actor has not answered for this long after `WAIT_SECONDS`."""
RETRY_SECONDS = 0.3
MAX_BATCH_BYTES = 4 << 20
"""Size of the messages in one call, unless a single message is larger."""


class FromWorker(NamedTuple):
    """What the driver gets: messages, the number of the first one, and whether the worker has closed its end."""

    first: int
    messages: list[bytes]
    is_last: bool = False


class ActorEnd:
    """The worker's end, in the actor's process. Ray calls `take` and `next_messages` in separate threads."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._inbox = Inbox()
        self._arrived: deque[bytes] = deque()
        self._outbox = Outbox()
        self._is_closed = False
        self._reader: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def take(self, first: int, messages: Sequence[bytes]) -> int:
        """Receive messages of the driver. Return the number up to which all have arrived."""
        with self._changed:
            self._arrived.extend(self._inbox.accept(first, messages))
            self._wake_reader()
            return self._inbox.received

    def next_messages(self, acknowledged: int) -> FromWorker:
        """Return the worker's messages after the acknowledged one. Wait `WAIT_SECONDS` if there are none."""
        with self._changed:
            self._outbox.acknowledge(acknowledged)
            self._changed.wait_for(lambda: self._outbox or self._is_closed, WAIT_SECONDS)
            first, messages = self._outbox.batch(MAX_BATCH_BYTES)
            return FromWorker(first, messages, self._is_closed and len(messages) == len(self._outbox))

    async def receive(self) -> bytes | None:
        """Return the driver's next message, or None after `close`. Only one task may wait."""
        event = asyncio.Event()
        while True:
            with self._changed:
                if self._arrived:
                    return self._arrived.popleft()
                if self._is_closed:
                    return None
                event.clear()
                self._reader = asyncio.get_running_loop(), event
            await event.wait()

    def send(self, message: bytes) -> None:
        """Queue a message for the driver."""
        with self._changed:
            self._outbox.add(message)
            self._changed.notify_all()

    def close(self) -> None:
        """End the link. The driver still gets what was sent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader is not None:
            loop, event = self._reader
            with suppress(RuntimeError):  # the worker's loop has been closed
                loop.call_soon_threadsafe(event.set)


class ActorCalls(Protocol):
    """The methods of an actor, as calls that return at once."""

    def take(self, first: int, messages: list[bytes]) -> "Future[int]":
        """Call `ActorEnd.take`."""

    def next_messages(self, acknowledged: int) -> "Future[FromWorker]":
        """Call `ActorEnd.next_messages`."""

    def is_lost(self, error: BaseException) -> bool:
        """Return whether the error of a call means that the actor is dead, not only unreachable."""


class DriverEnd:
    """The driver's end of the link to one worker. Everything runs in the driver's loop.

    Args:
        actor: the worker's actor.
        retry_seconds: time between a call that failed and the next one.

    Attributes:
        is_lost: whether the actor is dead.
    """

    def __init__(self, actor: ActorCalls, retry_seconds: float = RETRY_SECONDS) -> None:
        self._actor, self._retry_seconds = actor, retry_seconds
        self._inbox = Inbox()
        self._arrived: deque[bytes] = deque()
        self._outbox = Outbox()
        self._sending: asyncio.Future[int] | None = None
        self._asking: asyncio.Future[FromWorker] | None = None
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = self._loop.create_future()
        self.is_lost = False

    async def receive(self) -> bytes | None:
        """Return the worker's next message. None: the worker has closed the link or is dead, or `close` was called."""
        while not self._arrived and not self._end.done():
            await self._ask()
        return self._arrived.popleft() if self._arrived else None

    def send(self, message: bytes) -> None:
        """Send a message to the worker. Has no effect once the link has ended."""
        self._outbox.add(message)
        self._flush()

    def close(self) -> None:
        """End the link."""
        if not self._end.done():
            self._end.set_result(None)

    async def _ask(self) -> None:
        """Wait for messages. The call outlasts a wait that is cancelled, so that calls do not pile up at the actor."""
        call = self._asking = self._asking or asyncio.wrap_future(self._actor.next_messages(self._inbox.received))
        timeout = WAIT_SECONDS + ANSWER_SECONDS
        await asyncio.wait((call, self._end), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        self._asking = None
        if not call.done():
            call.add_done_callback(_ignore_result)
        elif error := call.exception():
            self._note_failure(error)
            await clock.sleep(self._retry_seconds)
        else:
            reply = call.result()
            self._arrived.extend(self._inbox.accept(reply.first, reply.messages))
            if reply.is_last:
                self.close()

    def _flush(self) -> None:
        """Send what is not acknowledged, unless a call is on its way: it is followed by another one."""
        if self._sending is None and self._outbox and not self._end.done():
            self._sending = asyncio.wrap_future(self._actor.take(*self._outbox.batch(MAX_BATCH_BYTES)))
            self._sending.add_done_callback(self._sent)

    def _sent(self, call: "asyncio.Future[int]") -> None:
        self._sending = None
        if error := call.exception():
            self._note_failure(error)
            self._loop.call_later(self._retry_seconds, self._flush)
        else:
            self._outbox.acknowledge(call.result())
            self._flush()

    def _note_failure(self, error: BaseException) -> None:
        if self._actor.is_lost(error):
            self.is_lost = True
            self.close()


def _ignore_result(call: "asyncio.Future[Any]") -> None:
    """Fetch the exception of a call that is not awaited any more, so that asyncio does not report it."""
    if not call.cancelled():
        call.exception()
