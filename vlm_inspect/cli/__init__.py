"""The command line: a file per command, one for what all share. No rules of the domain."""
