"""What is installed in this Python, and which of the stated requirements it does not meet.

Packages state in their metadata what they need. Where one cannot be imported, that says more than its
words do: they tell what failed, and the requirement tells what to install.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import metadata
from typing import Any

from msgspec import Struct

from vlm_inspect.errors import BrokenEnvironmentError

SELF = "vlm-inspect"
IMPORT_FAULTS = (Exception, SystemExit)
"""What an import may raise: it runs a whole library's code, which may even end the program."""
_LONGEST_REASON = 300
_NAME = re.compile(r"[\w.-]+")
_BETWEEN_WORDS = re.compile(r"[-_.]+")


class Unmet(Struct, frozen=True):
    """A requirement of an installed package that what is installed does not meet."""

    by: str
    """The package that asks, with its version."""
    name: str
    wanted: str
    """As pip takes it: `tokenizers<0.24,>=0.23.1`."""
    found: str | None
    """The version that is installed; None where there is none."""

    def __str__(self) -> str:
        """As a clause: who needs what, and what there is."""
        there = f"{self.found} is installed" if self.found else "it is not installed"
        return f"{self.by} needs {self.wanted}, and {there}"


def version(package: str) -> str | None:
    """The version of a package; None where it is not installed, or does not say."""
    try:
        return metadata.version(package) or None
    except metadata.PackageNotFoundError:
        return None


def unmet(*packages: str) -> tuple[Unmet, ...]:
    """What these packages need, and what that needs in turn, and is not there."""
    waiting, seen = deque(packages), set(map(_normal, packages))
    found: list[Unmet] = []
    while waiting:
        package = waiting.popleft()
        wanting = tuple(unmet_by(package))
        found += wanting
        # what another version of a package would need is not known
        seen |= {_normal(each.name) for each in wanting}
        needed = {_normal(each.name) for each in _requirements(package)} - seen
        seen |= needed
        waiting += sorted(needed)
    return tuple(found)


def unmet_by(package: str) -> Iterator[Unmet]:
    """What one package itself needs, and is not there."""
    for requirement in _requirements(package):
        there = version(requirement.name)
        if there is None or not requirement.specifier.contains(there, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            yield Unmet(f"{package} {version(package)}", requirement.name, wanted, there)


def needs(package: str, other: str) -> bool:
    """Whether a package states that it needs another."""
    return _normal(other) in {_normal(each.name) for each in _requirements(package)}


def unmet_of(package: str, by: Sequence[str]) -> Unmet | None:
    """The first of these packages' requirements on a package that is not met."""
    asked = (each for asking in by for each in unmet_by(asking))
    return next((each for each in asked if _normal(each.name) == _normal(package)), None)


def unusable(package: str, error: BaseException) -> BrokenEnvironmentError:
    """A package that is needed cannot be imported: say which, why, and what to install."""
    found = version(package)
    if found is None:
        return BrokenEnvironmentError(f"{package} is not installed in this Python.", hint=repair(package))
    message = f"{package} {found} cannot be imported: {first_sentence(error)}"
    return BrokenEnvironmentError(message, hint=repair(package))


def repair(package: str) -> str:
    """What to type where a package cannot be imported."""
    own = unmet_of(package, (SELF,))
    if own is not None and own.found is None:
        return pip_install((own,))
    found = (own,) if own else unmet(package)
    if found:
        return f"{pip_install(found)} ({found[0]})"
    if version(package) is None:
        return f"pip install {package}"
    return f"What it needs is installed; it may be damaged: pip install --force-reinstall {package}"


def first_sentence(error: BaseException) -> str:
    """What an exception says first: what else it says is advice for another case."""
    text = " ".join(str(error).split()).partition(". ")[0].rstrip(".") or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def pip_install(found: Iterable[Unmet]) -> str:
    """The command that installs what is not there, of one package what all ask for together."""
    wanted: dict[str, list[Unmet]] = {}
    for each in found:
        wanted.setdefault(_normal(each.name), []).append(each)
    return "pip install " + " ".join(f'"{_together(several)}"' for several in wanted.values())


def _together(several: Sequence[Unmet]) -> str:
    """One requirement that says what several say; of lower bounds the highest says it all."""
    from packaging.version import Version

    bounds = {bound for each in several for bound in each.wanted[len(each.name) :].split(",") if bound}
    lower = [bound for bound in bounds if bound.startswith(">=")]
    highest = max(lower, key=lambda bound: Version(bound[2:]), default=None)
    return several[0].name + ",".join(sorted(bounds - set(lower) | ({highest} if highest else set())))


def _requirements(package: str) -> tuple[Any, ...]:
    """A package's requirements that hold here, and those of its extras that vlm-inspect needs anyway.

    transformers asks for torch in extras alone: what it says there of torch's version holds.
    """
    always = _always() if package != SELF else frozenset()
    parsed = (_parsed(text) for text in _stated(package) if "extra" not in text or _name(text) in always)
    return tuple(each for each in parsed if each is not None and _holds(each))


def _holds(requirement: Any) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", requirement.name))


@cache
def _always() -> frozenset[str]:
    """What vlm-inspect needs without any extra."""
    return frozenset(_name(text) for text in _stated(SELF) if "extra" not in text)


def _stated(package: str) -> list[str]:
    try:
        return metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return []


def _parsed(text: str) -> Any:
    """A requirement; None where it is none, or where the package that reads them is not there itself."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        return None
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _name(text: str) -> str:
    found = _NAME.match(text)
    return _normal(found[0]) if found else ""


def _normal(name: str) -> str:
    """A package's name is the same whatever its case, and whatever stands between its words."""
    return _BETWEEN_WORDS.sub("-", name).lower()
