"""Words of records: how values, layers and components read in every format."""
