"""Formulas, each with its source: how good, how sure, how much better. Pure; the standard library only."""
