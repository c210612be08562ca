"""Rows become results: scheduling, resume, progress, and limits on spending, in one process.

`evals/`, `dataset/` and all packages above them may import it. Start with `job.py`, then `scheduler.py`.
"""
