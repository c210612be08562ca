"""Data synthesis: jobs that write one text, or the result of several steps, for each row.

`reports/` and all packages above it may import it. Start with `generate.py` for one prompt, and with `pipeline.py` for
steps.
"""
