"""Statistics with references: means, intervals, paired tests. Pure functions that only use the standard library."""
