"""The variables that set a proxy: their names alone, for a proxy's address may hold a password."""

from __future__ import annotations

import os

_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def proxies() -> tuple[str, ...]:
    """Those that are set, as they are written."""
    written = (spelt for name in _NAMES for spelt in (name, name.upper()))
    return tuple(name for name in written if os.environ.get(name))
