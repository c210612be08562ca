"""The checks of IFEval: does a response follow an instruction that a program can verify?

The rest of `evals/` and all packages above it may import it. Start with `instruction_checks.py`, the table of checks.
"""
