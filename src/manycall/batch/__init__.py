"""OpenAI Batch files, run online: the lines of a file are the rows of a job.

`python_api/` and `cli/` may import it. Start with `batch_file.py`.
"""
