"""The jobs as synchronous functions, one module each, so that a command imports only what its own job needs.

Only `cli/` and the public package may import it. Each function builds a job and runs it (`dispatch.py`). It lists the
options of `RunOptions` as keywords; a test compares the two. Start with `generate_call.py`.
"""
