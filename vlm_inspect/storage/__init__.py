"""Files on disk: atomic writes, marked blocks, the result cache, snapshot files."""
