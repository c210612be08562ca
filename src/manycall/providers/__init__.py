"""Formats of the APIs: request and response bodies, errors and headers. Pure functions without I/O."""
