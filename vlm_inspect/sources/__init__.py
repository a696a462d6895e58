"""MODEL to Checkpoint."""
