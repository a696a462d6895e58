"""The version of vlm-inspect."""

__version__ = "0.1.0"
