"""Runs on a Ray cluster of two nodes on this machine, while parts of it end: nothing lost, nothing twice.

`python -m ray_trials` tries all; test_ray.py runs it. A trial is a function of a `Ground` that returns what was not as
promised, a sentence each.
"""
