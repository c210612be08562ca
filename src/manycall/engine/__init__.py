"""Motion: the only place that owns tasks. Rows in, calls made, results out."""
