"""The use cases behind the commands and the Python API."""
