"""Decisions: pure functions and small state machines. `now` and `rng` are arguments; no I/O, no asyncio.

That is why they can be simulated by the million and tested without waiting.
"""
