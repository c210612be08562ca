"""Paired comparison of runs."""
