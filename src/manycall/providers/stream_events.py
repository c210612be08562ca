"""Events of a streamed response, and the protocol of the folds that assemble them."""

from typing import NamedTuple, Protocol


class SseEvent(NamedTuple):
    """One server-sent event."""

    event: str
    """The event's name; "" if it has none."""
    data: bytes
    """The joined data lines."""


class Fold(Protocol):
    """Assembles the events of one streamed response into the body of the equivalent unstreamed response."""

    def push(self, event: SseEvent) -> None:
        """Add the next event."""
        ...

    def finish(self) -> bytes:
        """Return the body of the equivalent unstreamed chat completion.

        Raises:
            IncompleteResponse: the stream ended before the answer did.
            InvalidResponse: an event is malformed, or the events contain no answer.
            HttpStatusError: the server reported an error in the stream.
        """
        ...
