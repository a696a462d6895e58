"""Inspect the architecture of vision-language models without downloading weights.

The public API. Names are imported on first use, so that `import vlm_inspect` is fast and needs neither torch
nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlm_inspect.app.api import diff, inspect, inspect_many
    from vlm_inspect.app.batch import Failed, Inspected
    from vlm_inspect.app.verify import verify
    from vlm_inspect.core.architecture import Architecture, Component, Role
    from vlm_inspect.core.difference import Difference
    from vlm_inspect.core.errors import VlmInspectError
    from vlm_inspect.core.load_report import LoadReport
    from vlm_inspect.core.version import __version__

_MODULES = {
    "Architecture": "vlm_inspect.core.architecture",
    "Component": "vlm_inspect.core.architecture",
    "Difference": "vlm_inspect.core.difference",
    "Failed": "vlm_inspect.app.batch",
    "LoadReport": "vlm_inspect.core.load_report",
    "Inspected": "vlm_inspect.app.batch",
    "Role": "vlm_inspect.core.architecture",
    "VlmInspectError": "vlm_inspect.core.errors",
    "__version__": "vlm_inspect.core.version",
    "diff": "vlm_inspect.app.api",
    "inspect": "vlm_inspect.app.api",
    "inspect_many": "vlm_inspect.app.api",
    "verify": "vlm_inspect.app.verify",
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
    if name not in _MODULES:
        raise AttributeError(f"module 'vlm_inspect' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
