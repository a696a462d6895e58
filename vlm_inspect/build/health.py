"""Whether the libraries that build models work in this Python."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from vlm_inspect import installed
from vlm_inspect.build import libraries
from vlm_inspect.build.meanwhile import quiet
from vlm_inspect.diagnosis import Finding
from vlm_inspect.errors import BrokenEnvironmentError

_EXTRAS = {
    "timm": "only models with a timm tower need it",
    "torchvision": "only models with a timm tower need it",
}
# a class whose module imports most of what any vision-language model's does
_SAMPLE = "LlavaForConditionalGeneration"


def look() -> Iterator[Finding]:
    """Versions, and whether each package imports; then whether transformers can import a model."""
    yield Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("interpreter", sys.executable or "unknown")
    broken: list[Finding] = []
    for package in libraries.NEEDED:
        finding = _needed(package, broken)
        if finding.state == "wrong":
            broken.append(finding)
        yield finding
    for package, what_for in _EXTRAS.items():
        yield _extra(package, what_for)
    if not broken:
        models = _models()
        if models.state == "wrong":
            broken.append(models)
        yield models
    yield from _requirements(working=not broken)


def _needed(package: str, broken: Sequence[Finding]) -> Finding:
    """A package that needs a broken one cannot be imported either, and is not to blame for it."""
    there = installed.version(package)
    cause = next((each for each in broken if installed.needs(package, each.subject)), None)
    if there is not None and cause is not None:
        return Finding(package, f"{there}; not tried, for it needs {cause.subject}", "wrong", cause.hint)
    try:
        libraries.imported(package)
    except BrokenEnvironmentError as error:
        return Finding(package, error.message, "wrong", error.hint)
    return Finding(package, there or str(import_module(package).__version__))


def _extra(package: str, what_for: str) -> Finding:
    version = installed.version(package)
    if version is None:
        return Finding(package, f"not installed; {what_for}")
    mismatches = [str(each) for each in installed.unmet_by(package)]
    if mismatches:
        return Finding(package, "; ".join([version, *mismatches]), "note", f"pip install --upgrade {package}")
    return Finding(package, version)


def _models() -> Finding:
    """transformers imports a model's module when its class is asked for; only then it says what is broken."""
    try:
        with quiet():
            getattr(import_module("transformers"), _SAMPLE)
    except installed.IMPORT_FAULTS as error:
        told = libraries.broken_import(_SAMPLE, error)
        return Finding("model classes", told.message, "wrong", told.hint)
    return Finding("model classes", "transformers can import them")


def _requirements(*, working: bool) -> Iterator[Finding]:
    """What packages state to need and do not find: where all works all the same, worth knowing."""
    found = installed.unmet(installed.SELF)
    if found:
        said = "; ".join(map(str, found))
        yield Finding("requirements", said, "note" if working else "wrong", installed.pip_install(found))
