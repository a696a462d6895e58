"""Compare two snapshots. Pure functions: no files, no network, no output."""
