"""What is wrong with an answer that came, where huggingface_hub has no error for it."""

from __future__ import annotations


class BrokenOffError(OSError):
    """An answer that began and did not come whole. It may come whole the next time."""


class UnlikeHubError(OSError):
    """An answer that no Hub gives."""
