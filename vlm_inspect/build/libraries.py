"""The libraries that models are built with: imported, or told why they cannot be."""

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
    """Import them. Raises BrokenEnvironmentError where one cannot be, or does not work with the others."""
    with uncollected():
        for package in NEEDED:
            imported(package)


def imported(package: str) -> Any:
    """One of them. Raises BrokenEnvironmentError where it cannot be imported or cannot be used."""
    try:
        with unlogged():  # transformers logs that it found no torch: it is told below
            module = import_module(package)
    except installed.IMPORT_FAULTS as error:
        raise installed.unusable(package, error) from error
    if package == "transformers":
        _check(module)
    return module


def broken_import(name: str, error: BaseException) -> BrokenEnvironmentError:
    """transformers has the class, and the environment does not let it be imported: say why."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    message = f"transformers cannot import {name} here: {installed.first_sentence(root)}"
    return BrokenEnvironmentError(message, hint=_repair_of_class(name, root))


def _repair_of_class(name: str, root: BaseException) -> str:
    """What to type. torchvision's operators are made for one torch: its own words name neither."""
    if "torchvision" in str(root):
        mismatch = installed.unmet_of("torch", ("torchvision",))
        why = f" ({mismatch})" if mismatch else ""
        return f"torchvision does not match torch{why}: install the matching pair, or uninstall torchvision."
    if sys.flags.optimize > 1:
        return "Run Python without -OO (PYTHONOPTIMIZE=2): transformers reads the docstrings that it drops."
    found = installed.unmet("transformers")
    if found:
        return f"{installed.pip_install(found)} ({found[0]})"
    return f"python -c 'from transformers import {name}' shows all of it; vlm-inspect doctor looks further."


def _check(transformers: Any) -> None:
    """Older ones lack what is asked of them; and one that finds torch too old does as if there were none."""
    version = getattr(transformers, "__version__", None)
    if version is None:  # a folder of that name, or what is left of a package that was taken away
        raise BrokenEnvironmentError(
            "transformers does not say its version: it is damaged, or a folder of that name is no package.",
            hint=installed.repair("transformers"),
        )
    if numbers(str(version)) < LOWEST_TRANSFORMERS:
        lowest = ".".join(map(str, LOWEST_TRANSFORMERS))
        raise BrokenEnvironmentError(
            f"transformers {version} is older than {lowest}, the oldest that is supported.",
            hint="pip install --upgrade transformers",
        )
    if not transformers.is_torch_available():
        found = installed.unmet_of("torch", ("transformers",))
        raise BrokenEnvironmentError(
            f"{found}." if found else f"transformers {version} finds no torch that it can use.",
            hint=installed.pip_install([found]) if found else "pip install --upgrade torch",
        )


def numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
