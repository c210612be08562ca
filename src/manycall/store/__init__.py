"""Files on disk: what a run stores, and how the next run resumes from it. Only this package syncs files."""
