"""Readers and writers of the files of lm-evaluation-harness.

The rest of `evals/` and all packages above it may import it. Start with `export_files.py`.
"""
