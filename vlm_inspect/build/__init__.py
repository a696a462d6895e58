"""Checkpoint to ModuleTree: each builder in a file of its own, all ending in the same plain data."""
