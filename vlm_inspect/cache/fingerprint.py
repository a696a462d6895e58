"""What tells this installation from any other that may answer differently, without importing anything."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path

LIBRARIES = ("transformers", "torch", "accelerate")
"""What builds a model."""
OPTIONAL = (
    "apex",
    "bitsandbytes",
    "causal-conv1d",
    "deepspeed",
    "detectron2",
    "flash-attn",
    "flash-linear-attention",
    "kernels",
    "mamba-ssm",
    "mambapy",
    "natten",
    "ninja",
    "peft",
    "pillow",
    "scipy",
    "supervision",
    "timm",
    "torchvision",
    "xlstm",
)
"""What classes of transformers look for, and build other modules (or none) where it is missing."""
_MODULES = {"flash-linear-attention": "fla", "pillow": "PIL"}
"""Where a package's module is not called as the package is."""
OURSELVES = "vlm-inspect"
_STATED = {name: re.compile(rf"^{name}: (.+)$", re.MULTILINE) for name in ("Name", "Version")}


@cache
def of_libraries() -> Mapping[str, str] | None:
    """Package → what tells this installation of it from any other; None where one can change unnoticed."""
    found: dict[str, str] = {}
    for name in (*LIBRARIES, *OPTIONAL):
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            if _would_be_imported(name) is not None:  # from a folder on the path, which no version tells
                return None
            continue
        told = _told(installed)
        if told is None or not _is_what_would_be_imported(name, installed):
            return None
        found[name] = told
    return found


@cache
def of_everything() -> Mapping[str, str] | None:
    """The same of all that is installed: code of a repo imports what it likes."""
    libraries = of_libraries()
    if libraries is None:
        return None
    found = dict(libraries)
    for installed in metadata.distributions():
        name = _stated(installed, "Name")
        if name == OURSELVES:
            continue
        told = _told(installed)
        if told is None:
            return None
        found.setdefault(name, told)  # of two, the first on the path is what is imported
    return dict(sorted(found.items()))


@cache
def of_ourselves() -> str:
    """The version where an index gave it; else the state of the source files, which change without one."""
    try:
        installed = metadata.distribution(OURSELVES)
    except metadata.PackageNotFoundError:
        return _state(Path(__file__).parent.parent)
    plain = installed.read_text("direct_url.json") is None and _is_what_would_be_imported(
        OURSELVES, installed
    )
    return installed.version if plain else _state(Path(__file__).parent.parent)


def _told(installed: metadata.Distribution) -> str | None:
    """Its version; of what came from elsewhere than an index, its files' hashes, too. None if editable."""
    source = installed.read_text("direct_url.json")
    if source is None:
        return _stated(installed, "Version")
    if '"editable"' in source:
        return None
    files = installed.read_text("RECORD") or source
    return f"{_stated(installed, 'Version')} {hashlib.sha256(files.encode()).hexdigest()}"


def _stated(installed: metadata.Distribution, field: str) -> str:
    """What the metadata begin with, empty where they are gone; `installed.metadata` parses all, as mail."""
    texts = (installed.read_text(name) for name in ("METADATA", "PKG-INFO", ""))
    stated = _STATED[field].search(next(filter(None, texts), ""))
    return stated[1] if stated else ""


def _is_what_would_be_imported(name: str, installed: metadata.Distribution) -> bool:
    """Whether the package on the path is the installed one, and no other folder of that name before it."""
    place = _would_be_imported(name)
    return place is not None and Path(place).is_relative_to(str(installed.locate_file("")))


def _would_be_imported(name: str) -> str | None:
    """The file, or the folder, of the module of a package; None where there is none, empty where it hides."""
    try:
        spec = util.find_spec(_MODULES.get(name, name.replace("-", "_")))
    except ValueError:  # imported already, and by something that says not from where
        return ""
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def _state(folder: Path) -> str:
    """Names, sizes and times of the files of a source tree."""
    return str(sorted(_files(folder)))


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".py", ".toml")):
                path = os.path.join(place, name)  # noqa: PTH118 - of hundreds, a Path each takes twice as long
                stat = os.stat(path)  # noqa: PTH116
                yield path.removeprefix(str(folder)), stat.st_size, stat.st_mtime_ns
