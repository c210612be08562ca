"""Everything behind `import manycall` that makes calls.

Only `cli/` and the public package may import it. Start with `jobs.py` (synchronous functions) and
`async_client.py` (`Client`); `dispatch.py` decides where a job runs.
"""
