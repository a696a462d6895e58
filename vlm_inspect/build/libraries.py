"""Imports of the libraries that build models, and clear errors if one is broken."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from vlm_inspect import installed
from vlm_inspect.build.meanwhile import uncollected, unlogged
from vlm_inspect.errors import BrokenEnvironmentError

NEEDED = ("torch", "accelerate", "transformers")
LOWEST_TRANSFORMERS = (4, 41)


def require() -> None:
    """Import the libraries. Raises BrokenEnvironmentError if one is missing, broken or too old."""
    with uncollected():
        for package in NEEDED:
            imported(package)


def imported(package: str) -> Any:
    """Import one of the libraries. Raises BrokenEnvironmentError."""
    try:
        with unlogged():  # transformers logs that there is no torch: `_check` says it
            module = import_module(package)
    except installed.IMPORT_FAULTS as error:
        raise installed.import_failure(package, error) from error
    if package == "transformers":
        _check(module)
    return module


def broken_import(name: str, error: BaseException) -> BrokenEnvironmentError:
    """Return the error for a class that transformers has but cannot import in this environment."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    message = f"transformers cannot import {name} here: {installed.first_sentence(root)}"
    return BrokenEnvironmentError(message, hint=_hint(name, root))


def _hint(name: str, root: BaseException) -> str:
    if "torchvision" in str(root):  # its operators are built for one torch, which its own error does not say
        mismatch = installed.missing_requirements("torchvision", on="torch")
        why = f" ({mismatch[0]})" if mismatch else ""
        return f"torchvision does not match torch{why}: install the matching pair, or uninstall torchvision."
    if sys.flags.optimize > 1:
        return "Run Python without -OO (PYTHONOPTIMIZE=2): transformers reads docstrings."
    found = installed.missing_requirements("transformers")
    if found:
        return f"{installed.pip_install(found)} ({found[0]})"
    return f"python -c 'from transformers import {name}' shows all of it; vlm-inspect doctor checks more."


def _check(transformers: Any) -> None:
    version = getattr(transformers, "__version__", None)
    if version is None:  # a folder of that name, or the rest of an uninstalled package
        message = "transformers has no version: it is damaged, or a folder of that name is imported instead."
        raise BrokenEnvironmentError(message, hint=installed.install_hint("transformers"))
    if tuple(int(part) for part in str(version).split(".")[:2] if part.isdigit()) < LOWEST_TRANSFORMERS:
        lowest = ".".join(map(str, LOWEST_TRANSFORMERS))
        raise BrokenEnvironmentError(
            f"transformers {version} is older than {lowest}, the oldest that is supported.",
            hint="pip install --upgrade transformers",
        )
    if not transformers.is_torch_available():  # also if torch is too old for it
        found = installed.missing_requirements("transformers", on="torch")
        raise BrokenEnvironmentError(
            f"{found[0]}." if found else f"transformers {version} finds no torch that it can use.",
            hint=installed.pip_install(found) if found else "pip install --upgrade torch",
        )
