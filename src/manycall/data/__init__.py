"""Rows come in, prompts are made of them."""
