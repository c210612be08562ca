"""Messages that arrive in order and once, over calls that may fail, run twice or overtake each other.

Both ends number their messages from 1. A sender keeps a message until the receiver has acknowledged its number, and
sends it again until then; the receiver drops what it knows.
"""

from collections import deque
from collections.abc import Sequence


class Outbox:
    """Messages that the other end has not acknowledged."""

    def __init__(self) -> None:
        self._messages: deque[bytes] = deque()
        self._first = 1

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: bytes) -> None:
        """Append a message."""
        self._messages.append(message)

    def acknowledge(self, number: int) -> None:
        """Forget the messages up to this number. A number from before has no effect."""
        while self._messages and self._first <= number:
            self._messages.popleft()
            self._first += 1

    def batch(self, max_bytes: int) -> tuple[int, list[bytes]]:
        """Return the number of the first message, and the oldest messages: at least one, if there is any."""
        chosen: list[bytes] = []
        size = 0
        for message in self._messages:
            size += len(message)
            if chosen and size > max_bytes:
                break
            chosen.append(message)
        return self._first, chosen


class Inbox:
    """Recognises the messages that have not arrived before.

    Attributes:
        received: the number up to which all messages have arrived.
    """

    def __init__(self) -> None:
        self.received = 0

    def accept(self, first: int, messages: Sequence[bytes]) -> Sequence[bytes]:
        """Return the new messages of a batch: none if it is known, or if an earlier one is missing."""
        known = self.received - first + 1
        if known < 0 or known >= len(messages):
            return ()
        self.received = first + len(messages) - 1
        return messages[known:]
