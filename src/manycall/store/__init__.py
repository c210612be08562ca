"""The disk: what a run leaves behind, and how the next one goes on from it. The only place that syncs files."""
