"""Send rows with the same prompt prefix to the same server, which still has the prefix in its prefix cache.

Prompts are split into chunks. Each chunk is hashed together with all chunks before it (as vLLM does with its blocks),
and for each hash, the servers that recently received it are stored. Load balance takes precedence: a server with room
takes a row whose prefix it has not seen, rather than let the row wait ("Consistent Hashing with Bounded Loads",
Mirrokni, Thorup, Zadimoghaddam, SODA 2018).
"""

from collections import OrderedDict
from collections.abc import Sequence

CHUNK_BYTES = 512
MAX_CHUNKS = 64
MAX_PREFIXES = 200_000
"""Largest number of hashes that are stored, at about one hundred bytes each."""


def prefix_hashes(body: bytes) -> tuple[int, ...]:
    """Return the hashes of the prefixes of a request body, each CHUNK_BYTES longer than the previous one."""
    hashes, last = [], 0
    for end in range(CHUNK_BYTES, min(len(body), MAX_CHUNKS * CHUNK_BYTES) + 1, CHUNK_BYTES):
        last = hash((last, body[end - CHUNK_BYTES : end]))
        hashes.append(last)
    return tuple(hashes)


class PrefixAffinity:
    """The prefixes that each server has received. Servers are numbered from 0."""

    def __init__(self) -> None:
        self._servers_by_prefix: OrderedDict[int, int] = OrderedDict()  # hash -> bit mask of servers

    def __repr__(self) -> str:
        return f"<PrefixAffinity: {len(self._servers_by_prefix)} prefixes>"

    def cached_chunks(self, prompt: Sequence[int], server: int) -> int:
        """Return how many chunks of the prompt this server has received."""
        bit, low, high = 1 << server, 0, len(prompt)
        while low < high:  # a server that received a chunk also received all chunks before it
            middle = (low + high) // 2
            if self._servers_by_prefix.get(prompt[middle], 0) & bit:
                low = middle + 1
            else:
                high = middle
        return low

    def record(self, prompt: Sequence[int], server: int) -> None:
        """Record that the prompt is sent to the server."""
        for chunk in prompt:
            self._servers_by_prefix[chunk] = self._servers_by_prefix.pop(chunk, 0) | 1 << server
        while len(self._servers_by_prefix) > MAX_PREFIXES:
            self._servers_by_prefix.popitem(last=False)

    @property
    def has_prefixes(self) -> bool:
        """Whether any prompt was long enough for at least one chunk."""
        return bool(self._servers_by_prefix)

    def advantage(self, prompt: Sequence[int], server: int, servers: int) -> int:
        """Return how many more chunks this server has received than any other; negative if another received more.

        Chunks that all prompts share make no difference, because all servers have received them.
        """
        others = max((self.cached_chunks(prompt, other) for other in range(servers) if other != server), default=0)
        return self.cached_chunks(prompt, server) - others
