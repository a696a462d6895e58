"""Classes that are stated of a repo's code, laid over a header tree: no code is there to be read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.checkpoint import DeclaredClasses
from vlm_inspect.tree import Attribute, ModuleNode, ModuleTree, NodePool, Unknowns, join

_NOT_STATED = "no class is stated of it"
_PRINTED = re.compile(r"(?P<name>\w+)\((?P<detail>.*)\)")
_NAMED_VALUE = re.compile(r"(\w+)=([^,()]+)")


def with_declared_classes(tree: ModuleTree, stated: DeclaredClasses, config: Mapping[str, Any]) -> ModuleTree:
    """The tree with the stated classes, and with the stated modules that hold no tensor.

    `config` says which class it is where a key of it chooses; where it does not, the class is unknown.
    """
    layer = _Layer(stated.classes, config)
    root = layer.node(tree.root, "", "")
    fields = dict(tree.unknowns.fields)
    if stated.supports is not None:
        fields.pop("attention_backends", None)
    unknowns = Unknowns({"": _NOT_STATED, **layer.unknown}, tree.unknowns.shapes, fields)
    return replace(tree, root=root, attention_backends=stated.supports or (), unknowns=unknowns)


class _Layer(Struct):
    """One laying over: the nodes that it makes, and why classes are unknown where they are."""

    classes: Mapping[str, str | Mapping[str, str]]
    config: Mapping[str, Any]
    unknown: dict[str, str] = field(default_factory=dict)
    _pool: NodePool = field(default_factory=NodePool)

    def node(self, node: ModuleNode, path: str, pattern: str) -> ModuleNode:
        """A node of the header tree under its stated class; `pattern` is its path, with `*` for numbers."""
        class_name, detail, attributes = self._class(path, pattern) or (node.class_name, "", {})
        return self._pool.node(
            class_name,
            detail=detail or node.detail,
            attributes=tuple(sorted((attributes | dict(node.attributes)).items())),
            parameters=node.parameters,
            buffers=node.buffers,
            children=tuple(self._children(node, path, pattern)),
        )

    def _children(self, node: ModuleNode, path: str, pattern: str) -> Iterator[tuple[str, ModuleNode]]:
        """As they are stated, those without tensors among them; then, as they are held, the others."""
        held = dict(node.children)
        for name in self._stated_in(pattern):
            if name in held:
                yield name, self.node(held.pop(name), join(path, name), join(pattern, name))
            elif name != "*":
                yield name, self._bare(join(path, name), join(pattern, name))
        for name, child in held.items():
            any_number = "*" if name.isdecimal() and join(pattern, "*") in self.classes else name
            yield name, self.node(child, join(path, name), join(pattern, any_number))

    def _stated_in(self, pattern: str) -> Iterator[str]:
        for stated in self.classes:
            above, _, name = stated.rpartition(".")
            if above == pattern:
                yield name

    def _bare(self, path: str, pattern: str) -> ModuleNode:
        found = self._class(path, pattern)
        if found is None:
            raise ValueError(f"{pattern} holds no tensor, and its class is one of several")
        class_name, detail, attributes = found
        return self._pool.node(class_name, detail=detail, attributes=tuple(sorted(attributes.items())))

    def _class(self, path: str, pattern: str) -> tuple[str, str, dict[str, Attribute]] | None:
        """Name, detail and attributes of the class that is stated of a module; None where none is."""
        stated = self.classes.get(pattern)
        if isinstance(stated, Mapping):
            options = {value: printed for value, printed in stated.items() if value != "key"}
            stated = options.get(str(self.config.get(stated["key"])))
            if stated is None:
                names = " or ".join(sorted(_parsed(printed)[0] for printed in options.values()))
                self.unknown[path] = f"chosen when it runs: {names}"
        return None if stated is None else _parsed(stated)


def _parsed(printed: str) -> tuple[str, str, dict[str, Attribute]]:
    """What torch prints of a module, taken apart: `GELU(approximate='none')`."""
    match = _PRINTED.fullmatch(printed)
    if match is None:
        raise ValueError(f"not as torch prints a module: {printed!r}")
    values = {name: ast.literal_eval(value) for name, value in _NAMED_VALUE.findall(match["detail"])}
    return match["name"], match["detail"], values
