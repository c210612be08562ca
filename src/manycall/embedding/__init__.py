"""Embed the texts of many rows, several in each call.

`python_api/` may import it; it builds on `run/`, `store/` and `dataset/`. Start with `embed_job.py`; `stored_vectors.py`
reads the vectors back from the journal, and `vector_files.py` writes the output.
"""
