"""The page of `manycall view`: a local, read-only HTTP server for runs, their rows and their calls.

Only `cli/` may import it. It writes nothing into a run folder. Start with `serve.py` for the way of a request, then
`access.py` for the safety rules and `row_index.py` for how one of a million rows is found.
"""
