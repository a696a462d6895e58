"""Rich output for a terminal."""
