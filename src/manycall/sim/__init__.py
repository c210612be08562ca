"""The simulated endpoint: its model (continuous_batching.py, rate_limits.py, generated_text.py), the server
(server.py), and its process (process.py)."""
