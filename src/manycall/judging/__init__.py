"""LLM as a judge, for the `judge` command and for the judge step.

`synth/`, `comparison/` and all packages above them may import it. Start with `judge.py`; `verdict_format.py` parses
the verdicts.
"""
