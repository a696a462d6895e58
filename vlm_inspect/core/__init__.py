"""Records, errors, options. Imports nothing else of this package."""
