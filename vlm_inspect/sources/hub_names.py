"""The errors of huggingface_hub, by the names that every version of it has had for them.

They moved: up to 0.24 they stand in `huggingface_hub.utils`, then in `huggingface_hub.errors`, which
was there before them. And they stand on another transport since 1.0: httpx, before that requests.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = ("huggingface_hub.errors", "huggingface_hub.utils")
_NOT_A_TRANSPORT = frozenset({"huggingface_hub", "builtins"})


def hub_error(name: str) -> Any:
    """The class of that name, from where this version has it."""
    found = (getattr(import_module(home), name, None) for home in _HOMES)
    return next(each for each in found if each is not None)


def transport_error() -> type[Exception]:
    """The root of the errors of the transport: the furthest of HfHubHTTPError's bases that is a library's."""
    bases: tuple[type[Exception], ...] = hub_error("HfHubHTTPError").__mro__
    return [base for base in bases if base.__module__.partition(".")[0] not in _NOT_A_TRANSPORT][-1]


def address_error() -> type[Exception]:
    """What the transport raises of an address that is none: httpx's is no error of the transport's root."""
    root = transport_error()
    found: type[Exception] = getattr(import_module(root.__module__.partition(".")[0]), "InvalidURL", root)
    return found
