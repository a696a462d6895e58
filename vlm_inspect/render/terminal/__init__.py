"""Records as rich renderables for a terminal."""
