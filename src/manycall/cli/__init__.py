"""The command line: one small function per verb, without logic. Imports that take time are inside the verbs.

Nothing imports this package, apart from `__main__.py`. Start with `main.py`, then `run_commands.py`.
"""
