"""Synthesis: rows and a prompt go in, text comes out."""
