"""How many calls may be in flight. Oldest first; nobody overtakes; a permit lives for one attempt."""

import asyncio
import heapq

from manycall.errors import RunStopped


class Permits:
    """A fixed number of permits, handed to the oldest row that waits.

    The scheduler asks `room()` before it starts a row, so that rows exist only while there is work for them.

    Attributes:
        limit: how many permits there are.
        in_flight: how many are out.
        closed: why no more are given; None while they are.
        closing: set when that happens.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = 0
        self._room: asyncio.Future[None] | None = None
        self.closed: RunStopped | None = None
        self.closing = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Permits {self.in_flight}/{self.limit} in flight, {len(self._waiting)} waiting>"

    async def acquire(self, age: int) -> None:
        """Take a permit, waiting behind every older one.

        Args:
            age: the row's place in the run; smaller is older and goes first.

        Raises:
            RunStopped: no new calls.
        """
        if self.closed is not None:
            raise self.closed.with_traceback(None)
        if self.in_flight < self.limit and not self._waiting:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ticket += 1
        heapq.heappush(self._waiting, (age, self._ticket, turn))
        try:
            await turn
            if self.closed is not None:
                raise self.closed.with_traceback(None)
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # it was ours for a moment: pass it on
            raise

    def release(self) -> None:
        """Give a permit back."""
        self.in_flight -= 1
        while self._waiting and self.in_flight < self.limit:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)
        self.wake()

    @property
    def free(self) -> bool:
        """Whether a new row could call at once."""
        return self.in_flight < self.limit and not self._waiting

    async def room(self) -> None:
        """Wait for the next time a permit comes back or `wake` is called."""
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    def wake(self) -> None:
        """Let whoever waits for room look again."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def close(self, why: RunStopped) -> None:
        """Give no more: whoever waits, now or later, is told why."""
        if self.closed is None:
            self.closed = why
            self.closing.set()
            for _, _, turn in self._waiting:
                if not turn.done():
                    turn.set_exception(why)
            self._waiting.clear()
            self.wake()
