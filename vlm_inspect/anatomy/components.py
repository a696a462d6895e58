"""One component: what a claimed module, or several that work as one, is made of."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.anatomy.configs import part_config
from vlm_inspect.anatomy.layers.experts import idle
from vlm_inspect.anatomy.layers.read import read_stack
from vlm_inspect.anatomy.layers.stacks import find_stacks, holds_stack, kinds, surroundings
from vlm_inspect.anatomy.leaves import is_activation, is_norm, linear_widths
from vlm_inspect.anatomy.roles.anchors import text_home
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.anatomy.steps.embeddings import embedding_stages, rest, text_stages
from vlm_inspect.anatomy.steps.leaf import embedding_stage, leaf_stage, learned_queries
from vlm_inspect.anatomy.steps.projector import projector_stages, with_activation, with_queries
from vlm_inspect.core.architecture import (
    ENCODERS,
    Component,
    ConvStage,
    EmbeddingStage,
    Evidence,
    HeadInfo,
    ImageInput,
    Layer,
    LayerStack,
    Role,
    Stage,
)
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join

_MOST_EXTRA = 16  # class tokens and registers, which have positions too and are no patches
_PAIR = 2


def image_size(
    nodes: Sequence[ModuleNode], embeddings: Sequence[Stage], config: Mapping[str, Any]
) -> tuple[int, ...]:
    """Height and width in pixels: what the tower's own modules say, or else its configuration.

    Where the configuration says one size and the table of positions is made for another (Radio's 16384
    places, with an `image_size` of 224 that nothing reads), the table is believed.
    """
    for _, child in (pair for node in nodes for pair in kinds(node, "")):
        size = child.attribute("image_size", "img_size")
        if size is not None:
            return _pair(size)
    stated, patch = _pair(config.get("image_size")), _patch(embeddings, config)
    places = next(_places(embeddings), None)
    if not stated or patch is None or places is None:
        return stated
    made_for = math.prod(side // patch for side in stated)
    if made_for <= places <= made_for + _MOST_EXTRA:
        return stated
    side = math.isqrt(places)
    return (side * patch, side * patch) if side * side == places else ()


def _places(embeddings: Sequence[Stage]) -> Iterator[int]:
    """The entries of the tables of positions, the first first."""
    for stage in embeddings:
        if isinstance(stage, EmbeddingStage) and "pos" in stage.path.rpartition(".")[2]:
            yield stage.num_embeddings or 1


def _patch(embeddings: Sequence[Stage], config: Mapping[str, Any]) -> int | None:
    """The side of a patch in pixels: that of the convolution over the image, or as the configuration says."""
    seen = (
        stage.kernel_size[-1] for stage in embeddings if isinstance(stage, ConvStage) and stage.kernel_size
    )
    stated = config.get("patch_size")
    return next(seen, stated if isinstance(stated, int) and stated > 0 else None)


def _pair(size: object) -> tuple[int, ...]:
    if isinstance(size, int) and not isinstance(size, bool):
        return (size, size)
    if isinstance(size, (list, tuple)) and len(size) == _PAIR and all(isinstance(side, int) for side in size):
        return tuple(size)
    return ()


# where configurations list the layers whose outputs go on side by side
_LISTS = (
    "vision_feature_layer",
    "vision_feature_layers",
    "intermediate_layers_indices",
    "vit_layers",
    "feature_layers",
)


def feature_layers(*configs: Mapping[str, Any]) -> int | None:
    """How many layers a configuration lists; None where it lists none or one."""
    for config in configs:
        for name in _LISTS:
            listed = config.get(name)
            if isinstance(listed, (list, tuple)) and len(listed) > 1:
                return len(listed)
    return None


# projectors and heads are told step by step, all of them
_STAGED = frozenset({Role.PROJECTOR, Role.LM_HEAD, Role.OTHER})


def component(tree: ModuleTree, claim: Claim, count: int, claimed: Collection[str]) -> Component:
    """What is at a claim's paths, of which it owns so many parameters; what others claim is not its own."""
    evidence = [claim.evidence()]
    main = _main(tree, claim)
    if main is None:  # a bare parameter
        return Component(claim.role, claim.paths, "Parameter", count, active=count, evidence=tuple(evidence))
    others = (other for other in claimed if other not in claim.paths)
    inner = {other for other in others if any(is_below(other, path) for path in claim.paths)}
    stacks = tuple(_stacks(tree, claim, inner))
    told = {stack.path for stack in stacks} | inner
    embeddings = tuple(_embeddings(tree, claim, inner, told))
    unused, unknown = idle(tree, stacks)
    tied = _tie_of(tree, claim.paths[0]) if claim.role is Role.LM_HEAD else None
    if tied:
        evidence.append(Evidence(f"weight tied to {tied}", "structure", "one parameter at both paths"))
    return Component(
        role=claim.role,
        paths=claim.paths,
        class_name=main.class_name,
        parameters=count,
        width=_width(tree, claim, stacks),
        stacks=() if claim.role is Role.PROJECTOR else stacks,
        embeddings=embeddings,
        stages=_stages(tree, claim),
        extra_modules=() if claim.role in _STAGED else tuple(_beside(tree, claim, told, embeddings)),
        image=_image(tree, claim, stacks, embeddings) if claim.role is Role.VISION_ENCODER else None,
        head=HeadInfo(tied) if tied else None,
        active=None if unknown else count - unused,
        unknown={"active": unknown} if unknown else {},
        evidence=tuple(evidence),
    )


def _nodes(tree: ModuleTree, claim: Claim) -> Iterator[tuple[str, ModuleNode]]:
    """The claim's modules; its bare parameters are left out."""
    for path in claim.paths:
        node = tree.find(path)
        if node is not None:
            yield path, node


def _main(tree: ModuleTree, claim: Claim) -> ModuleNode | None:
    """The module that gives a component its class: the first with layers, or the first.

    A language model spread over the root begins with its embedding, and is none.
    """
    nodes = list(_nodes(tree, claim))
    layered = (node for _, node in nodes if holds_stack(node))
    return next(layered, nodes[0][1] if nodes else None)


def _stacks(tree: ModuleTree, claim: Claim, inner: Collection[str]) -> Iterator[LayerStack]:
    top = claim.paths[0] if len(claim.paths) == 1 else ""
    for path, node in _nodes(tree, claim):
        for at, stack in find_stacks(node, path, inner):
            config = _config(tree, claim.role, at, stack)
            around = surroundings(tree, at, top, claim.role, config, claimed=inner)
            yield read_stack(at, stack, around)


def _config(tree: ModuleTree, role: Role, path: str, stack: ModuleNode) -> Mapping[str, Any]:
    """The configuration of a stack's layers: their own, or where the builder saw none, the part's."""
    if tree.configs:
        return tree.config_at(join(path, stack.children[0][0]))
    return part_config(tree.config, role, path, stack)


def _embeddings(
    tree: ModuleTree, claim: Claim, inner: Collection[str], told: Collection[str]
) -> Iterator[Stage]:
    if claim.role in ENCODERS:
        for path, node in _nodes(tree, claim):
            yield from embedding_stages(node, path, inner) if node.children else _tables(node, path)
    home = text_home(tree) if claim.role is Role.LANGUAGE_MODEL else None
    table = tree.find(home.embedding) if home is not None else None
    if home is not None and table is not None:
        yield embedding_stage(table.class_name, home.embedding, home.sizes)
        for path, node in _nodes(tree, claim):
            yield from text_stages(node, path, home.embedding, told)


def _tables(leaf: ModuleNode, path: str) -> Iterator[Stage]:
    """A table that a component has at a path of its own: the queries beside an encoder."""
    stage = leaf_stage(leaf, path)
    if isinstance(stage, EmbeddingStage):
        yield stage


def _beside(
    tree: ModuleTree, claim: Claim, told: Collection[str], embeddings: tuple[Stage, ...]
) -> Iterator[Stage]:
    embedded = {stage.path for stage in embeddings}
    return rest(tree, list(_nodes(tree, claim)), told, embedded)


def _stages(tree: ModuleTree, claim: Claim) -> tuple[Stage, ...]:
    nodes = list(_nodes(tree, claim))
    if claim.role is Role.LM_HEAD:
        return tuple(stage for path, node in nodes for stage in _head_stages(node, path))
    if claim.role is not Role.PROJECTOR:
        return ()
    stages = tuple(stage for path, node in nodes for stage in projector_stages(node, path))
    if len(nodes) > 1:
        stages = with_activation(stages, tree.find(nodes[0][0].rpartition(".")[0]))
    return with_queries(stages, _bare_queries(tree, claim.paths[1:]))


def _head_stages(node: ModuleNode, path: str) -> Iterator[Stage]:
    """The head's Linear, its own class's included, those inside it (idefics adds one for new tokens).

    BERT's head transforms the hidden state first: the norm and the activation there are steps too.
    """
    for at, child in node.walk(path):
        is_step = linear_widths(child) or is_norm(child) or is_activation(child)
        stage = leaf_stage(child, at) if is_step else None
        if stage is not None:
            yield stage


def _bare_queries(tree: ModuleTree, paths: tuple[str, ...]) -> int | None:
    """Query tokens that the model itself holds beside its Q-Former."""
    for path in paths:
        owner, _, name = path.rpartition(".")
        holder = tree.find(owner)
        queries = learned_queries(holder) if holder is not None and "quer" in name else None
        if queries:
            return queries
    return None


def _width(tree: ModuleTree, claim: Claim, stacks: tuple[LayerStack, ...]) -> int | None:
    """The text's width, or that with which the layers end: a tower of stages (Swin) widens on its way."""
    home = text_home(tree) if claim.role is Role.LANGUAGE_MODEL else None
    if home is not None:
        return home.sizes[1]
    last = (stack.kinds[stack.order[-1] if stack.order else 0] for stack in reversed(stacks))
    widths = (_layer_width(layer) for layer in last)
    return next((width for width in widths if width), None)


def _layer_width(layer: Layer) -> int | None:
    norms = (norm.width for norm in layer.norms)
    return next((width for width in (*norms, layer.mlp and layer.mlp.input_width) if width), None)


def _image(
    tree: ModuleTree, claim: Claim, stacks: tuple[LayerStack, ...], embeddings: tuple[Stage, ...]
) -> ImageInput | None:
    stack = tree.find(stacks[0].path) if stacks else None
    config = _config(tree, claim.role, stacks[0].path, stack) if stack is not None else tree.config
    size = image_size([node for _, node in _nodes(tree, claim)], embeddings, config)
    layers = feature_layers(tree.config, config) if stack is not None else None
    return ImageInput(size, layers) if size or layers else None


def _tie_of(tree: ModuleTree, path: str) -> str | None:
    """The parameter outside of the head that counts in place of its weight, where the two are one."""
    for group in tree.ties:
        inside = any(is_below(member, path) for member in group[1:])
        if inside and not is_below(group[0], path):
            return group[0]
    return None
