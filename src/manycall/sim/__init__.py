"""The simulated endpoint: a model of an inference server, with quotas and faults, over HTTP or in process.

`client/` and all packages above it may import it. Start with `server.py`, then `continuous_batching.py`.
"""
