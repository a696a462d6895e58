"""huggingface_hub without its progress bars and warnings: what matters of them is in notes and errors."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from threading import Lock, current_thread

from vlm_inspect.sources.deadline import THREAD

_BARS = "huggingface_hub.http_get"
_lock = Lock()
_inside: set[int] = set()
_tickets = count()


@contextmanager
def quietly() -> Iterator[None]:
    """Keep huggingface_hub off stderr in this thread. The last one out turns its bars on again."""
    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_not_our_warnings)
    ticket = next(_tickets)
    with _lock:
        if _inside or _turn_bars_off():
            _inside.add(ticket)
    try:
        yield
    finally:
        with _lock:
            if ticket in _inside:
                _inside.remove(ticket)
                _turn_bars_on_unless_needed()


def _turn_bars_off() -> bool:
    """Whether the bars were on, and so are ours to turn on again."""
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars

    if constants.HF_HUB_DISABLE_PROGRESS_BARS is not None or are_progress_bars_disabled(_BARS):
        return False  # as the environment or the program around us has it
    disable_progress_bars(_BARS)
    return True


def _turn_bars_on_unless_needed() -> None:
    from huggingface_hub.utils import enable_progress_bars

    if not _inside:
        enable_progress_bars(_BARS)


def _not_our_warnings(record: logging.LogRecord) -> bool:
    """Drop warnings of our own thread. Lower levels come only where the user asks for them."""
    return record.levelno != logging.WARNING or current_thread().name != THREAD
