"""Finished data: checks, export, dataset card."""
