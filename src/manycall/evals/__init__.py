"""Evaluation: tasks, scorers and statistics."""
