"""Class names from a repository's source, which is evaluated symbolically and never run."""
