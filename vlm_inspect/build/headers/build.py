"""The header build: a module tree from the names and shapes of a checkpoint's tensors. No code, no torch.

What a module holds says what it must be, and hardly ever which class it is: such nodes are inferred
(`?Attention`), and the tree's unknowns say why. Parameters are exact wherever the shapes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from vlm_inspect.build.headers.buffers import is_buffer
from vlm_inspect.build.headers.config_parts import attention_sizes, explicit_parts, stated_class
from vlm_inspect.build.headers.expert_sizes import fused_sizes, is_router, router
from vlm_inspect.build.headers.leaf_kinds import Kind, leaf_kind
from vlm_inspect.build.headers.module_kinds import ATTENTION, module_kind
from vlm_inspect.build.headers.packings import Logical
from vlm_inspect.build.headers.quantisation import Quantisation
from vlm_inspect.build.headers.storage import logical
from vlm_inspect.build.headers.ties import tie
from vlm_inspect.errors import BadHeaderError
from vlm_inspect.tensors import TensorHeaders
from vlm_inspect.tree import INFERRED, ModuleNode, ModuleTree, NodePool, Shape, Unknowns, join

NO_CODE = "headers hold tensors, not classes"
"""Why a class is unknown where nothing but headers was read."""
_DEEPEST = 100
_MOST_TENSORS = 1_000_000


class Branch(Struct):
    """A module on its way to become a node: its tensors and the modules in it, by name."""

    own: dict[str, Logical] = field(default_factory=dict)
    inside: dict[str, Branch] = field(default_factory=dict)


def build(config: Mapping[str, Any], headers: TensorHeaders, model: str) -> ModuleTree:
    """The tree of a checkpoint. Raises BadHeaderError where the names are those of no model."""
    tensors = tie(logical(headers, Quantisation.of_config(config)), config)
    reader = _Reader(config, channels_last=headers.metadata.get("format") == "mlx")
    root = reader.node(_branches(tensors.tensors, model), "", "")
    return ModuleTree(
        root=root,
        ties=tensors.ties,
        config=explicit_parts(config),
        notes=(*headers.notes, *tensors.notes),
        unknowns=Unknowns(
            {"": NO_CODE}, _unsized(tensors.tensors), {"attention_backends": NO_CODE, **tensors.unknown}
        ),
        stored_bytes=reader.stored,
    )


def _branches(tensors: tuple[Logical, ...], model: str) -> Branch:
    if len(tensors) > _MOST_TENSORS:
        raise BadHeaderError(
            f"{model}: {len(tensors):,} tensors; the limit is {_MOST_TENSORS:,}.", hint=_HINT, model=model
        )
    root = Branch()
    for tensor in tensors:
        *modules, name = tensor.name.split(".")
        if len(modules) > _DEEPEST or not name:
            raise BadHeaderError(
                f"{model}: no module holds a tensor named {tensor.name[:100]!r}.", hint=_HINT, model=model
            )
        at = root
        for module in modules:
            at = at.inside.setdefault(module, Branch())
        at.own[name] = tensor
    return root


_HINT = "Check that the files are those of a model saved by transformers or torch."


def _unsized(tensors: tuple[Logical, ...]) -> dict[str, str]:
    return {each.name: each.reason for each in tensors if each.shape is None and each.count is None}


class _Reader:
    """One reading of a checkpoint's names: the nodes, and what is stored where."""

    def __init__(self, config: Mapping[str, Any], *, channels_last: bool) -> None:
        self._pool = NodePool()
        self._config = config
        self._channels_last = channels_last
        self.stored: dict[str, dict[str, int]] = {}

    def node(self, branch: Branch, name: str, path: str, around: Branch | None = None) -> ModuleNode:
        """The node of a branch: its children first, since they decide its kind."""
        self._keep_stored(branch, path)
        children = {
            each: self.node(branch.inside[each], each, join(path, each), branch)
            for each in sorted(branch.inside, key=_in_order)
        }
        parameters, buffers = _shapes(branch)
        kind = self._kind(branch, name, path, children, around)
        return self._pool.node(
            kind.class_name,
            detail=kind.detail,
            attributes=kind.attributes,
            parameters=tuple(parameters.items()),
            buffers=tuple(buffers.items()),
            children=tuple(children.items()),
        )

    def _keep_stored(self, branch: Branch, path: str) -> None:
        held: dict[str, int] = {}
        for tensor in branch.own.values():
            for dtype, size in tensor.stored.items():
                held[dtype] = held.get(dtype, 0) + size
        if held:
            self.stored[path] = held

    def _kind(
        self, branch: Branch, name: str, path: str, children: Mapping[str, ModuleNode], around: Branch | None
    ) -> Kind:
        stated = stated_class(path, self._config, children)
        if stated is not None:
            return Kind(stated)
        parameters, buffers = _shapes(branch)
        if around is not None and is_router(name, around.inside, parameters):
            return router(parameters)
        if not children and all(tensor.shape is not None for tensor in branch.own.values()):
            found = leaf_kind(name, parameters, buffers, channels_last=self._channels_last)
            if not found.class_name.startswith(INFERRED) or "Norm" in found.class_name:
                return found
        sizes = fused_sizes(parameters)
        if sizes:
            return Kind(f"{INFERRED}Experts", attributes=sizes)
        in_list = around is not None and all(each.isdigit() for each in around.inside)
        class_name = module_kind(name, children, parameters, in_list=in_list)
        if class_name == ATTENTION:
            return Kind(class_name, attributes=attention_sizes(path, children, parameters, self._config))
        return Kind(class_name)


def _shapes(branch: Branch) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """(parameters, buffers) of a branch. One without a shape has that of a single value, or of a row."""
    parameters: dict[str, Shape] = {}
    buffers: dict[str, Shape] = {}
    for name, tensor in branch.own.items():
        row = () if tensor.count is None else (tensor.count,)
        shape = row if tensor.shape is None else tensor.shape
        (buffers if is_buffer(name, tensor.dtype) else parameters)[name] = shape
    return parameters, buffers


def _in_order(name: str) -> tuple[int, int, str]:
    """Numbers by their value; names as the alphabet has them, since files keep no order of declaration."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 10 else (1, 0, name)  # noqa: PLR2004 - no list is longer
