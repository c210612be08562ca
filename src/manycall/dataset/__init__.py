"""Finished data: duplicates, contamination, export to training formats, dataset cards. It makes no calls.

`judging/` and all packages above it may import it. Start with `answer_reader.py`, which all of its jobs read with.
"""
