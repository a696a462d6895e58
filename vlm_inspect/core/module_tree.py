"""ModuleTree: a model's modules as plain data, and the paths of modules.

A node has no name and no path, so equal modules are one object: the 32 equal layers of a decoder are 32 names
of one node. Work per node is therefore work per kind of layer, and layers are compared with `is`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal

from msgspec import Struct, field

Shape = tuple[int, ...]
Scalar = bool | int | float | str | None
Attribute = Scalar | tuple[int, ...]
FusionKind = Literal["scatter", "add", "prepend", "append", "embed"]
Pattern = tuple[str, ...]
"""The parts of a path, with `*` for numbers."""
Numbers = tuple[str, ...]
"""The numbers of a path, in order."""

INFERRED = "?"
"""Prefix of inferred class names: `?Attention` has the tensors of an attention, but its class is not known.
It cannot start the name of a Python class."""
UNKNOWN_CLASS = "unknown class"
"""Shown in place of an inferred class name."""
PARAMETRIZATIONS = "parametrizations"
"""The name that torch gives to the child that computes a module's weights, for example by weight norm."""
POSITION_ARGUMENT = re.compile(r"(^|_)(bias|pos|positions?|rotary|rope|freqs?|cos|sin|alibi|rel)(_|$)")
"""The names of arguments of `forward` that may hold positions."""
_MOST_DIGITS = 10


class ModuleNode(Struct, frozen=True, eq=False, dict=True):
    """One kind of module: its class, its own tensors and attributes, and its children by name.

    Nodes are compared by identity. Builders create them with a `NodePool`: equal modules are one node.
    """

    class_name: str
    detail: str = ""
    """Its `extra_repr`: `in_features=1024, out_features=4096, bias=True`."""
    attributes: tuple[tuple[str, Attribute], ...] = ()
    """Public scalar attributes of the module (`eps`, `num_heads`), sorted by name."""
    parameters: tuple[tuple[str, Shape], ...] = ()
    """Its own parameters, in order."""
    buffers: tuple[tuple[str, Shape], ...] = ()
    """Its own persistent buffers."""
    children: tuple[tuple[str, ModuleNode], ...] = ()
    forward_order: tuple[str, ...] = ()
    """Children, own parameters, and functions (activations, rotary embeddings) in the order in which the
    class's `forward` uses them, with repetitions. Empty if it has no source. If the class was not built,
    arguments that may hold positions come first."""
    decoder_half: tuple[str, ...] = ()
    """Of a codec, the children that only its `decode` uses."""
    total: int = 0
    """Parameters of this node and its descendants; tied ones are counted each time."""

    @property
    def is_leaf(self) -> bool:
        """Whether it has no children, except what computes its own weights."""
        return all(name == PARAMETRIZATIONS for name, _ in self.children)

    @property
    def inferred(self) -> bool:
        """Whether the class name is inferred."""
        return self.class_name.startswith(INFERRED)

    @cached_property
    def _children_by_name(self) -> dict[str, ModuleNode]:
        return dict(self.children)

    @cached_property
    def _attributes_by_name(self) -> dict[str, Attribute]:
        return dict(self.attributes)

    def child(self, name: str) -> ModuleNode | None:
        """Return the direct child of that name."""
        return self._children_by_name.get(name)

    def attribute(self, *names: str) -> Attribute:
        """Return the first of these attributes that is not None."""
        found = self._attributes_by_name
        return next((found[name] for name in names if found.get(name) is not None), None)

    def shape(self, name: str) -> Shape | None:
        """Return the shape of the module's own parameter of that name."""
        return dict(self.parameters).get(name)

    def walk(self, path: str = "") -> Iterator[tuple[str, ModuleNode]]:
        """Yield this node and its descendants with their paths, parents first."""
        yield path, self
        for name, node in self.children:
            yield from node.walk(join(path, name))

    def parameter_paths(self, path: str = "") -> Iterator[tuple[str, Shape]]:
        """Yield path and shape of the parameters of this node and its descendants, in torch's order."""
        for name, shape in self.parameters:
            yield join(path, name), shape
        for name, node in self.children:
            yield from node.parameter_paths(join(path, name))


class FusionOp(Struct, frozen=True):
    """A statement in a model's code that combines two sequences, read from the source without running it."""

    operation: FusionKind
    target: str
    """The sequence that is changed: `inputs_embeds`; of `embed`, the table of token embeddings."""
    values: tuple[str, ...]
    """Names in the inserted expression: `image_features`."""
    mask: tuple[str, ...] = ()
    """Names in the mask: `special_image_mask`."""
    sources: tuple[str, ...] = ()
    """Names of the values, and of the values that they are computed from in the same function."""
    target_sources: tuple[str, ...] = ()
    """Names of the sequence, and of the values that it is computed from in the same function."""
    where: str = ""
    """Class and method: `LlavaModel.forward`."""
    statement: str = ""


class TokenRead(Struct, frozen=True):
    """A token that a model's code reads from the configuration."""

    name: str
    """Its name in the code: `image_token_id`."""
    key: str
    """Its key in the configuration: `image_token_index`."""
    number: int | None = None
    """Its id; None if the configuration has no such token."""


class ForwardInfo(Struct, frozen=True):
    """What the source of a text module's `forward` shows of fused sequences and special tokens."""

    path: str
    joins: tuple[FusionOp, ...] = ()
    tokens: tuple[TokenRead, ...] = ()


class UnusedConfigKey(Struct, frozen=True):
    """A key of config.json that the built classes did not read."""

    path: str
    """Its path: `vision_config.dim_embed`."""
    value: str
    """Its value as JSON, truncated."""
    structural: bool = False
    """Whether it describes a structure that was not built."""
    built_instead: str = ""
    """The value that was built instead: `embed_dim [128, 256, 512, 1024]`; empty if there is none."""


class Unknowns(Struct, frozen=True):
    """What the builder of a tree could not determine, with reasons. Empty for a built class."""

    classes: Mapping[str, str] = field(default_factory=dict)
    """Module path → why the classes at it and below are not known; the nearest ancestor counts."""
    shapes: Mapping[str, str] = field(default_factory=dict)
    """Parameter path → why its shape is not known. The shape in the tree is not that of the model."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Field or role of the record → why it is not known: `attention_backends`, `lm_head`."""

    def why_class_unknown(self, path: str) -> str:
        """Return why the class at a path is not known: the reason at the nearest ancestor."""
        while path and path not in self.classes:
            path = path.rpartition(".")[0]
        return self.classes.get(path, "its builder could not determine it")


class ModuleTree(Struct, frozen=True):
    """A built model, as data."""

    root: ModuleNode
    ties: tuple[tuple[str, ...], ...] = ()
    """Groups of parameter paths that are one parameter; the first of each group is the one that counts."""
    accessors: Mapping[str, str] = field(default_factory=dict)
    """Results of the model's accessors, as paths: `get_output_embeddings` → `lm_head`. Accessors that are
    missing, failed or returned None are left out. Unchecked: transformers' `get_encoder` returns the model
    itself if it finds no encoder."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The configuration as the built classes read it, their defaults filled in."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Module path → the configuration that the module and its descendants were built from, if it differs
    from that of the parent module."""
    tasks: tuple[str, ...] = ()
    """The tasks of transformers' auto classes that have the root's class: `object-detection`."""
    modalities: tuple[str, ...] = ()
    """What transformers says that the root's class reads: `image`, `text`; empty if it does not say."""
    attention_backends: tuple[str, ...] = ()
    """Attention implementations that the class supports: `flash_attention`, `sdpa`, `flex_attention`."""
    forward_info: tuple[ForwardInfo, ...] = ()
    """Fused sequences and special tokens by module, in the order of the tree."""
    notes: tuple[str, ...] = ()
    """Warnings of the builder, one sentence each."""
    unused_config_keys: tuple[UnusedConfigKey, ...] = ()
    """The keys of config.json that the built classes did not read, in its order."""
    missing_modules: Mapping[str, str] = field(default_factory=dict)
    """Module path → why it is empty: a package that it needs is not installed. Its parameters are not
    counted."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that built it."""
    unknowns: Unknowns = field(default_factory=Unknowns)
    """What its builder could not determine."""
    passes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    """Module path → how many times the module that holds it runs it in one forward, for a list each of its
    layers; None if its code leaves that open. Modules that simply run once are left out."""
    stored_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Path of a parameter or buffer → dtype → its bytes in the checkpoint, with quantization scales."""
    uncertain: str | None = None
    """Why the ties of the head depend on a checkpoint that was not available."""

    def find(self, path: str) -> ModuleNode | None:
        """Return the node at a path, or None."""
        node: ModuleNode | None = self.root
        for name in path.split(".") if path else ():
            node = node.child(name) if node is not None else None
        return node

    def modules_at(self, paths: Iterable[str]) -> Iterator[tuple[str, ModuleNode]]:
        """Yield the modules at these paths; bare parameters are left out."""
        return ((path, node) for path in paths if (node := self.find(path)) is not None)

    @property
    def tied_paths(self) -> set[str]:
        """Paths of parameters that are tied to an earlier one."""
        return {path for group in self.ties for path in group[1:]}

    @property
    def total(self) -> int:
        """Parameters of the model, tied ones counted once."""
        return self.root.total - sum(self.duplicate_sizes())

    def config_at(self, path: str) -> Mapping[str, Any]:
        """Return the configuration that the module at a path was built from."""
        while path and path not in self.configs:
            path = path.rpartition(".")[0]
        return self.configs.get(path, self.config)

    def duplicate_sizes(self) -> Iterator[int]:
        """Yield the sizes of parameters that are tied to an earlier one, and must not be counted again."""
        shapes = self.shapes_of({path for group in self.ties for path in group})
        for group in self.ties:
            for path in group[1:]:
                yield math.prod(shapes[path])

    def shapes_of(self, paths: set[str]) -> dict[str, Shape]:
        """Return the shapes of parameters by path, without paths that are not a parameter."""
        shapes = {}
        for path in paths:
            owner, _, name = path.rpartition(".")
            node = self.find(owner)
            if node is not None and (shape := node.shape(name)) is not None:
                shapes[path] = shape
        return shapes


class NodePool:
    """Creates nodes; equal modules get the same node."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[object, ...], ModuleNode] = {}

    def node(  # noqa: PLR0913 - the fields of a node, by name
        self,
        class_name: str,
        *,
        detail: str = "",
        attributes: tuple[tuple[str, Attribute], ...] = (),
        parameters: tuple[tuple[str, Shape], ...] = (),
        buffers: tuple[tuple[str, Shape], ...] = (),
        children: tuple[tuple[str, ModuleNode], ...] = (),
        forward_order: tuple[str, ...] = (),
        decoder_half: tuple[str, ...] = (),
    ) -> ModuleNode:
        """Return the node with these fields; children must come from the same pool."""
        child_ids = tuple((name, id(child)) for name, child in children)
        # 1, 1.0 and True are equal in Python, but not the same attribute
        types = tuple(type(value) for _, value in attributes)
        key = (class_name, detail, attributes, types, parameters, buffers, child_ids, forward_order, decoder_half)
        if key not in self._nodes:
            own = sum(math.prod(shape) for _, shape in parameters)
            total = own + sum(child.total for _, child in children)
            self._nodes[key] = ModuleNode(
                class_name, detail, attributes, parameters, buffers, children, forward_order, decoder_half, total
            )
        return self._nodes[key]


def join(path: str, name: str) -> str:
    """Join `model.vision_tower` and `encoder`; the root's path is empty."""
    return f"{path}.{name}" if path else name


def last_name(path: str) -> str:
    """Return the last name of a path: `merger` of `model.visual.merger`."""
    return path.rpartition(".")[2]


def parent_path(path: str) -> str:
    """Return a path without its last name; empty for a child of the root."""
    return path.rpartition(".")[0]


def is_below(path: str, ancestor: str) -> bool:
    """Whether a path equals another or is below it; the root's path is empty."""
    return not ancestor or path == ancestor or path.startswith(ancestor + ".")


# a comparison needs each path several times; two large models have as many paths
@lru_cache(maxsize=1 << 15)
def split(path: str) -> tuple[Pattern, Numbers]:
    """Return a path with `*` for its numbers, and the numbers."""
    parts = path.split(".")
    # lists are faster than generators, and comparing large models is mostly this
    numbers = [part for part in parts if part.isdigit()]
    return tuple(["*" if part.isdigit() else part for part in parts] if numbers else parts), tuple(numbers)


def text(pattern: Pattern) -> str:
    """Return a pattern as text."""
    return ".".join(pattern)


def numbered(pattern: Pattern, numbers: Numbers) -> str:
    """Return a pattern with the numbers of a path; further numbers remain `*`."""
    left = iter(numbers)
    return text(tuple(next(left, "*") if part == "*" else part for part in pattern))


def folded_path(path: str) -> str:
    """Return `model.layers.*.norm` for `model.layers.7.norm`."""
    return text(split(path)[0])


def is_path_part(name: str) -> bool:
    """Whether a name can be a part of a path, and cannot be confused with a pattern.

    A number must have ASCII digits, since int() does not read all of Unicode's, and not too many of them.
    """
    if name.isdigit():
        return name.isascii() and len(name) <= _MOST_DIGITS
    return bool(name) and "." not in name and name != "*"


def pattern_of(written: str) -> Pattern:
    """The pattern for its text; the root is the empty tuple."""
    return tuple(written.split(".")) if written else ()


def prefixes(pattern: Pattern) -> Iterator[Pattern]:
    """All prefixes of a pattern, from the root to the pattern itself."""
    return (pattern[:length] for length in range(len(pattern) + 1))


def below(pattern: Pattern, prefix: Pattern) -> Iterator[Pattern]:
    """The prefixes of a pattern that are longer than one of its prefixes, the pattern included."""
    return (pattern[:length] for length in range(len(prefix) + 1, len(pattern) + 1))


def ancestors(path: str) -> Iterator[str]:
    """A path and its parents, without the root."""
    while path:
        yield path
        path = path.rpartition(".")[0]
