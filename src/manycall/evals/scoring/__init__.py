"""Functions that extract the answer from a response and compare it with the right one.

The rest of `evals/` and all packages above it may import it. Start with `scorers.py`, the scorers by name.
"""
