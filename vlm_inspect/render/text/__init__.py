"""Records as cell text: values, layers, components. It is the same in every output format."""
