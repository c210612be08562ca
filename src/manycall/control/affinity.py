"""Which of several servers has seen the beginning of this prompt? Rows that begin alike go to the same one, because
a server need not compute again what it still holds of an earlier prompt (its prefix cache).

Prompts are cut into chunks, each hashed together with all before it (as vLLM does with its blocks), and for each hash
it is remembered who has had it lately. Balance comes first: a server that has room takes a row that it knows nothing
of rather than wait ("Consistent Hashing with Bounded Loads", Mirrokni, Thorup, Zadimoghaddam, SODA 2018).
"""

from collections import OrderedDict
from collections.abc import Sequence

CHUNK_BYTES = 512
MOST_CHUNKS = 64
MOST_REMEMBERED = 200_000
"""Hashes; at some hundred bytes each."""


def chunks(body: bytes) -> tuple[int, ...]:
    """Hashes of the beginnings of a request, each CHUNK_BYTES longer than the one before."""
    found, last = [], 0
    for end in range(CHUNK_BYTES, min(len(body), MOST_CHUNKS * CHUNK_BYTES) + 1, CHUNK_BYTES):
        last = hash((last, body[end - CHUNK_BYTES : end]))
        found.append(last)
    return tuple(found)


class Affinity:
    """Who has had which beginnings. Servers are numbers, from 0."""

    def __init__(self) -> None:
        self._had: OrderedDict[int, int] = OrderedDict()  # hash -> a bit for each server

    def __repr__(self) -> str:
        return f"<Affinity: {len(self._had)} beginnings>"

    def known(self, prompt: Sequence[int], server: int) -> int:
        """How many chunks of it this server has had."""
        bit, low, high = 1 << server, 0, len(prompt)
        while low < high:  # who has had a chunk has had all before it
            middle = (low + high) // 2
            if self._had.get(prompt[middle], 0) & bit:
                low = middle + 1
            else:
                high = middle
        return low

    def note(self, prompt: Sequence[int], server: int) -> None:
        """It goes there."""
        for chunk in prompt:
            self._had[chunk] = self._had.pop(chunk, 0) | 1 << server
        while len(self._had) > MOST_REMEMBERED:
            self._had.popitem(last=False)

    @property
    def useful(self) -> bool:
        """Whether there were prompts long enough to begin alike."""
        return bool(self._had)

    def gain(self, prompt: Sequence[int], server: int, servers: int) -> int:
        """How many chunks more of it this server has had than any other; negative if another has had more.

        What all prompts begin with tells nothing: all servers have had it.
        """
        others = max((self.known(prompt, other) for other in range(servers) if other != server), default=0)
        return self.known(prompt, server) - others
