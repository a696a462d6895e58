"""What a layer is made of: attention, MLP, norms, and what stacks of layers repeat."""
