"""The page of `manycall view`: a local, read-only HTTP server for runs, their rows and their calls.

Only `cli` imports this package. It reads what a run has written and writes nothing into a run folder. Start reading at
serve.py for a request's way, at access.py for the safety rules, at row_index.py for how a million rows are found.
"""
