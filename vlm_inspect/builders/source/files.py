"""The source files that are read: those of the repository, and those of the installed transformers.

Nothing is imported. Each file is parsed into a `Scope`.
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
from vlm_inspect.builders.source.values import External, Unknown, Value

PACKAGE = "transformers"
LARGEST_FILE = 2 * 1024 * 1024  # characters of one source file; the longest one of transformers has a tenth
MOST_FILES = 150  # files that are parsed for one model, including those of transformers
MOST_SEARCHES = 20
"""Classes that are searched in all folders of transformers; later ones only in folders of a matching name."""

# not read: base classes whose constructors are known, and files without modules
_ROOTS = {"PreTrainedModel", "PretrainedConfig", "PreTrainedConfig", "GenerationMixin", "ModelOutput"}
_NOT_READ = {"modeling_utils", "generation", "utils", "cache_utils", "file_utils", "integrations"}
_NAME = re.compile(r"[A-Za-z_]\w{0,200}")


class UnreadableError(Exception):
    """A file that cannot be parsed. The message is the reason."""


def parse(text: str) -> ast.Module:
    """Parse a source file. Raises UnreadableError."""
    if len(text) > LARGEST_FILE:
        raise UnreadableError(f"longer than {LARGEST_FILE:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes, `is` with a literal
            return ast.parse(text)
    except SyntaxError as error:
        reason = "no valid Python" + (f" in line {error.lineno}" if error.lineno else "")
    except (RecursionError, MemoryError):
        reason = "nested too deep"
    except ValueError:  # a NUL, a lone surrogate
        reason = "no text"
    raise UnreadableError(reason)


class Program:
    """Source files by the dotted names of their modules; those of the repository begin with a dot."""

    def __init__(self, code: Mapping[str, str], searches: int = MOST_SEARCHES) -> None:
        self._code = code
        self._most_searches = searches
        self._scopes: dict[str, Scope | Unknown] = {}
        self._homes: dict[str, str | None] = {}
        self._searches = 0

    def scope(self, module: str) -> Scope | Unknown:
        """The names of a module, or the reason why it cannot be read."""
        if module not in self._scopes:
            self._scopes[module] = self._load(module)
        return self._scopes[module]

    def module_declaring(self, name: str) -> Scope | Unknown:
        """The module of transformers that declares a model or configuration class."""
        if name not in self._homes:
            self._homes[name] = self._module_of(name)
        module = self._homes[name]
        return self.scope(module) if module else Unknown(f"{name} is not in the installed transformers")

    def absolute(self, scope: Scope, statement: ast.ImportFrom) -> str | None:
        """The absolute name of an imported module; None if it is outside the repository or package."""
        if not statement.level:
            return statement.module or ""
        package = scope.name.split(".") if scope.is_package else scope.name.split(".")[:-1]
        count = len(package) - (statement.level - 1)
        if count < 1:
            return None
        return ".".join([*package[:count], *([statement.module] if statement.module else [])])

    def external_value(self, module: str, name: str) -> Value | None:
        """The value of a name from a module that is not read; None if the module is read."""
        top, *parts = module.split(".")
        if top != PACKAGE:
            return External(f"{module}.{name}") if top else None
        if name in _ROOTS:
            return External(f"{PACKAGE}.{name}")
        return External(f"{module}.{name}") if parts and parts[0] in _NOT_READ else None

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

    @cached_property
    def _root(self) -> Path | None:
        try:
            spec = find_spec(PACKAGE)  # imports nothing for a top-level package
        except (ImportError, ValueError):
            return None
        return Path(spec.origin).parent if spec is not None and spec.origin else None

    def _library_text(self, parts: list[str], path: str) -> str | None:
        is_valid = self._root and parts[0] == PACKAGE and len(parts) > 1 and all(map(_NAME.fullmatch, parts))
        return _read_text(self._root / path) if is_valid and self._root else None

    def _module_of(self, name: str) -> str | None:
        if not _NAME.fullmatch(name):
            return None
        declares = re.compile(rf"^(class {name}\b|def {name}\b|{name} = )", re.MULTILINE)
        prefix = "configuration" if name.endswith("Config") else "modeling"
        for folder in self._folders(name):
            for path in sorted(folder.glob(f"{prefix}_*.py")):
                text = _read_text(path)
                if text is not None and name in text and declares.search(text):
                    return f"{PACKAGE}.models.{folder.name}.{path.stem}"
        return None

    def _folders(self, name: str) -> Iterator[Path]:
        """The folders of models; first those whose name is a prefix of the class's name, longest first."""
        lowered = name.lower().replace("_", "")
        models = self._root / "models" if self._root else Path()
        folders = sorted(path for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
        named = [path for path in folders if lowered.startswith(path.name.replace("_", ""))]
        yield from sorted(named, key=lambda path: -len(path.name))
        self._searches += 1
        if self._searches <= self._most_searches:
            yield from (path for path in folders if path not in named)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8") if path.stat().st_size <= LARGEST_FILE else None
    except (OSError, UnicodeDecodeError):
        return None
