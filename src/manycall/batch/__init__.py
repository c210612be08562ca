"""OpenAI Batch files, run online."""
