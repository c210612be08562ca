"""The checks of IFEval: does a response follow an instruction that a program can verify?

`evals/tasks/ifeval.py` uses it. Start with `instruction_checks.py`, the table of the checks.
"""
