"""Health checks of the libraries that build models."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import import_module

from vlm_inspect.builders.transformers import missing_packages as libraries
from vlm_inspect.builders.transformers.patches import silenced
from vlm_inspect.core import packages
from vlm_inspect.core.errors import BrokenEnvironmentError
from vlm_inspect.core.packages import HealthCheck, State

# its module imports most of what the modules of other vision-language models do
_MODEL_CLASS = "LlavaForConditionalGeneration"


def run_checks() -> Iterator[HealthCheck]:
    """Yield the versions and imports of the packages, then the import of a model class."""
    yield HealthCheck("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield HealthCheck("interpreter", sys.executable or "unknown")
    findings: list[HealthCheck] = []
    for package in libraries.NEEDED:  # torch first: the others need it
        findings.append(_check_required(package, findings[0] if findings else None))
        yield findings[-1]
    yield from map(_check_optional, ("timm", "torchvision"))
    if all(each.state == "ok" for each in findings):
        findings.append(_check_model_class())
        yield findings[-1]
    unmet = packages.missing_requirements(packages.SELF, *libraries.NEEDED, "huggingface_hub")
    if unmet:
        text = "; ".join(dict.fromkeys(map(str, unmet)))
        state: State = "note" if all(each.state == "ok" for each in findings) else "wrong"
        yield HealthCheck("requirements", text, state, packages.pip_install(unmet))


def _check_required(package: str, torch: HealthCheck | None) -> HealthCheck:
    version = packages.version(package)
    if torch is not None and torch.state == "wrong" and version is not None:
        return HealthCheck(package, f"{version}; not tried, because it needs torch", "wrong", torch.hint)
    try:
        module = libraries.import_library(package)
    except BrokenEnvironmentError as error:
        return HealthCheck(package, error.message, "wrong", error.hint)
    return HealthCheck(package, version or str(module.__version__))


def _check_optional(package: str) -> HealthCheck:
    version = packages.version(package)
    if version is None:
        return HealthCheck(package, "not installed; only models with a timm tower need it")
    missing = [str(each) for each in packages.missing_requirements(package)]
    if not missing:
        return HealthCheck(package, version)
    return HealthCheck(package, "; ".join([version, *missing]), "note", f"pip install --upgrade {package}")


def _check_model_class() -> HealthCheck:
    try:  # transformers imports a model's module on first access, and only then raises what is broken
        with silenced():
            getattr(import_module("transformers"), _MODEL_CLASS)
    except packages.IMPORT_ERRORS as error:
        failure = libraries.broken_import(_MODEL_CLASS, error)
        return HealthCheck("model classes", failure.message, "wrong", failure.hint)
    return HealthCheck("model classes", "transformers can import them")
