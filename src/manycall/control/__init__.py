"""Control decisions: pure functions and small state machines. `now` and `rng` are arguments; no I/O, no asyncio.

Therefore they can be simulated millions of times and tested without waiting.
"""
