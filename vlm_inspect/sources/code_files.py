"""The source of a repository's own Python files, as text. They are never imported.

Only the files that `auto_map` names are read, and those that they import from the same repository. Modules
consist of identifiers, so no name leads out of the repository.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from vlm_inspect.core.errors import HubUnavailableError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources.headers import HubFiles

LARGEST_FILE = 2 * 1024 * 1024  # bytes of one file; longer ones are skipped
MOST_FILES = 50

_DEFAULTS = InspectOptions()
_MODULE = re.compile(r"[A-Za-z_]\w{0,99}(\.[A-Za-z_]\w{0,99}){0,5}")
_RELATIVE = re.compile(
    r"^[ \t]*from[ \t]+(\.+)([\w.]*)[ \t]+import[ \t]+(\([^()]{0,2000}\)|[^\n]{0,2000})", re.MULTILINE
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w{0,99}")
_DEEPEST_MAP = 3

ReadFile = Callable[[str], bytes | None]
"""Returns a file's content by its name in the repository; None if there is no such file."""


def load(
    ref: ModelRef, identity: ModelIdentity, config: Mapping[str, Any], options: InspectOptions = _DEFAULTS
) -> dict[str, str]:
    """Load the texts by their names in the repository, at the commit of `identity`.

    Files that are missing, too long or not UTF-8 are skipped. Raises SourceError if the Hub fails.
    """
    if next(named_modules(config), None) is None:
        return {}
    if ref.path is not None:
        folder = ref.path if ref.path.is_dir() else ref.path.parent
        return collect(config, partial(_read_local, folder.resolve()))
    return _from_hub(identity, config, options) if identity.revision else {}


def collect(config: Mapping[str, Any], read: ReadFile) -> dict[str, str]:
    """Read the files that a configuration names, and those that they import, breadth first."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    pending = list(named_modules(config))
    while pending and len(seen) < MOST_FILES:
        module = pending.pop(0)
        for name in (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py"):
            if name in seen or len(seen) >= MOST_FILES:
                continue
            seen.add(name)
            content = read(name)
            if content is None or len(content) > LARGEST_FILE:
                continue
            with suppress(UnicodeDecodeError):
                found[name] = text = content.decode("utf-8")
                pending += _imported(module, text, is_package=name.endswith("__init__.py"))
                break
    return found


def named_modules(config: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """The modules that the `auto_map` of a configuration, or of its sub-configurations, names."""
    table = config.get("auto_map")
    for value in table.values() if isinstance(table, Mapping) else ():
        for reference in value if isinstance(value, list) else [value]:
            module = reference.rpartition(".")[0] if isinstance(reference, str) else ""
            if _MODULE.fullmatch(module):
                yield module
    for part in config.values() if depth < _DEEPEST_MAP else ():
        if isinstance(part, Mapping):
            yield from named_modules(part, depth + 1)


def _imported(module: str, text: str, *, is_package: bool) -> Iterator[str]:
    """The modules of a file's relative imports; a name after `import` may be a module, too."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for dots, submodule, names in _RELATIVE.findall(text):
        depth = len(package) - (len(dots) - 1)
        for name in [submodule] if submodule else _IDENTIFIER.findall(names):
            imported = ".".join([*package[:depth], name])
            if depth >= 0 and _MODULE.fullmatch(imported):
                yield imported


def _read_local(home: Path, name: str) -> bytes | None:
    """Read a file of a folder. Symbolic links must stay in it, or in the blobs of its Hub cache."""
    roots = [home, *([home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [])]
    try:
        path = (home / name).resolve()
        if not path.is_file() or not any(path.is_relative_to(root) for root in roots):
            return None
        with path.open("rb") as file:
            return file.read(LARGEST_FILE + 1)
    except (OSError, ValueError, RuntimeError):
        return None


def _from_hub(identity: ModelIdentity, config: Mapping[str, Any], options: InspectOptions) -> dict[str, str]:
    files = HubFiles(ModelRef(identity.id, identity.revision), options)

    def read(name: str) -> bytes | None:
        try:
            return files.read(name, LARGEST_FILE)
        except HubUnavailableError:  # offline and not cached
            return None

    return files.request.run(options, partial(collect, config, read))
