"""Bytes over HTTP, behind a protocol with one method. No other package imports the HTTP library.

`sim/` and all packages above it may import it. Start with `messages.py`, then `http.py`.
"""
