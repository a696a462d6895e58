"""What a module's `forward` does, read from its source and never run."""
