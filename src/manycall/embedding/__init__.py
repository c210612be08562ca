"""Embed the texts of many rows, several in each call.

`python_api/` may import it; it builds on `run/`, `store/` and `dataset/`. Start with `embed_job.py`. The vectors are
read back from the journal in `stored_vectors.py`, and written to the output in `vector_files.py`.
"""
