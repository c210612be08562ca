"""Rows become results: scheduling, resume, progress, limits on spending."""
