"""A module tree from a checkpoint's tensor names and shapes."""
