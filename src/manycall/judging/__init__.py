"""LLM as a judge, for the `judge` command and the judge step."""
