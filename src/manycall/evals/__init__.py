"""Evaluation: tasks (what to ask), scorers (what was answered), metrics (how good, how sure)."""
