"""Checkpoint to ModuleTree."""
