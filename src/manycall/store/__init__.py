"""Files on disk: a run's journal, output and settings, from which the next run resumes. Only this package syncs files.

`sim/` and all packages above it may import it. Start with `run_folder.py`.
"""
