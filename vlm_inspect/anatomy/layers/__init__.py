"""Layers: attention, MLP, norms, and the stacks that repeat them."""
