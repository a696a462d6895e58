"""Text from libraries and configurations, short enough for a message."""

from __future__ import annotations

_LONGEST_REASON = 300


def truncate(text: str, limit: int) -> str:
    """Return the text, cut off with an ellipsis if it is longer than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_text(error: BaseException) -> str:
    """Return an exception's text on one line; its type's name if it has no text."""
    return truncate(" ".join(str(error).split()) or type(error).__name__, _LONGEST_REASON)


def typed_error_text(error: BaseException) -> str:
    """Return `ValueError: head_dim must divide hidden_size`."""
    return f"{type(error).__name__}: {error_text(error)}"
