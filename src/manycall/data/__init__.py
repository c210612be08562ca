"""Input rows, their variables, and the prompts that are rendered from them.

`sim/` and all packages above it may import it. Start with `row_source.py` for rows and `prompt_template.py` for
prompts.
"""
