"""Formats of the APIs: request and response bodies, errors, headers, metrics. Pure functions and tables.

`store/`, `data/`, `transport/` and all packages above them may import it. Start with `openai.py`.
"""
