"""Several processes, on this machine or on others, that share the rows and the limits of one run.

`python_api/` and `cli/` may import it. Start with `driver.py`, which hands out the rows and is the only writer of the
output, and `worker.py`, which makes the calls of its rows and writes them to its segment (`store/segments.py`). They
exchange `worker_messages.py` over a `link.py`.
"""
