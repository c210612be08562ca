"""One request becomes one completion: permits, attempts, retries, endpoints. It knows nothing about rows.

`run/` and all packages above it may import it. Start with `call_client.py`; `requests.py` has chat, complete and embed.
"""
