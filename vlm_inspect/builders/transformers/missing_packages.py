"""Packages that are missing, broken or too old: torch and transformers, and those of single sub-models.

If the package of a sub-model is missing (a timm tower, for example), its constructor raises ImportError. That
sub-model becomes an empty module with the reason, and all others are built.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from traceback import walk_tb
from typing import Any

from vlm_inspect.builders.transformers.patches import gc_disabled, no_log_warnings, patched
from vlm_inspect.core import packages
from vlm_inspect.core.errors import BrokenEnvironmentError

NEEDED = ("torch", "accelerate", "transformers")
LOWEST_TRANSFORMERS = (4, 41)
# package → the extra of vlm-inspect that has it
EXTRAS: Mapping[str, str] = {"pillow": "timm", "timm": "timm", "torchvision": "timm", "scipy": "scipy"}
# transformers' advice, one for each package that is missing
_ADVICE = re.compile(r"pip install (-U )?([A-Za-z0-9][A-Za-z0-9_.-]*)")

EmptyClasses = Mapping[type, str]
"""Classes of sub-models that are empty because a package is missing, with the reason."""


def require_libraries() -> None:
    """Import the libraries. Raises BrokenEnvironmentError if one is missing, broken or too old."""
    with gc_disabled():
        for package in NEEDED:
            import_library(package)


def import_library(package: str) -> Any:
    """Import one of the libraries. Raises BrokenEnvironmentError."""
    try:
        with no_log_warnings():  # transformers logs that torch is missing: `_check_transformers` raises it
            module = import_module(package)
    except packages.IMPORT_ERRORS as error:
        raise packages.import_failure(package, error) from error
    if getattr(module, "__version__", None) is None:  # a folder of that name, or the rest of an uninstalled package
        message = f"{package} has no version: it is damaged, or a folder of that name is imported instead."
        raise BrokenEnvironmentError(message, hint=packages.install_hint(package))
    if package == "transformers":
        _check_transformers(module)
    return module


def broken_import(name: str, error: BaseException) -> BrokenEnvironmentError:
    """Return the error for a class that transformers has but cannot import in this environment."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    message = f"transformers cannot import {name} here: {packages.first_sentence(root)}"
    if "torchvision" in str(root):  # its operators are built for one torch, which its own error does not say
        found = packages.missing_requirements("torchvision", on="torch")
        why = f" ({found[0]})" if found else ""
        hint = f"torchvision does not match torch{why}: install the matching pair, or uninstall torchvision."
    elif sys.flags.optimize > 1:
        hint = "Run Python without -OO (PYTHONOPTIMIZE=2): transformers reads docstrings."
    elif found := packages.missing_requirements("transformers"):
        hint = f"{packages.pip_install(found)} ({found[0]})"
    else:
        hint = f"python -c 'from transformers import {name}' shows all of it; vlm-inspect doctor checks more."
    return BrokenEnvironmentError(message, hint=hint)


def _check_transformers(transformers: Any) -> None:
    version = transformers.__version__
    if tuple(int(part) for part in str(version).split(".")[:2] if part.isdigit()) < LOWEST_TRANSFORMERS:
        lowest = ".".join(map(str, LOWEST_TRANSFORMERS))
        raise BrokenEnvironmentError(
            f"transformers {version} is older than {lowest}, the oldest that is supported.",
            hint="pip install --upgrade transformers",
        )
    if not transformers.is_torch_available():  # also if torch is too old for it
        found = packages.missing_requirements("transformers", on="torch")
        raise BrokenEnvironmentError(
            f"{found[0]}." if found else f"transformers {version} finds no torch that it can use.",
            hint=packages.pip_install(found) if found else "pip install --upgrade torch",
        )


def build_available_parts(construct: Callable[[], Any], empty: EmptyClasses | None = None) -> tuple[Any, EmptyClasses]:
    """Return the model, and the classes of its sub-models that are empty because a package is missing.

    Raises ImportError if the model itself needs the package, or the sub-model that reads text.
    """
    known = empty or {}
    try:
        with _empty_constructors(known):
            return construct(), known
    except ImportError as error:
        failed = _failed_class(error)
        if failed is None or failed in known:
            raise
        try:
            model, all_empty = build_available_parts(construct, {**known, failed: reason(error)})
        except AttributeError:  # the model reads what only the complete part has
            raise error from None
        if not _has_input_embeddings(model):
            raise
        return model, all_empty


def reason(error: ImportError) -> str:
    """Return `needs pillow and timm: pip install "vlm-inspect[timm]"`."""
    names = _packages_in(error)
    if not names:
        return "needs a package that is missing"
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    if any(newer for newer, _ in _ADVICE.findall(str(error))):
        return f"needs a newer {listed}: pip install -U {' '.join(names)}"
    return f"needs {listed}: {advice(error)}"


def advice(error: ImportError) -> str:
    """Return what to type to install the packages: an extra of vlm-inspect, if one has them."""
    names = _packages_in(error)
    extras = dict.fromkeys(EXTRAS[name] for name in names if name in EXTRAS)
    wanted = [f'"vlm-inspect[{",".join(extras)}]"'] if extras else []
    wanted += [name for name in names if name not in EXTRAS]
    return f"pip install {' '.join(wanted)}" if wanted else "Install the package, then try again."


def missing_part_note(path: str, why: str) -> str:
    """Return the note for the user about an empty module."""
    matching = " (timm brings torchvision, which must match torch)" if "[timm" in why else ""
    return f"{path} was not built: it {why}{matching}. All other parts are exact."


def _packages_in(error: ImportError) -> tuple[str, ...]:
    """The missing packages, by their names on PyPI."""
    named = [package for _, package in _ADVICE.findall(str(error))] or ([error.name] if error.name else [])
    return tuple(dict.fromkeys(named))


def _failed_class(error: ImportError) -> type | None:
    """The innermost sub-model whose constructor raised; None if it was the model itself."""
    from transformers import PreTrainedModel

    frames = [frame for frame, _ in walk_tb(error.__traceback__) if frame.f_code.co_name == "__init__"]
    building = (frame.f_locals.get("self") for frame in frames)
    models = list(dict.fromkeys(type(each) for each in building if isinstance(each, PreTrainedModel)))
    return models[-1] if len(models) > 1 else None


@contextmanager
def _empty_constructors(classes: Iterable[type]) -> Iterator[None]:
    """Let the constructors of these classes make empty modules."""
    from transformers import PreTrainedModel

    def empty(self: Any, config: Any, *_: Any, **__: Any) -> None:
        PreTrainedModel.__init__(self, config)
        PreTrainedModel.post_init(self)

    with ExitStack() as patches:
        for each in classes:
            patches.enter_context(patched(each, "__init__", empty))
        yield


def _has_input_embeddings(model: Any) -> bool:
    try:
        return model.get_input_embeddings() is not None
    except Exception:  # noqa: BLE001 - a model's own method fails if the part is empty
        return False
