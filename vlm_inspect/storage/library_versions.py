"""Versions of the libraries that a result depends on, read without importing them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("transformers", "torch", "accelerate")
"""Needed for every model."""
_OPTIONAL = """
apex bitsandbytes causal-conv1d deepspeed detectron2 flash-attn flash-linear-attention kernels mamba-ssm
mambapy natten ninja peft pillow scipy supervision timm torchvision xlstm
"""
OPTIONAL = tuple(_OPTIONAL.split())
"""Model classes of transformers check for these, and build other modules (or none) without them."""
_SELF = "vlm-inspect"
_PACKAGE = Path(__file__).parents[1]
_FIELD = {name: re.compile(rf"^{name}: (.+)$", re.MULTILINE) for name in ("Name", "Version")}


@cache
def library_versions() -> Mapping[str, str] | None:
    """Return the version of each installed library; None if one is editable and may change at any time."""
    return _versions(_installed((*LIBRARIES, *OPTIONAL)))


@cache
def environment_versions() -> Mapping[str, str] | None:
    """Return the version of every installed package, which code of a repo may import; None as above."""
    return _versions(each for each in metadata.distributions() if _metadata_field(each, "Name") != _SELF)


@cache
def own_version() -> str:
    """Return our version; the state of the source files if vlm-inspect is editable or not installed."""
    found = list(_installed([_SELF]))
    if found and found[0].read_text("direct_url.json") is None:
        return found[0].version
    return str(sorted(_source_files()))


def _versions(distributions: Iterable[metadata.Distribution]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for each in distributions:
        source = each.read_text("direct_url.json") or ""  # has the commit of an install from git
        if re.search(r'"editable":\s*true', source):
            return None
        version = f"{_metadata_field(each, 'Version')} {source}".strip()
        found.setdefault(_metadata_field(each, "Name"), version)  # Python imports the first of two
    return dict(sorted(found.items()))


def _installed(names: Iterable[str]) -> Iterator[metadata.Distribution]:
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            yield metadata.distribution(name)


def _metadata_field(distribution: metadata.Distribution, field: str) -> str:
    """A field of the metadata, or empty; `distribution.metadata` would parse all fields."""
    texts = (distribution.read_text(name) for name in ("METADATA", "PKG-INFO", ""))
    match = _FIELD[field].search(next(filter(None, texts), ""))
    return match[1] if match else ""


def _source_files() -> Iterator[tuple[str, int, int]]:
    for folder, _, names in os.walk(_PACKAGE):
        for name in names:
            if name.endswith((".py", ".toml")):
                status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - twice as fast as a Path for each
                yield f"{folder}/{name}", status.st_size, status.st_mtime_ns
