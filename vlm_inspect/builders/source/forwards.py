"""What `forward` does in classes whose source is read as text: the order of use, and how sequences are fused.

The same readers serve live classes (`builders/forward`); here they get syntax trees of the repository and of
the installed transformers. Nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from vlm_inspect.builders.forward.call_order import ClassSource, Module, UndecidedError
from vlm_inspect.builders.forward.fusion_ops import TEXT_PARAMETERS, TOKEN, joins_in
from vlm_inspect.builders.source.classes import bases_of
from vlm_inspect.builders.source.files import PACKAGE
from vlm_inspect.builders.source.machine import Machine, TooLongError
from vlm_inspect.builders.source.scope import Scope
from vlm_inspect.builders.source.values import (
    Choice,
    ClassRef,
    External,
    Instance,
    Items,
    Table,
    Unknown,
    Value,
    Values,
)
from vlm_inspect.core.module_tree import (
    POSITION_ARGUMENT,
    ForwardInfo,
    FusionOp,
    ModuleNode,
    ModuleTree,
    NodePool,
    TokenRead,
)

_MACHINERY = (f"{PACKAGE}.modeling_", f"{PACKAGE}.generation", f"{PACKAGE}.utils")  # of all models
_NO_METHODS = frozenset({"staticmethod", "classmethod", "property"})
# of all functions that one `forward` reaches; Phi-3-vision has 3,000
_MOST_SYNTAX_NODES = 20_000
_MOST_CONFIGS = 50


class ForwardReader:
    """Reads the `forward` of instances; the source of each class is read once."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._sources: dict[int, ClassSource] = {}
        self._fusion: dict[int, tuple[tuple[FusionOp, ...], tuple[str, ...]]] = {}

    def order(self, instance: Instance, members: Collection[str]) -> tuple[str, ...]:
        """The names that `forward` uses, in order; empty for whole models, and if its class is not read."""
        made_by = instance.made_by
        if not isinstance(made_by, ClassRef) or _is_whole_model(self._bases(made_by)):
            return ()
        return _order(self._source(made_by), members, Module(instance, self._attribute))

    def installed_order(self, node: ModuleNode) -> tuple[str, ...]:
        """The order of use of a module whose class has the name and the structure of an installed one; else empty."""
        home = self._machine.program.module_declaring(node.class_name)
        found = self._machine.name(home, node.class_name) if isinstance(home, Scope) else home
        members = {name for name, _ in (*node.children, *node.parameters)}
        if not isinstance(found, ClassRef) or not members <= set(_constructed(self._bases(found))):
            return ()
        return _order(self._source(found), members, Module(node, _node_attribute))

    def fusion(self, instance: Instance, path: str) -> ForwardInfo | None:
        """The sequence operations of a module whose `forward` takes text; None if it has none."""
        made_by = instance.made_by
        if not isinstance(made_by, ClassRef):
            return None
        key = id(made_by.node)
        if key not in self._fusion:
            self._fusion[key] = self._operations(made_by)
        joins, names = self._fusion[key]
        return (
            ForwardInfo(path, joins, tuple(self._token(instance, name) for name in names)) if joins or names else None
        )

    def _bases(self, what: ClassRef) -> Values:
        try:
            return bases_of(self._machine, what)
        except (TooLongError, RecursionError):
            return [what]

    def _source(self, what: ClassRef) -> ClassSource:
        key = id(what.node)
        if key not in self._sources:
            methods = _methods(self._bases(what))
            self._sources[key] = ClassSource(methods.get)
        return self._sources[key]

    def _operations(self, what: ClassRef) -> tuple[tuple[FusionOp, ...], tuple[str, ...]]:
        """The operations that `forward` reaches, and the names of the token ids that it reads."""
        forward = self._source(what).find("forward")
        reached = list(self._reached(what, forward)) if forward is not None else []
        if forward is None or not (
            TEXT_PARAMETERS.intersection(_parameters(forward))
            or (_is_whole_model(self._bases(what)) and any(_reads_text(function) for _, function in reached))
        ):
            return (), ()
        joins: list[FusionOp] = []
        with suppress(RecursionError):  # an expression of very many terms
            joins = [each for where, function in reached for each in joins_in(function, where)]
        names = {name for _, function in reached for name in _names(function) if TOKEN.search(name)}
        return tuple(joins), tuple(sorted(names))

    def _reached(self, what: ClassRef, forward: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
        """`forward`, and the methods of its class and functions of its file that it uses, each once."""
        find = self._source(what).find
        pending, seen, left = [(f"{what.name}.forward", forward)], {"forward"}, _MOST_SYNTAX_NODES
        while pending:
            where, function = pending.pop(0)
            left -= sum(1 for _ in ast.walk(function))
            if left < 0:
                return
            yield where, function
            for name in dict.fromkeys(_names(function)):
                method = find(name)
                found = method or self._function(what, name)
                if found is not None and name not in seen:
                    seen.add(name)
                    pending.append((f"{what.name}.{name}" if method else name, found))

    def _function(self, what: ClassRef, name: str) -> ast.FunctionDef | None:
        """A function that the class's file defines."""
        statements, _ = what.scope.defining_statements(name)
        return next((each for each in statements if isinstance(each, ast.FunctionDef)), None)

    def _token(self, instance: Instance, name: str) -> TokenRead:
        """A token id that the code reads, with its value in the instance's configuration or a part of it."""
        pending = [instance.attributes.get("config")]
        seen: set[int] = set()
        key = name
        while pending and len(seen) < _MOST_CONFIGS:
            config = pending.pop(0)
            attributes = config.attributes if isinstance(config, Instance) else config
            if not isinstance(attributes, dict) or id(config) in seen:
                continue
            seen.add(id(config))
            number = self._value(config, name)
            aliases = self._value(config, "attribute_map")
            key = str(aliases.get(name, key)) if isinstance(aliases, Table) else key
            if type(number) is int:
                return TokenRead(name, key, number)
            pending += [part for part in attributes.values() if isinstance(part, (Instance, Table))]
        return TokenRead(name, key)

    def _value(self, holder: Value, name: str) -> Value:
        try:
            return self._machine.attribute(holder, name)
        except (TooLongError, RecursionError):
            return Unknown()

    def _attribute(self, holder: Any, name: str) -> Any:
        """An attribute of an instance or configuration, for a condition. Raises UndecidedError."""
        value = self._value(holder, name)
        inexact = isinstance(value, (Items, Table)) and not value.exact
        if inexact or isinstance(value, (Unknown, Choice, External)):
            raise UndecidedError
        return value


def with_installed_forwards(tree: ModuleTree, machine: Machine) -> ModuleTree:
    """The tree with the order of use of the modules whose class is one of the installed transformers."""
    reader, pool = ForwardReader(machine), NodePool()
    changed: dict[ModuleNode, ModuleNode] = {}

    def node(old: ModuleNode) -> ModuleNode:
        if old not in changed:
            is_known = not old.inferred and len(old.children) > 1
            changed[old] = pool.node(
                old.class_name,
                detail=old.detail,
                attributes=old.attributes,
                parameters=old.parameters,
                buffers=old.buffers,
                children=tuple((name, node(child)) for name, child in old.children),
                forward_order=old.forward_order or (reader.installed_order(old) if is_known else ()),
            )
        return changed[old]

    return replace(tree, root=node(tree.root))


def _order(source: ClassSource, members: Collection[str], module: Module) -> tuple[str, ...]:
    """The names that `forward` uses, after its arguments that may hold positions: a bias, or angles."""
    forward = source.find("forward")
    arguments = filter(POSITION_ARGUMENT.search, _parameters(forward)) if forward is not None else ()
    return (*arguments, *source.order(members, module))


def _constructed(bases: Values) -> Iterator[str]:
    """The attributes that the constructors of a class and its bases set."""
    for base in bases:
        for method in base.node.body if isinstance(base, ClassRef) else ():
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                stores = (each for each in ast.walk(method) if isinstance(each, ast.Attribute))
                yield from (each.attr for each in stores if isinstance(each.ctx, ast.Store))


def _node_attribute(holder: Any, name: str) -> Any:
    """A scalar attribute of a node, for a condition. Raises UndecidedError."""
    value = holder.attribute(name) if isinstance(holder, ModuleNode) else None
    if value is None:
        raise UndecidedError
    return value


def _is_whole_model(bases: Values) -> bool:
    return any(isinstance(base, External) and base.name == "PreTrainedModel" for base in bases)


def _methods(bases: Values) -> Mapping[str, ast.FunctionDef]:
    """The methods of a class and its bases; of one name the first."""
    found: dict[str, ast.FunctionDef] = {}
    read = (base for base in bases if isinstance(base, ClassRef) and not base.scope.name.startswith(_MACHINERY))
    for base in read:
        for each in base.node.body:
            if isinstance(each, ast.FunctionDef) and not _NO_METHODS.intersection(
                map(ast.unparse, each.decorator_list)
            ):
                found.setdefault(each.name, each)
    return found


def _decorator(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _parameters(function: ast.FunctionDef) -> list[str]:
    arguments = function.args
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _reads_text(function: ast.FunctionDef) -> bool:
    """Whether it takes the text from a dict of all inputs: `data["input_ids"]`."""
    return any(isinstance(node, ast.Constant) and node.value in TEXT_PARAMETERS for node in ast.walk(function))


def _names(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
