"""The files that may be read: the repository's, given as text, and those of the installed transformers.

Nothing is imported. A file becomes a `Scope`: the statements that define each of its names.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import Foreign, Unknown, Value

PACKAGE = "transformers"
LARGEST_FILE = 2 * 1024 * 1024
"""Characters of one source file; the longest of transformers has a tenth of it."""
MOST_FILES = 150
"""Files that are parsed for one model, those of transformers included."""
MOST_SEARCHES = 20
"""Classes that are looked for in all folders of transformers; beyond, only in those of a matching name."""

# base classes of transformers whose constructors are known, and files that hold no modules: not read
_ROOTS = {"PreTrainedModel", "PretrainedConfig", "PreTrainedConfig", "GenerationMixin", "ModelOutput"}
_NOT_READ = {"modeling_utils", "generation", "utils", "cache_utils", "file_utils", "integrations"}
_NAME = re.compile(r"[A-Za-z_]\w{0,200}")


class UnreadableError(Exception):
    """The text cannot be parsed; the message says why."""


def parse(text: str) -> ast.Module:
    """The syntax tree of a source file. Raises UnreadableError."""
    if len(text) > LARGEST_FILE:
        raise UnreadableError(f"longer than {LARGEST_FILE:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes, `is` with a literal
            return ast.parse(text)
    except SyntaxError as error:
        place = f"in line {error.lineno}" if error.lineno else "that this version reads"
        raise UnreadableError(f"no Python {place}") from None
    except (RecursionError, MemoryError):
        raise UnreadableError("nested too deep") from None
    except ValueError:  # a NUL, a lone surrogate
        raise UnreadableError("no text") from None


class Program:
    """Source files by the dotted names of their modules; those of the repository begin with a dot."""

    def __init__(self, code: Mapping[str, str]) -> None:
        self._code = code
        self._scopes: dict[str, Scope | Unknown] = {}
        self._homes: dict[str, str | None] = {}
        self._searches = 0

    def scope(self, module: str) -> Scope | Unknown:
        """The names of a module, or why it cannot be read."""
        if module not in self._scopes:
            self._scopes[module] = self._load(module)
        return self._scopes[module]

    def home_of(self, name: str) -> Scope | Unknown:
        """The module of transformers that declares the class of a model or of a configuration."""
        if name not in self._homes:
            self._homes[name] = self._module_of(name)
        module = self._homes[name]
        return self.scope(module) if module else Unknown(f"{name} is not in the installed transformers")

    def absolute(self, scope: Scope, statement: ast.ImportFrom) -> str | None:
        """The module that an import names; None where it would leave the repository or the package."""
        if not statement.level:
            return statement.module or ""
        package = scope.name.split(".") if scope.is_package else scope.name.split(".")[:-1]
        count = len(package) - (statement.level - 1)
        if count < 1:
            return None
        return ".".join([*package[:count], *([statement.module] if statement.module else [])])

    def outside(self, module: str, name: str) -> Value | None:
        """What an imported name is where its module is not read; None where it is read."""
        top, *parts = module.split(".")
        if top != PACKAGE:
            return Foreign(f"{module}.{name}") if top else None
        if name in _ROOTS:
            return Foreign(f"{PACKAGE}.{name}")
        return Foreign(f"{module}.{name}") if parts and parts[0] in _NOT_READ else None

    def _load(self, module: str) -> Scope | Unknown:
        if len(self._scopes) >= MOST_FILES:
            return Unknown("the code refers to too many files")
        shown = module.removeprefix(".") or "the repository"
        parts = module.split(".")
        at = "/".join(parts[1:])
        try:
            for path, is_package in ((f"{at}.py", False), (f"{at}/__init__.py".removeprefix("/"), True)):
                text = self._code.get(path) if not parts[0] else self._library_text(parts, path)
                if isinstance(text, str):
                    return Scope.of(module, parse(text), is_package=is_package)
        except UnreadableError as error:
            return Unknown(f"{shown}: {error}")
        return Unknown(f"{shown} was not found")

    # --- the installed transformers ------------------------------------------------------------------

    @cached_property
    def _root(self) -> Path | None:
        try:
            spec = find_spec(PACKAGE)  # of a top-level package: imports nothing
        except (ImportError, ValueError):
            return None
        return Path(spec.origin).parent if spec is not None and spec.origin else None

    def _library_text(self, parts: list[str], path: str) -> str | None:
        fine = self._root and parts[0] == PACKAGE and len(parts) > 1 and all(map(_NAME.fullmatch, parts))
        return _text(self._root / path) if fine and self._root else None

    def _module_of(self, name: str) -> str | None:
        if not _NAME.fullmatch(name):
            return None
        declares = re.compile(rf"^(class {name}\b|def {name}\b|{name} = )", re.MULTILINE)
        prefix = "configuration" if name.endswith("Config") else "modeling"
        for folder in self._folders(name):
            for path in sorted(folder.glob(f"{prefix}_*.py")):
                text = _text(path)
                if text is not None and name in text and declares.search(text):
                    return f"{PACKAGE}.models.{folder.name}.{path.stem}"
        return None

    def _folders(self, name: str) -> Iterator[Path]:
        """The folders of models, those whose name the class's name begins with first, longest first."""
        lowered = name.lower().replace("_", "")
        models = self._root / "models" if self._root else Path()
        folders = sorted(path for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
        named = [path for path in folders if lowered.startswith(path.name.replace("_", ""))]
        yield from sorted(named, key=lambda path: -len(path.name))
        self._searches += 1
        if self._searches <= MOST_SEARCHES:
            yield from (path for path in folders if path not in named)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= LARGEST_FILE else None
    except (OSError, UnicodeDecodeError):
        return None
