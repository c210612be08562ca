"""Everything behind `import manycall` that makes calls.

Only `cli/` and the public package may import it. Start with `async_client.py` (`Client`) and
`jobs/` (synchronous functions); `dispatch.py` decides where a job runs.
"""
