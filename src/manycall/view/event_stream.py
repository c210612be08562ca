"""New lines of a timeline while a run writes it: as server-sent events, and for clients that poll.

Browsers allow six connections to a host, over all tabs. So at most four streams are open; further clients poll.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from manycall import clock
from manycall.view.replies import ViewRefused
from manycall.view.run_list import FoundRun
from manycall.view.run_summary import LIST_TAIL_BYTES, TAIL_BYTES, RunFacts, decoded_object
from manycall.view.tail import read_new_lines

MAX_STREAMS = 4
LOOK_SECONDS = 0.1
"""How often the file is checked: one system call."""
STATE_SECONDS, KEEP_ALIVE_SECONDS = 10.0, 15.0
EVENT_BYTES = 128 << 10
"""About how much of the file one event has. Its cursor is where the next one begins, so a client may stop after any."""
REPLACED = "The timeline was replaced: the run was started over, or its files were repaired."


class EventStreams:
    """The open streams of a server."""

    def __init__(self) -> None:
        self.open = 0

    async def events(self, found: FoundRun, cursor: str) -> AsyncIterator[bytes]:
        """Yield server-sent events until the client disconnects.

        Raises:
            ViewRefused: there are already four streams.
        """
        if self.open >= MAX_STREAMS:
            raise ViewRefused(503, "Too many open streams.", "Ask for `lines` once a second instead.")
        self.open += 1
        try:
            async for event in _events(found, cursor):
                yield event
        finally:
            self.open -= 1


def new_lines(found: FoundRun, cursor: str) -> dict[str, Any]:
    """Return the lines after a cursor, for clients that poll."""
    new = read_new_lines(found.file("timeline"), cursor)
    return {
        "cursor": new.cursor,
        "reset": new.was_replaced,
        "lines": [line for line in map(decoded_object, new.lines) if line is not None],
        "state": RunFacts(found, TAIL_BYTES).live_state(),
    }


async def _events(found: FoundRun, cursor: str) -> AsyncIterator[bytes]:
    path, state_at, sent_at, state = found.file("timeline"), 0.0, clock.now(), ""
    while True:
        now = clock.now()
        new = read_new_lines(path, cursor, EVENT_BYTES)
        cursor = new.cursor
        if new.was_replaced:
            yield _event("reset", {"reason": REPLACED}, cursor)
        if new.lines:
            lines = map(decoded_object, new.lines)
            yield _event("lines", [line for line in lines if line is not None], cursor)
        if new.lines or now - state_at >= STATE_SECONDS or not state_at:
            current = RunFacts(found, LIST_TAIL_BYTES).state()
            if current.state != state or now - state_at >= STATE_SECONDS or not state_at:
                state, state_at, sent_at = current.state, now, now
                yield _event("state", RunFacts(found, TAIL_BYTES).live_state(), cursor)
        if now - sent_at >= KEEP_ALIVE_SECONDS:
            sent_at = now
            yield b": keep-alive\n\n"
        if not new.lines:
            await clock.sleep(LOOK_SECONDS)


def _event(name: str, data: Any, cursor: str) -> bytes:
    return f"id: {cursor}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
