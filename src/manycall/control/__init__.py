"""Control decisions: pure functions and small state machines. `now` and `rng` are arguments, so a simulation can make
millions of decisions, and a test does not wait.

`store/`, `data/`, `transport/` and all packages above them may import it. Start with `quota.py` for the rate and
`concurrency_window.py` for the concurrency.
"""
