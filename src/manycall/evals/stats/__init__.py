"""Statistics with references: means, intervals, paired tests. Pure functions that use only the standard library.

The rest of `evals/` and all packages above it may import it. Start with `mean.py`, then `intervals.py`.
"""
