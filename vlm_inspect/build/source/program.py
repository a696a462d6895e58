"""The files that a reading may look into: the repository's, given as text, and transformers' own."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from vlm_inspect.build.source.library import PACKAGE, Library
from vlm_inspect.build.source.scope import Scope
from vlm_inspect.build.source.text import UnreadableError, parse
from vlm_inspect.build.source.values import Foreign, Unknown, Value

MOST_FILES = 150
"""Files that one reading parses, transformers' own included."""

# bases of every model and configuration, whose constructors are known: not read
_ROOTS = frozenset(
    {"PreTrainedModel", "PretrainedConfig", "PreTrainedConfig", "GenerationMixin", "ModelOutput"}
)
_OWN_LIBRARY_PARTS = ("modeling_utils", "generation", "utils", "cache_utils", "file_utils", "integrations")


class Program:
    """Source files by the dotted names of their modules; the repository's begin with a dot."""

    def __init__(self, code: Mapping[str, str], library: Library) -> None:
        self._code = code
        self._library = library
        self._scopes: dict[str, Scope | Unknown] = {}
        self._homes: dict[str, str | None] = {}

    def scope(self, module: str) -> Scope | Unknown:
        """The names of a module, or why it cannot be read."""
        if module not in self._scopes:
            self._scopes[module] = self._load(module)
        return self._scopes[module]

    def home_of(self, name: str) -> Scope | Unknown:
        """The module of transformers that declares a model's or a configuration's class."""
        if name not in self._homes:
            self._homes[name] = self._library.module_of(name)
        module = self._homes[name]
        return self.scope(module) if module else Unknown(f"{name} is not in the installed transformers")

    def absolute(self, scope: Scope, statement: ast.ImportFrom) -> str | None:
        """The module that an import names; None where it would leave the repository or the package."""
        if not statement.level:
            return statement.module or ""
        package = scope.name.split(".") if scope.is_package else scope.name.split(".")[:-1]
        kept = len(package) - (statement.level - 1)
        if kept < 1:
            return None
        return ".".join([*package[:kept], *([statement.module] if statement.module else [])])

    def outside(self, module: str, name: str) -> Value | None:
        """What an import from a module stands for that is not read at all; None where it is read."""
        top = module.partition(".")[0]
        if top == PACKAGE:
            if name in _ROOTS:
                return Foreign(f"{PACKAGE}.{name}")
            part = module.split(".")[1:2]
            return Foreign(f"{module}.{name}") if part and part[0] in _OWN_LIBRARY_PARTS else None
        return None if not top else Foreign(f"{module}.{name}")

    def _load(self, module: str) -> Scope | Unknown:
        if len(self._scopes) >= MOST_FILES:
            return Unknown("the code refers to too many files")
        found = self._own(module) if module.startswith(".") or not module else self._library.text(module)
        shown = module.removeprefix(".") or "the repository"
        if found is None:
            return Unknown(f"{shown} was not found")
        try:
            return Scope.of(module, parse(found[0]), is_package=found[1])
        except UnreadableError as error:
            return Unknown(f"{shown}: {error}")

    def _own(self, module: str) -> tuple[str, bool] | None:
        at = "/".join(module.split(".")[1:])
        for name, is_package in ((f"{at}.py", False), (f"{at}/__init__.py" if at else "__init__.py", True)):
            text = self._code.get(name)
            if isinstance(text, str):
                return text, is_package
        return None
