"""HTTP transport. No other package imports the HTTP library."""
