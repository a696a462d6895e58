"""From a checkpoint to its module tree: transformers' classes, sandboxed code, headers and source."""
