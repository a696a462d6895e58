"""Whether the libraries that build models work in this Python."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import import_module, metadata

from vlm_inspect.diagnosis import Finding
from vlm_inspect.errors import BrokenEnvironmentError

_NEEDED = ("torch", "transformers", "accelerate")
_LOWEST_TRANSFORMERS = (4, 41)
_EXTRAS = {
    "timm": "only models with a timm tower need it",
    "torchvision": "only models with a timm tower need it",
}
# a class whose module imports most of what any vision-language model's does
_SAMPLE = "LlavaForConditionalGeneration"


def look() -> Iterator[Finding]:
    """Versions, and whether each package imports; then whether transformers can import a model."""
    yield Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    working = True
    for package in _NEEDED:
        finding = _needed(package)
        working &= finding.state != "wrong"
        yield finding
    for package, what_for in _EXTRAS.items():
        version = _version(package)
        yield Finding(package, version or f"not installed; {what_for}")
    if working:
        yield _models()


def _needed(package: str) -> Finding:
    version = _version(package)
    hint = f"pip install --upgrade {package}"
    if version is None:
        return Finding(package, "not installed", "wrong", hint)
    if package == "transformers" and _numbers(version) < _LOWEST_TRANSFORMERS:
        lowest = ".".join(map(str, _LOWEST_TRANSFORMERS))
        return Finding(package, f"{version}, and {lowest} is the oldest that is supported", "wrong", hint)
    try:
        import_module(package)
    except Exception as error:  # noqa: BLE001 - an import runs a whole library's code: it may raise anything
        return Finding(package, f"{version}, and cannot be imported: {_first_line(error)}", "wrong", hint)
    return Finding(package, version)


def _models() -> Finding:
    """transformers imports a model's module when its class is asked for; only then it says what is broken."""
    from vlm_inspect.build.selection import broken_import

    try:
        getattr(import_module("transformers"), _SAMPLE)
    except Exception as error:  # noqa: BLE001 - as above
        told: BrokenEnvironmentError = broken_import(_SAMPLE, error)
        return Finding("model classes", told.message, "wrong", told.hint)
    return Finding("model classes", "transformers can import them")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
