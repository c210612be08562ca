"""Evaluation: ask the questions of a task, score the answers, and aggregate the scores with their uncertainty.

`judging/` and all packages above it may import it. Start with `evaluate.py`; `rescore.py` scores a finished output.
"""
