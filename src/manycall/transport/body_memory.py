"""A limit on the memory for large bodies that are being read."""

import asyncio

SMALL_BYTES = 64 << 10
"""Bodies up to this size are not counted. Almost all bodies are smaller."""
LARGE_BODIES_BYTES = 16 << 20
"""Memory for all larger bodies together."""


class BodyMemoryLimit:
    """Limit on the memory for large bodies that are being read, over all calls.

    When the memory is full, only the oldest body continues to be read until it is complete or times out. Then the next
    one continues. The other calls wait, and TCP flow control makes their servers wait too, so that no data is lost.

    Args:
        size: bytes. The memory in use is at most this size, plus the oldest body, plus one chunk of each other body.
    """

    def __init__(self, size: int = LARGE_BODIES_BYTES) -> None:
        self._size = size
        self._held: dict[int, int] = {}  # id of a body -> its bytes; the oldest body first
        self._total = 0
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<BodyMemoryLimit: {self._total:,} of {self._size:,} bytes held by {len(self._held)} responses>"

    async def reserve(self, body: object, size: int) -> None:
        """Record that `size` bytes of this body have been read, and return when more may be read."""
        self._total += size - self._held.get(id(body), 0)
        self._held[id(body)] = size
        while self._total > self._size and id(body) != next(iter(self._held)):
            await self._changed.wait()

    def release(self, body: object) -> None:
        """Release the memory of a body that is complete or abandoned."""
        self._total -= self._held.pop(id(body), 0)
        self._changed.set()
        self._changed = asyncio.Event()
