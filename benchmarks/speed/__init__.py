"""What `benchmarks/bench.py` is made of: whom it measures, against which servers, how, and the tables."""
