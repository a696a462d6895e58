"""What a vision-language model is made of, exactly, without downloading a weight.

The public API. Names are imported when they are first used, so that `import vlm_inspect` is cheap and
needs neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_inspect.app import diff, inspect, inspect_many
    from vlm_inspect.architecture import Architecture, Component, Role
    from vlm_inspect.batch import Failed, Inspected
    from vlm_inspect.difference import Difference
    from vlm_inspect.errors import VlmInspectError
    from vlm_inspect.fit import LoadReport
    from vlm_inspect.verification import verify
    from vlm_inspect.version import __version__

_HOMES = {
    "Architecture": "vlm_inspect.architecture",
    "Component": "vlm_inspect.architecture",
    "Difference": "vlm_inspect.difference",
    "Failed": "vlm_inspect.batch",
    "LoadReport": "vlm_inspect.fit",
    "Inspected": "vlm_inspect.batch",
    "Role": "vlm_inspect.architecture",
    "VlmInspectError": "vlm_inspect.errors",
    "__version__": "vlm_inspect.version",
    "diff": "vlm_inspect.app",
    "inspect": "vlm_inspect.app",
    "inspect_many": "vlm_inspect.app",
    "verify": "vlm_inspect.verification",
}

__all__ = [
    "Architecture",
    "Component",
    "Difference",
    "Failed",
    "Inspected",
    "LoadReport",
    "Role",
    "VlmInspectError",
    "__version__",
    "diff",
    "inspect",
    "inspect_many",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vlm_inspect' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
