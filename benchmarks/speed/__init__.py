"""Parts of `benchmarks/bench.py`: clients, servers, measurement, cases and tables."""
