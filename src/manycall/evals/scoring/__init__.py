"""Functions that extract and compare answers."""
