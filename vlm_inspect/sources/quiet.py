"""huggingface_hub without its warnings: what matters of them is in notes and errors."""

from __future__ import annotations

import logging
from threading import current_thread

from vlm_inspect.sources.deadline import THREAD


def keep_quiet() -> None:
    """Keep huggingface_hub off stderr in the threads of lookups; other threads hear it as before."""
    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_not_our_warnings)  # which a handler has once, however often it is given


def _not_our_warnings(record: logging.LogRecord) -> bool:
    """Drop warnings of our own threads. Lower levels come only where the user asks for them."""
    return record.levelno != logging.WARNING or current_thread().name != THREAD
