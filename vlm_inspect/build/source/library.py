"""The source of the installed transformers, found and read as text. The package is not imported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from vlm_inspect.build.source.text import LARGEST_FILE

PACKAGE = "transformers"
MOST_SEARCHES = 20
"""Classes that are looked for in all folders; beyond, only in those that they are named for."""
_LETTERS = re.compile(r"[^a-z0-9]")
_NAME = re.compile(r"[A-Za-z_]\w{0,200}")


class Library:
    """Files of the installed package, by the dotted names of their modules."""

    def __init__(self) -> None:
        self._searches = 0

    @cached_property
    def root(self) -> Path | None:
        """Where the package lies; None where it is not installed. Asks for the top package alone."""
        try:
            spec = find_spec(PACKAGE)
        except (ImportError, ValueError):
            return None
        return Path(spec.origin).parent if spec is not None and spec.origin else None

    def text(self, module: str) -> tuple[str, bool] | None:
        """The source of a module, and whether it is a package's; None where there is none."""
        parts = module.split(".")
        if self.root is None or parts[0] != PACKAGE or not all(_NAME.fullmatch(part) for part in parts):
            return None
        at = self.root.joinpath(*parts[1:])
        for path, is_package in ((at.with_suffix(".py"), False), (at / "__init__.py", True)):
            found = _read(path) if len(parts) > 1 else None
            if found is not None:
                return found, is_package
        return None

    def module_of(self, name: str) -> str | None:
        """The module that declares a class of that name: by the folder that the name begins with."""
        if self.root is None or not _NAME.fullmatch(name):
            return None
        declares = re.compile(rf"^(class {name}\b|def {name}\b|{name} = )", re.MULTILINE)
        prefix = "configuration" if name.endswith("Config") else "modeling"
        for folder in self._folders(name):
            for path in sorted(folder.glob(f"{prefix}_*.py")):
                text = _read(path)
                if text is not None and name in text and declares.search(text):
                    return f"{PACKAGE}.models.{folder.name}.{path.stem}"
        return None

    def _folders(self, name: str) -> Iterator[Path]:
        """The models' folders, those whose name the class's begins with first, the longest of them first."""
        lowered = _LETTERS.sub("", name.lower())
        models = self.root / "models" if self.root else Path()
        folders = sorted(path for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
        named = [path for path in folders if lowered.startswith(_LETTERS.sub("", path.name))]
        yield from sorted(named, key=lambda path: -len(path.name))
        self._searches += 1
        if self._searches <= MOST_SEARCHES:
            yield from (path for path in folders if path not in named)


def _read(path: Path) -> str | None:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FILE:
            return None
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
