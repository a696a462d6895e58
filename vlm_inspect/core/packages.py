"""Installed packages, and the requirements in their metadata that are not met."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

from msgspec import Struct

from vlm_inspect.core.errors import BrokenEnvironmentError

SELF = "vlm-inspect"
IMPORT_FAULTS = (Exception, SystemExit)
"""What an import may raise: it runs the code of a whole library, which may even exit."""
_LONGEST_REASON = 300


class MissingRequirement(Struct, frozen=True):
    """A requirement of an installed package that is not met."""

    by: str
    """The package that has the requirement, with its version."""
    name: str
    wanted: str
    """As pip takes it: `tokenizers<0.24,>=0.23.1`."""
    found: str | None
    """The installed version; None if there is none."""

    def __str__(self) -> str:
        """`transformers 5.0 needs tokenizers>=0.23, and 0.19.1 is installed`."""
        there = f"{self.found} is installed" if self.found else "it is not installed"
        return f"{self.by} needs {self.wanted}, and {there}"


def version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed, or its metadata has no version."""
    try:
        return metadata.version(package) or None
    except metadata.PackageNotFoundError:
        return None


def missing_requirements(*packages: str, on: str | None = None) -> tuple[MissingRequirement, ...]:
    """Return the requirements of these packages (on one package `on`, if given) that are not met."""
    found = []
    for package in packages:
        for each in _requirements(package):
            there = version(each.name)
            met = there is not None and each.specifier.contains(there, prereleases=True)
            if not met and on in (None, each.name):
                wanted = f"{each.name}{each.specifier}"
                found.append(MissingRequirement(f"{package} {version(package)}", each.name, wanted, there))
    return tuple(found)


def import_failure(package: str, error: BaseException) -> BrokenEnvironmentError:
    """Return the error for a required package that cannot be imported: which, why, what to install."""
    found = version(package)
    if found is None:
        message = f"{package} is not installed in this Python."
    else:
        message = f"{package} {found} cannot be imported: {first_sentence(error)}"
    return BrokenEnvironmentError(message, hint=install_hint(package))


def install_hint(package: str) -> str:
    """Return what to type if a package cannot be imported."""
    own = missing_requirements(SELF, on=package)
    if own and own[0].found is None:
        return pip_install(own)
    found = own or missing_requirements(package)
    if found:
        return f"{pip_install(found)} ({found[0]})"
    if version(package) is None:
        return f"pip install {package}"
    return f"Its requirements are installed; it may be damaged: pip install --force-reinstall {package}"


def pip_install(found: Iterable[MissingRequirement]) -> str:
    """Return the command that installs what is missing."""
    return "pip install " + " ".join(dict.fromkeys(f'"{each.wanted}"' for each in found))


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an exception; the others are advice for other cases."""
    text = " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def _requirements(package: str) -> Iterator[Any]:
    """The requirements that hold here, and those of an extra that is named after a package we need anyway.

    transformers states its torch version only in an extra called torch.
    """
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return
    core = "" if package == SELF else " ".join(text for text in _stated(SELF) if "extra" not in text)
    for text in _stated(package):
        try:
            each = Requirement(text)
        except InvalidRequirement:
            continue
        extras = ("", each.name) if re.search(rf"\b{re.escape(each.name)}\b", core) else ("",)
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras):
            yield each


def _stated(package: str) -> list[str]:
    try:
        return metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
