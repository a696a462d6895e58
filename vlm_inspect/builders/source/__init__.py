"""Class names from a repository's own code, read as text: parsed, followed, never imported or run."""
