"""Fakes for tests of programs that use manycall. None of them needs a network.

`Client(..., transport=MemoryTransport(handler))` answers calls by a function; `InProcessTransport` by simulated
servers. `run_virtual` runs a coroutine in virtual time, so that an hour of waiting takes no time.
"""

from manycall.sim.in_process import InProcessTransport
from manycall.sim.server import SimServer
from manycall.sim.sim_settings import SimSettings
from manycall.sim.virtual_time import run_virtual
from manycall.transport.memory import MemoryTransport, chat_response, error_response

__all__ = [
    "InProcessTransport",
    "MemoryTransport",
    "SimServer",
    "SimSettings",
    "chat_response",
    "error_response",
    "run_virtual",
]
