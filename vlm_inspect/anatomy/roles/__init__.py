"""Which module has which role, and which parameters it owns."""
