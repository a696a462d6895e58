"""The configuration: `[tool.vlm-inspect]` in a pyproject.toml, or the same keys in a vlm-inspect.toml.

::

    snapshots = "snapshots"              # folder of the snapshot files, relative to this file
    files = ["README.md"]                # files whose marked blocks are regenerated

    [[models]]
    id = "llava-hf/llava-1.5-7b-hf"      # or a path relative to this file
    revision = "main"                    # branch, tag or commit
    alias = "LLaVA-1.5-7B"               # shown in tables, and a name for the model
    [models.facts]                       # what no module tree can tell
    fine_tuning = "Multimodal instruction data"

    [tables.comparison]                  # the name of a marked block
    kind = "comparison"                  # "architectures" where it is left out
    models = ["LLaVA-1.5-7B"]            # all models where it is left out
    columns = ["model", "parameters"]    # all columns of the kind where it is left out

What is read is checked whole: a key, type or name that means nothing is an error that says where.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlm_inspect.errors import SettingsError
from vlm_inspect.settings.files import OWN_NAME, PYPROJECT, SECTION, absolute, parse, section_of, tomllib
from vlm_inspect.settings.records import (
    DEFAULT_KIND,
    FactValue,
    ModelEntry,
    Settings,
    TableEntry,
    Vocabulary,
)

__all__ = [
    "DEFAULT_KIND",
    "OWN_NAME",
    "PYPROJECT",
    "FactValue",
    "ModelEntry",
    "Settings",
    "TableEntry",
    "Vocabulary",
    "find_settings",
    "load_settings",
    "tomllib",
]


def find_settings(start: Path, vocabulary: Callable[[], Vocabulary]) -> Settings | None:
    """The configuration that holds in a folder: the nearest one at or above it, as ruff finds its own.

    In one folder vlm-inspect.toml comes before pyproject.toml. A pyproject.toml without a
    `[tool.vlm-inspect]` is passed over. None where there is no configuration; nobody is then asked for the
    vocabulary, which takes as long to come by as the rest.
    """
    start = absolute(start)
    for folder in (start, *start.parents):
        own, shared = folder / OWN_NAME, folder / PYPROJECT
        if _is_file(own):
            return _checked(own, parse(own), vocabulary)
        if _is_file(shared) and (section := section_of(parse(shared))) is not None:
            return _checked(shared, section, vocabulary)
    return None


def load_settings(path: Path, vocabulary: Callable[[], Vocabulary]) -> Settings:
    """The configuration in one file; of a pyproject.toml the `[tool.vlm-inspect]` section."""
    data = parse(path)
    if path.name != PYPROJECT:
        return _checked(path, data, vocabulary)
    section = section_of(data)
    if section is None:
        raise SettingsError(
            f"{path} has no [{SECTION}] section.",
            hint=f"Add [{SECTION}] to it, or name another file.",
        )
    return _checked(path, section, vocabulary)


def _checked(path: Path, data: Any, vocabulary: Callable[[], Vocabulary]) -> Settings:
    from vlm_inspect.settings.checks import checked

    return checked(path, data, vocabulary())


def _is_file(path: Path) -> bool:
    """Whether it is a file; a folder that may not be looked into holds none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
