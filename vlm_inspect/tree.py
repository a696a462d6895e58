"""ModuleTree: a model's modules as plain data.

Every builder ends here, and everything after it starts here; nothing behind this line needs torch.

Nodes do not know their own name or place, so modules that are alike are *one* object: the 32 equal
layers of a decoder are 32 names of one node. What is computed once per node is therefore computed
once per kind of layer, and "are these layers alike?" is `is`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from msgspec import Struct, field

Shape = tuple[int, ...]
Scalar = bool | int | float | str | None
Attribute = Scalar | tuple[int, ...]
FusionKind = Literal["scatter", "add", "prepend", "append", "embed"]

INFERRED = "?"
"""What the class name of a module begins with whose class nobody stated: `?Attention` has what an
attention has. No class of Python can be called so."""
UNKNOWN_CLASS = "unknown class"
"""What is shown of a module whose class nobody stated."""


class ModuleNode(Struct, frozen=True, eq=False, dict=True):
    """One kind of module: its class, what it holds itself, and its children by name.

    Nodes are compared by identity: builders make them through `NodePool`, which gives equal
    modules the same node.
    """

    class_name: str
    detail: str = ""
    """What torch prints between the parentheses: `in_features=1024, out_features=4096, bias=True`."""
    attributes: tuple[tuple[str, Attribute], ...] = ()
    """Public scalar attributes of the module (`eps`, `num_heads`), sorted by name."""
    parameters: tuple[tuple[str, Shape], ...] = ()
    """The parameters that the module holds itself, in order."""
    buffers: tuple[tuple[str, Shape], ...] = ()
    """The persistent buffers that the module holds itself: in a checkpoint, but no parameters."""
    children: tuple[tuple[str, ModuleNode], ...] = ()
    forward_order: tuple[str, ...] = ()
    """Children, own parameters, and functions (activations, and what turns by position) as the class's own
    `forward` names them, in its order; what it names twice is twice among them. Empty where it has no code
    of its own."""
    total: int = 0
    """Parameters of this node and all below, tied ones counted wherever they appear."""

    @property
    def inferred(self) -> bool:
        """Whether its class is unknown, and its class name only says what it must be."""
        return self.class_name.startswith(INFERRED)

    @cached_property
    def _children_by_name(self) -> dict[str, ModuleNode]:
        return dict(self.children)

    @cached_property
    def _attributes_by_name(self) -> dict[str, Attribute]:
        return dict(self.attributes)

    def child(self, name: str) -> ModuleNode | None:
        """The direct child of that name."""
        return self._children_by_name.get(name)

    def attribute(self, *names: str) -> Attribute:
        """The first of these attributes that the module has and that is not None."""
        found = self._attributes_by_name
        return next((found[name] for name in names if found.get(name) is not None), None)

    def shape(self, name: str) -> Shape | None:
        """The shape of the module's own parameter of that name."""
        return dict(self.parameters).get(name)

    def walk(self, path: str = "") -> Iterator[tuple[str, ModuleNode]]:
        """This node and all below, with their paths, parents first."""
        yield path, self
        for name, node in self.children:
            yield from node.walk(join(path, name))

    def parameter_paths(self, path: str = "") -> Iterator[tuple[str, Shape]]:
        """Every parameter of this node and below: its path and shape, in the order torch lists them."""
        for name, shape in self.parameters:
            yield join(path, name), shape
        for name, node in self.children:
            yield from node.parameter_paths(join(path, name))


class FusionOp(Struct, frozen=True):
    """A statement of a model's own code that joins two sequences, as it is written; nothing was run."""

    operation: FusionKind
    target: str
    """The sequence that is joined to: `inputs_embeds`; of `embed`, the table of the text's embeddings."""
    values: tuple[str, ...]
    """The names in what is put there: `image_features`."""
    mask: tuple[str, ...] = ()
    """The names in what says where: `special_image_mask`."""
    sources: tuple[str, ...] = ()
    """The values' names, and those that they were made from in the same function, step by step."""
    where: str = ""
    """Class and method: `LlavaModel.forward`."""
    statement: str = ""


class TokenRead(Struct, frozen=True):
    """A token that a model's code reads from the configuration."""

    name: str
    """As the code calls it: `image_token_id`."""
    key: str
    """As the configuration keeps it: `image_token_index`."""
    number: int | None = None
    """Its number in the vocabulary; None where the configuration names no such token."""


class ForwardInfo(Struct, frozen=True):
    """What the code of a module says that takes text: only of those that join sequences or read tokens."""

    path: str
    joins: tuple[FusionOp, ...] = ()
    tokens: tuple[TokenRead, ...] = ()


class UnusedConfigKey(Struct, frozen=True):
    """A key of config.json that the built classes did not read."""

    path: str
    """Where it stands: `vision_config.dim_embed`."""
    value: str
    """Its value as JSON, cut where it is long."""
    structural: bool = False
    """Whether it states a structure that was not built."""
    built_instead: str = ""
    """What was built in its place: `embed_dim [128, 256, 512, 1024]`; empty where nothing was."""


class Unknowns(Struct, frozen=True):
    """What the builder of a tree could not tell, and why. A live model leaves none."""

    classes: Mapping[str, str] = field(default_factory=dict)
    """Module path → why the classes at it and below are not known; the nearest path above speaks."""
    shapes: Mapping[str, str] = field(default_factory=dict)
    """Parameter path → why its shape is not known. What the tree holds there is no shape of the model."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Field or role of the record → why it cannot be told: `attention_backends`, `lm_head`."""

    def why_class_unknown(self, path: str) -> str:
        """Why the class at a path is not known: what is said of the nearest path above, or in general."""
        while path and path not in self.classes:
            path = path.rpartition(".")[0]
        return self.classes.get(path, "its builder could not tell")


class ModuleTree(Struct, frozen=True):
    """A built model, as data."""

    root: ModuleNode
    ties: tuple[tuple[str, ...], ...] = ()
    """Groups of parameter paths that are one parameter; the first of each group is the one that counts."""
    accessors: Mapping[str, str] = field(default_factory=dict)
    """What the model's own accessors answered, as paths: `get_output_embeddings` → `lm_head`.
    An accessor that the model has not, that failed, or that answered None, is left out. Unchecked:
    transformers' `get_encoder` answers with the model itself where it finds no encoder."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The configuration as the built classes read it, their defaults filled in."""
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Module paths, each with the configuration that the module and all below it were built from, where it
    is not that of the module which holds it: a part's own, whatever its key in `config` is called."""
    attention_backends: tuple[str, ...] = ()
    """Attention kernels that the class says it supports: `flash_attention`, `sdpa`, `flex_attention`."""
    forward_info: tuple[ForwardInfo, ...] = ()
    """What the model's code says of the sequences that it joins, in the order of the tree."""
    notes: tuple[str, ...] = ()
    """What the builder chose that the user should know, a sentence each."""
    unused_config_keys: tuple[UnusedConfigKey, ...] = ()
    """The keys of config.json that the built classes did not read, in its order."""
    missing_modules: Mapping[str, str] = field(default_factory=dict)
    """Paths of modules that stayed empty because a package of theirs is not installed, with the reason in
    a few words. What they would hold is in no count."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries that built it."""
    unknowns: Unknowns = field(default_factory=Unknowns)
    """What its builder could not tell."""
    stored_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of a checkpoint: module path → dtype → bytes of what the module itself holds, scales and other
    tensors of its storage included."""

    def find(self, path: str) -> ModuleNode | None:
        """The node at a path, or None."""
        node: ModuleNode | None = self.root
        for name in path.split(".") if path else ():
            node = node.child(name) if node is not None else None
        return node

    @property
    def total(self) -> int:
        """Parameters of the model, tied ones counted once."""
        return self.root.total - sum(self.tied_surplus())

    def config_at(self, path: str) -> Mapping[str, Any]:
        """The configuration that the module at a path was built from."""
        while path and path not in self.configs:
            path = path.rpartition(".")[0]
        return self.configs.get(path, self.config)

    def tied_surplus(self) -> Iterator[int]:
        """For each path that is tied to an earlier one: the parameters that must not be counted again."""
        shapes = self.shapes_of({path for group in self.ties for path in group})
        for group in self.ties:
            for path in group[1:]:
                yield math.prod(shapes[path])

    def shapes_of(self, paths: set[str]) -> dict[str, Shape]:
        """The shapes of some parameters by their paths; a path that is not a parameter's is left out."""
        shapes = {}
        for path in paths:
            owner, _, name = path.rpartition(".")
            node = self.find(owner)
            shape = node.shape(name) if node is not None else None
            if shape is not None:
                shapes[path] = shape
        return shapes


class NodePool:
    """Makes nodes, and gives equal modules the same node."""

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
    ) -> ModuleNode:
        """The node with these fields; children must come from the same pool."""
        kin = tuple((name, id(child)) for name, child in children)
        # 1, 1.0 and True are equal in Python, and not the same in a module
        kinds = tuple(type(value) for _, value in attributes)
        key = (class_name, detail, attributes, kinds, parameters, buffers, kin, forward_order)
        known = self._nodes.get(key)
        if known is None:
            own = sum(math.prod(shape) for _, shape in parameters)
            total = own + sum(child.total for _, child in children)
            known = ModuleNode(
                class_name, detail, attributes, parameters, buffers, children, forward_order, total
            )
            self._nodes[key] = known
        return known


def join(path: str, name: str) -> str:
    """`model.vision_tower` + `encoder`; the root's path is empty."""
    return f"{path}.{name}" if path else name


def is_below(path: str, ancestor: str) -> bool:
    """Whether a path lies at or below another; everything lies below the root, whose path is empty."""
    return not ancestor or path == ancestor or path.startswith(ancestor + ".")
