"""transformers' own loader, run over shapes alone."""
