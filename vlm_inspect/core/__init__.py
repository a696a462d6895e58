"""The nouns: records, errors, options. Imports nothing else of this package."""
