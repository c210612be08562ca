"""Benchmarks, one module each. A task is a value: rows, a prompt, extractors and a scorer.

The rest of `evals/` and all packages above it may import it. Start with `task.py`, then `wordmath.py` as an example.
"""
