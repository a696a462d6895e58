"""Add class names from a repository's source to a header tree.

The headers prove which modules exist, the source names their classes. Where the children or sizes of a module
are not those of the class in the source, its class stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.anatomy.roles.assign_roles import find_roles
from vlm_inspect.anatomy.roles.assignments import owned_parameters
from vlm_inspect.builders.forward.call_order import POSITION_CALL
from vlm_inspect.builders.headers.classes import LIST, MLP, MODULE_CLASS
from vlm_inspect.builders.source.classes import NO_PARAMETERS
from vlm_inspect.builders.source.files import PACKAGE
from vlm_inspect.builders.source.forwards import ForwardReader
from vlm_inspect.builders.source.read import Reading
from vlm_inspect.builders.source.values import (
    ANY_INDEX,
    ANY_NAME,
    CHOSEN_AT_RUN_TIME,
    Choice,
    ClassRef,
    External,
    Instance,
    Parameter,
    Unknown,
    Value,
    word_set,
)
from vlm_inspect.builders.transformers.module_tree import POSITION
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import (
    Attribute,
    ForwardInfo,
    ModuleNode,
    ModuleTree,
    NodePool,
    Unknowns,
    ancestors,
    is_below,
    join,
)

_NOT_FOUND = "the code that was read does not make it"
_OTHER = "its tensors are not those of the class in the code"
_CHOSEN = "chosen when it runs"
_CONTRADICTED = "the class in the code contradicts the purpose that its tensors show"
_LONGEST_TEXT = 200
_LARGEST_PARAMETERLESS = 20
_DEEPEST_PARAMETERLESS = 3
_LATER_LAYER = re.compile(r"(^|\.)[1-9]\d*(\.|$)")
_LEAVES = word_set("Linear Embedding LayerNorm RMSNorm GroupNorm Conv1d Conv2d Conv3d")
_CONTAINERS = word_set("Module ModuleDict ModuleList Sequential")
# proven by shapes: these have precedence over the source
_PROVEN = word_set(
    "in_features out_features num_embeddings embedding_dim in_channels out_channels kernel_size "
    "normalized_shape nf nx num_features num_channels"
)

Children = tuple[tuple[str, ModuleNode], ...]


def overlay(tree: ModuleTree, reading: Reading) -> ModuleTree:
    """The tree with the class names that the source proves, and the reasons where it proves none.

    No part of the model that the headers show is lost. If the source's order of a part's modules would hide it,
    the part keeps the order of the headers; if its class names would, they are left out.
    """
    layer = _Overlay()
    named = _named(tree, reading, layer)
    while "" not in layer.refused and (lost := _lost_parts(tree, named)):
        if not lost <= layer.in_header_order:
            layer = _Overlay(layer.in_header_order | lost, layer.refused)
        elif not lost <= layer.refused:
            layer = _Overlay(layer.in_header_order, layer.refused | lost)
        else:
            layer = _Overlay(refused=frozenset({""}))
        named = _named(tree, reading, layer)
    return named


def _lost_parts(tree: ModuleTree, named: ModuleTree) -> frozenset[str]:
    """The paths of the parts that have another role, or none, with the names of the source.

    Another role counts as an improvement if it comes from a class name, which only the source can prove.
    """
    before, after = find_roles(tree), find_roles(named)
    owners = {path: each for each in after for path in each.paths}
    counts = dict(zip(after, owned_parameters(named, [each.paths for each in after]), strict=True))
    lost = set()
    for part, count in zip(before, owned_parameters(tree, [each.paths for each in before]), strict=True):
        for path in part.paths if part.role is not Role.OTHER else ():
            owner = next((owners[at] for at in ancestors(path) if at in owners), None)
            if owner is None:  # it may be split
                pieces = (each for each in after if each.role is part.role and is_below(each.paths[0], path))
                is_preserved = sum(counts[each] for each in pieces) >= count
            else:
                is_preserved = owner.role is part.role or owner.detail.startswith("the class name")
            if not is_preserved:
                lost.add(path)
    return frozenset(lost)


def _named(tree: ModuleTree, reading: Reading, layer: _Overlay) -> ModuleTree:
    layer.forwards = reading.forwards
    layer.forwards = reading.forwards
    root = layer.node(tree.root, reading.model, "", {})
    fields = dict(tree.unknowns.fields)
    if reading.supports is not None:
        fields.pop("attention_backends", None)
    classes = {**({} if layer.unknown.get("") else {"": _NOT_FOUND}), **layer.unknown}
    unknowns = Unknowns(classes, tree.unknowns.shapes, fields)
    return replace(
        tree,
        root=root,
        attention_backends=reading.supports or (),
        forward_info=tuple(layer.fusion),
        unknowns=unknowns,
    )


class _Overlay(Struct):
    """Builds the nodes, and collects the reasons for unknown class names."""

    in_header_order: frozenset[str] = frozenset()
    """Paths of the modules whose children keep the order of the headers."""
    refused: frozenset[str] = frozenset()
    """Paths of the modules that keep the classes of the headers."""
    pool: NodePool = field(default_factory=NodePool)
    unknown: dict[str, str] = field(default_factory=dict)
    forwards: ForwardReader | None = None
    fusion: list[ForwardInfo] = field(default_factory=list)

    def node(self, node: ModuleNode, instance: Value, path: str, replaced: Mapping[str, str]) -> ModuleNode:
        """A node of the header tree, with the class of its instance in the source."""
        if path in self.refused:
            instance = Unknown(_CONTRADICTED)
        if isinstance(instance, Choice):
            modules = filter(_is_module, instance.options)
            fitting = [each for each in modules if _matches(node, each, exactly=True)]
            instance = fitting[0] if len(fitting) == 1 else instance
        if not _is_module(instance) or not _matches(node, instance):
            self.unknown.setdefault(path, _OTHER if _is_module(instance) else _unknown_reason(instance))
            return self._without_class_names(node)
        class_name = instance.class_name
        plain = isinstance(instance.made_by, External) and class_name in _CONTAINERS
        if plain and node.inferred and node.class_name not in {LIST, MODULE_CLASS, MLP}:
            self.unknown.setdefault(path, f"a plain {class_name}: the code gives it no class of its own")
            class_name = node.class_name  # more specific than a plain container
        self._read_fusion(instance, path)
        children = self._ordered_children(node, instance, path, {**replaced, **instance.replaced})
        return self._changed(
            node,
            class_name=class_name,
            detail=_node_detail(node, instance),
            attributes=_node_attributes(node, instance),
            children=children,
            forward_order=() if self._is_in_header_order(path) else self._forward_order(instance, node, children),
        )

    def _read_fusion(self, instance: Instance, path: str) -> None:
        """Of numbered modules only the first is read: a stack has many layers of one class."""
        if self.forwards is not None and not _LATER_LAYER.search(path):
            found = self.forwards.fusion(instance, path)
            self.fusion += [found] if found is not None else []

    def _forward_order(self, instance: Instance, node: ModuleNode, children: Children) -> tuple[str, ...]:
        members = {name for name, _ in (*children, *node.parameters)}
        return self.forwards.order(instance, members) if self.forwards is not None and len(members) > 1 else ()

    def _is_in_header_order(self, path: str) -> bool:
        return any(at in self.in_header_order for at in ancestors(path))

    def _ordered_children(
        self, node: ModuleNode, instance: Instance, path: str, replaced: Mapping[str, str]
    ) -> Children:
        children = tuple(self._children(node, instance, path, replaced))
        if not self._is_in_header_order(path):
            return children
        position = {name: place for place, (name, _) in enumerate(node.children)}
        return tuple(sorted(children, key=lambda child: position.get(child[0], len(position))))

    def _children(
        self, node: ModuleNode, instance: Instance, path: str, replaced: Mapping[str, str]
    ) -> Iterator[tuple[str, ModuleNode]]:
        """The children in the order of the source, with modules without parameters between them."""
        held = dict(node.children)
        for name, value in _modules_of(instance):
            if name in held:
                option = Choice.of(instance.named(name), CHOSEN_AT_RUN_TIME)
                yield name, self._child(held.pop(name), name, option, path, replaced)
            elif _is_parameterless(value):
                yield name, self._parameterless_node(value)
            elif _is_module(value) and POSITION_CALL.search(value.class_name):  # its tables are not stored
                yield name, self.pool.node(value.class_name, attributes=_plain_attributes(value))
        filler, index = _parameterless_example(instance), 0
        for name, child in held.items():
            if filler is not None and name.isdecimal():
                gap = range(index, min(int(name), index + _LARGEST_PARAMETERLESS))
                yield from ((str(between), self._parameterless_node(filler)) for between in gap)
                index = int(name) + 1
            options = instance.named(name)
            if options or name in replaced or not _is_one_level_deeper(child, instance):
                missing = Unknown(instance.incomplete_reason or _NOT_FOUND)
                value = Choice.of(options, CHOSEN_AT_RUN_TIME) if options else missing
                yield name, self._child(child, name, value, path, replaced)
            else:
                at = join(path, name)
                self.unknown.setdefault(at, f"{instance.class_name} holds no such module any more")
                inner = tuple(self._children(child, instance, at, replaced))
                yield name, self._changed(child, children=inner)

    def _child(self, child: ModuleNode, name: str, value: Value, path: str, replaced: Mapping[str, str]) -> ModuleNode:
        value = Unknown(replaced[name]) if name in replaced else value
        return self.node(child, value, join(path, name), replaced)

    def _parameterless_node(self, instance: Instance) -> ModuleNode:
        sizes = instance.attributes if isinstance(instance.made_by, External) else {}
        return self.pool.node(
            instance.class_name,
            detail=", ".join(f"{name}={value!r}" for name, value in sizes.items() if _is_plain(value)),
            attributes=_plain_attributes(instance),
            children=tuple((name, self._parameterless_node(value)) for name, value in _modules_of(instance)),
        )

    def _without_class_names(self, node: ModuleNode) -> ModuleNode:
        children = tuple((name, self._without_class_names(child)) for name, child in node.children)
        return self._changed(node, children=children)

    def _changed(self, node: ModuleNode, **changes: Any) -> ModuleNode:
        fields = ("class_name", "detail", "attributes", "parameters", "buffers", "children", "forward_order")
        return self.pool.node(**{name: changes.get(name, getattr(node, name)) for name in fields})


def _unknown_reason(instance: Value) -> str:
    if isinstance(instance, Choice):
        names = sorted({each.class_name for each in instance.options if isinstance(each, Instance)})
        return f"{_CHOSEN}: {' or '.join(names)}" if names else _CHOSEN
    return instance.reason if isinstance(instance, Unknown) else _NOT_FOUND


def _is_one_level_deeper(child: ModuleNode, instance: Instance) -> bool:
    """Whether a child is a level that the installed version of the class no longer has (`vision_model`)."""
    names = {name for name, value in _modules_of(instance) if not _is_parameterless(value)}
    library = isinstance(instance.made_by, ClassRef) and instance.made_by.scope.name.startswith(PACKAGE)
    inner = {name for name, node in child.children if node.total}
    return library and bool(inner) and inner <= names


def _node_attributes(node: ModuleNode, instance: Instance) -> tuple[tuple[str, Attribute], ...]:
    shaped = dict(node.attributes)
    proven = {name: shaped[name] for name in _PROVEN & set(shaped)}
    return tuple(sorted({**shaped, **dict(_plain_attributes(instance)), **proven}.items()))


def _plain_attributes(instance: Instance) -> tuple[tuple[str, Attribute], ...]:
    plain = sorted((name, value) for name, value in instance.attributes.items() if _is_plain(value))
    return tuple(
        (name, value)
        for name, value in plain
        if not (name.startswith("_") or ANY_NAME in name or name == "training" or POSITION.search(name))
    )


def _is_plain(value: Value) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    whole = isinstance(value, tuple) and all(type(each) is int for each in value)
    return whole or isinstance(value, (bool, int, float))


def _node_detail(node: ModuleNode, instance: Instance) -> str:
    eps = instance.attributes.get("eps")
    is_torch_norm = instance.class_name == "LayerNorm" and isinstance(instance.made_by, External)
    stated = is_torch_norm and isinstance(eps, float)
    return f"{node.detail}, eps={eps}, elementwise_affine=True" if stated else node.detail


def _is_module(value: Value) -> bool:
    return isinstance(value, Instance) and value.is_module


def _modules_of(instance: Instance) -> list[tuple[str, Value]]:
    """The attributes of an instance that are or may be modules."""
    return [
        (name, value)
        for name, value in instance.attributes.items()
        if ANY_NAME not in name and (isinstance(value, (Unknown, Choice)) or _is_module(value))
    ]


def _is_parameterless(value: Value) -> bool:
    """Whether a module has no parameters and is as small as an activation."""
    return _parameterless_size(value, 0) <= _LARGEST_PARAMETERLESS


def _parameterless_example(instance: Instance) -> Instance | None:
    """The only module without parameters among those that a list of unknown length may hold."""
    options = instance.attributes.get(ANY_INDEX)
    options = options.options if isinstance(options, Choice) else ()
    found = [option for option in options if _is_parameterless(option)]
    return found[0] if len(found) == 1 else None


def _parameterless_size(value: Value, depth: int) -> int:
    """The number of modules in a module without parameters; beyond the limit if it may have parameters."""
    beyond = _LARGEST_PARAMETERLESS + 1
    if not isinstance(value, Instance) or depth > _DEEPEST_PARAMETERLESS or value.incomplete_reason:
        return beyond
    held = _modules_of(value)
    if isinstance(value.made_by, External) and not held:
        return 1 if value.class_name in NO_PARAMETERS else beyond
    owns = value.has_patterns or any(isinstance(each, Parameter) for each in value.attributes.values())
    if owns or len(held) > _LARGEST_PARAMETERLESS:
        return beyond
    return 1 + sum(_parameterless_size(each, depth + 1) for _, each in held)


def _matches(node: ModuleNode, instance: Instance, *, exactly: bool = False) -> bool:
    """Whether an instance of the source can be the module of a node."""
    if node.total and _is_parameterless(instance):
        return False
    if isinstance(instance.made_by, External) and instance.class_name in _LEAVES:
        return not node.children and _same_sizes(node, instance)
    known = {name for name, value in _modules_of(instance) if not _is_parameterless(value)}
    held = {name for name, child in node.children if child.total}
    if exactly:
        certain = {name for name in known if _is_module(instance.attributes[name])}
        return certain <= held and all(name in known or instance.named(name) for name in held)
    if not held or held & known or instance.has_patterns or instance.incomplete_reason:
        return True
    return any({name for name, _ in child.children} & known for _, child in node.children)


def _same_sizes(node: ModuleNode, instance: Instance) -> bool:
    pairs = ((value, instance.attributes.get(name)) for name, value in node.attributes if name in _PROVEN)
    return all(one == other or type(one) is not int or type(other) is not int for one, other in pairs)
