"""Stand-ins at the one seam: transports that answer from a function."""

from manycall.transport.memory import (
    Handler,
    MemoryTransport,
    chat_response,
    error_response,
    last_message,
    no_header,
)

FakeTransport = MemoryTransport
answer = chat_response
refusal = error_response
asked = last_message

__all__ = ["FakeTransport", "Handler", "answer", "asked", "no_header", "refusal"]
