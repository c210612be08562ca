"""Several processes, on this machine or on others, that share the rows and the limits of one run.

The driver (`driver.py`) reads the rows, hands them out and is the only writer of the output. A worker (`worker.py`)
makes the calls of its rows and writes them to a segment of its own (`store/segments.py`). They exchange `messages.py`
over a `link.py`. `local_workers.py` starts workers on this machine.
"""
