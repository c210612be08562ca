"""Readers and writers of lm-evaluation-harness files."""
