"""Installed packages, unmet requirements in their metadata, and the result of a check of the environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any, Literal

from msgspec import Struct

from vlm_inspect.core.errors import BrokenEnvironmentError, truncate

SELF = "vlm-inspect"
IMPORT_ERRORS = (Exception, SystemExit)
"""Exceptions of an import: it runs a library's code, which may even exit."""
State = Literal["ok", "note", "wrong"]
_LONGEST_REASON = 300
# transformers requires torch for every model class, and states its version only in an extra
_REQUIRED_EXTRAS = {"transformers": ("", "torch")}


class HealthCheck(Struct, frozen=True):
    """The result of one check of the environment."""

    subject: str
    message: str
    state: State = "ok"
    """`note`: everything works. `wrong`: some or all models cannot be inspected."""
    hint: str = ""
    """What to type, if something is wrong."""


class MissingRequirement(Struct, frozen=True):
    """A requirement of an installed package that is not met."""

    by: str
    """The package that has the requirement, with its version."""
    name: str
    wanted: str
    """A requirement for pip: `tokenizers<0.24,>=0.23.1`."""
    found: str | None
    """The installed version; None if there is none."""

    def __str__(self) -> str:
        """`transformers 5.0 needs tokenizers>=0.23, and 0.19.1 is installed`."""
        installed = f"{self.found} is installed" if self.found else "it is not installed"
        return f"{self.by} needs {self.wanted}, and {installed}"


def version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed, or its metadata has no version."""
    try:
        return metadata.version(package) or None
    except metadata.PackageNotFoundError:
        return None


def missing_requirements(*packages: str, on: str | None = None) -> tuple[MissingRequirement, ...]:
    """Return the requirements of these packages that are not met; with `on` only those on that package."""
    missing = []
    for package in packages:
        for each in _requirements(package):
            found = version(each.name)
            is_met = found is not None and each.specifier.contains(found, prereleases=True)
            if not is_met and on in (None, each.name):
                by, wanted = f"{package} {version(package)}", f"{each.name}{each.specifier}"
                missing.append(MissingRequirement(by, each.name, wanted, found))
    return tuple(missing)


def import_failure(package: str, error: BaseException) -> BrokenEnvironmentError:
    """Return the error for a required package that cannot be imported."""
    message = f"{package} is not installed in this Python."
    if (found := version(package)) is not None:
        message = f"{package} {found} cannot be imported: {first_sentence(error)}"
    return BrokenEnvironmentError(message, hint=install_hint(package))


def install_hint(package: str) -> str:
    """Return the command to type if a package cannot be imported."""
    own = missing_requirements(SELF, on=package)
    if own and own[0].found is None:
        return pip_install(own)
    missing = own or missing_requirements(package)
    if missing:
        return f"{pip_install(missing)} ({missing[0]})"
    if version(package) is None:
        return f"pip install {package}"
    return f"Its requirements are installed; it may be damaged: pip install --force-reinstall {package}"


def pip_install(missing: Iterable[MissingRequirement]) -> str:
    """Return the command that installs missing requirements."""
    wanted: dict[str, list[str]] = {}
    for each in missing:
        wanted.setdefault(each.name, []).extend(each.wanted.removeprefix(each.name).split(","))
    return "pip install " + " ".join(f'"{name}{",".join(dict.fromkeys(parts))}"' for name, parts in wanted.items())


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an exception; the others are advice for other cases."""
    text = " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__
    return truncate(text)


def _requirements(package: str) -> Iterator[Any]:
    """The requirements for this Python, without those of extras, except transformers' torch."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return
    extras = _REQUIRED_EXTRAS.get(package, ("",))
    for text in _requires(package):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def _requires(package: str) -> list[str]:
    try:
        return metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []
