"""Paired comparison of runs: the same rows, two or more outputs, a difference for each score.

`reports/` and all packages above it may import it. Start with `compare_runs.py`.
"""
