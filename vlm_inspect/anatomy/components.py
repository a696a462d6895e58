"""Describe one component: its layers, embeddings and steps, and for vision encoders the image size."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vlm_inspect.anatomy.layers.experts import inactive_parameters
from vlm_inspect.anatomy.layers.read import read_stack, with_passes
from vlm_inspect.anatomy.layers.stacks import (
    contains_stack,
    distinct_modules,
    find_stacks,
    layer_context,
    layer_passes,
)
from vlm_inspect.anatomy.module_kinds import as_int, is_activation, is_norm, linear_widths
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import text_backbone
from vlm_inspect.anatomy.roles.assignments import RoleAssignment, modules_at
from vlm_inspect.anatomy.roles.text_embedding import text_tables
from vlm_inspect.anatomy.stages.embeddings import embedding_stages, other_modules, text_stages
from vlm_inspect.anatomy.stages.leaf import embedding_stage, leaf_stage, learned_queries
from vlm_inspect.anatomy.stages.order import stages_in_order
from vlm_inspect.anatomy.stages.projector import projector_stages, with_activation, with_queries
from vlm_inspect.anatomy.sub_configs import part_config
from vlm_inspect.core.architecture import (
    ENCODERS,
    Component,
    Evidence,
    HeadInfo,
    ImageInput,
    Layer,
    LayerStack,
    Role,
)
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join, last_name, parent_path
from vlm_inspect.core.stages import ConvStage, EmbeddingStage, Stage

# components without `extra_modules`: `stages` has all their modules, or they are too varied
_WITHOUT_EXTRA_MODULES = frozenset({Role.PROJECTOR, Role.LM_HEAD, Role.TASK_HEAD, Role.OTHER})
_MOST_HEAD_STEPS = 8  # a decoder of masks or boxes has branches, not steps
_MOST_EXTRA_POSITIONS = 16  # class and register tokens have positions, too
# the keys that list the layers whose outputs are concatenated
_FEATURE_LAYERS = (
    "vision_feature_layer",
    "vision_feature_layers",
    "intermediate_layers_indices",
    "vit_layers",
    "feature_layers",
)


def describe_component(
    tree: ModuleTree, assignment: RoleAssignment, count: int, assigned: Collection[str]
) -> Component:
    """Describe the modules of one role assignment, which owns `count` parameters.

    Of `assigned`, the paths of all assignments, those inside this one belong to other components.
    """
    role, paths, evidence = assignment.role, assignment.paths, [assignment.evidence()]
    modules = tuple(modules_at(tree, paths))
    if not modules:  # a bare parameter
        return Component(role, paths, "Parameter", count, active=count, evidence=tuple(evidence))
    # a language model that is spread over the root begins with its embedding
    main = next((node for _, node in modules if contains_stack(node)), modules[0][1])
    others = {path for path in assigned if path not in paths and any(is_below(path, own) for own in paths)}
    stacks = tuple(_stacks(tree, assignment, others))
    described = {stack.path for stack in stacks} | others
    embeddings = tuple(_embeddings(tree, assignment, others, described))
    embedded = {stage.path for stage in embeddings}
    rest = [(path, node) for path, node in modules if path not in described]  # layers may be a module of their own
    extra = other_modules(tree, rest, described, embedded) if role not in _WITHOUT_EXTRA_MODULES else ()
    inactive, why_unknown = inactive_parameters(tree, stacks)
    tied = _tied_parameter(tree, paths[0]) if role is Role.LM_HEAD else None
    stages = _stages(tree, assignment)
    stages, order = stages_in_order(tree, stages) if role is Role.PROJECTOR else (stages, None)
    unknown = {"active": why_unknown} if why_unknown else {}
    if role is Role.PROJECTOR and order is None and len(stages) > 1:
        unknown["stage_order"] = "headers list modules by name, not in the order of use"
    if tied:
        evidence.append(Evidence(f"weight tied to {tied}", "structure", "one parameter at both paths"))
    return Component(
        role=role,
        paths=paths,
        class_name=_class_name(tree, assignment, main),
        parameters=count,
        width=_width(tree, role, stacks),
        stacks=() if role is Role.PROJECTOR else stacks,
        embeddings=embeddings,
        stages=stages,
        stage_order=order,
        extra_modules=tuple(extra),
        image=_image_input(tree, modules, stacks, embeddings) if role is Role.VISION_ENCODER else None,
        head=HeadInfo(tied) if tied else None,
        active=None if why_unknown else count - inactive,
        unknown=unknown,
        evidence=tuple(evidence),
    )


def _class_name(tree: ModuleTree, assignment: RoleAssignment, main: ModuleNode) -> str:
    """The class of the main module, or of the model if the model itself is the encoder."""
    is_model = (
        assignment.role in ENCODERS and len(assignment.paths) > 1 and not any(map(parent_path, assignment.paths))
    )
    is_wrapped = name_patterns.TASK_CLASS.search(tree.root.class_name)
    return tree.root.class_name if is_model and not is_wrapped else main.class_name


def _stacks(tree: ModuleTree, assignment: RoleAssignment, others: Collection[str]) -> Iterator[LayerStack]:
    role, top = assignment.role, assignment.paths[0] if len(assignment.paths) == 1 else ""
    for path, node in modules_at(tree, assignment.paths):
        for at, stack in find_stacks(node, path, others):
            context = layer_context(tree, at, top, role, _config(tree, role, at, stack), claimed=others)
            yield with_passes(read_stack(at, stack, context), layer_passes(tree, at, len(stack.children)))


def _config(tree: ModuleTree, role: Role, path: str, stack: ModuleNode) -> Mapping[str, Any]:
    """The configuration of a stack: that of its first layer, or of the part if the builder has none."""
    if tree.configs:
        return tree.config_at(join(path, stack.children[0][0]))
    return part_config(tree.config, role, path, stack)


def _embeddings(
    tree: ModuleTree, assignment: RoleAssignment, others: Collection[str], described: Collection[str]
) -> Iterator[Stage]:
    if assignment.role in ENCODERS:
        for path, node in modules_at(tree, assignment.paths):
            if node.children:
                yield from embedding_stages(node, path, others)
            elif isinstance(stage := leaf_stage(node, path), EmbeddingStage):
                yield stage  # a table next to the encoder, for example queries
    backbone = text_backbone(tree) if assignment.role is Role.LANGUAGE_MODEL else None
    if backbone is not None and backbone.has_embedding:
        for at, class_name, sizes in text_tables(tree, backbone.embedding, backbone.sizes):
            yield embedding_stage(class_name, at, sizes)
        for path, node in modules_at(tree, assignment.paths):
            yield from text_stages(node, path, backbone.embedding, described)


def _stages(tree: ModuleTree, assignment: RoleAssignment) -> tuple[Stage, ...]:
    """The steps of a projector or of a head; other components have none."""
    modules = list(modules_at(tree, assignment.paths))
    if assignment.role is Role.LM_HEAD:
        return tuple(stage for path, node in modules for stage in _head_stages(node, path))
    if assignment.role is Role.TASK_HEAD and not any(contains_stack(node) for _, node in modules):
        steps = tuple(stage for path, node in modules for stage in _head_stages(node, path))
        return steps if len(steps) <= _MOST_HEAD_STEPS else ()
    if assignment.role is not Role.PROJECTOR:
        return ()
    stages = tuple(stage for path, node in modules for stage in projector_stages(node, path))
    if len(modules) > 1:
        stages = with_activation(stages, tree.find(parent_path(modules[0][0])))
    # a Q-Former's query tokens may be a bare parameter next to it
    parents = [parent_path(path) for path in assignment.paths[1:] if "quer" in last_name(path)]
    queries = (learned_queries(node) for _, node in modules_at(tree, parents))
    return with_queries(stages, next(filter(None, queries), None))


def _head_stages(node: ModuleNode, path: str) -> Iterator[Stage]:
    """The Linears of a head (idefics adds one for new tokens), and the norms and activations before them."""
    for at, child in node.walk(path):
        is_step = linear_widths(child) or is_norm(child) or is_activation(child)
        stage = leaf_stage(child, at) if is_step else None
        if stage is not None:
            yield stage


def _width(tree: ModuleTree, role: Role, stacks: Sequence[LayerStack]) -> int | None:
    """The text width, or that of the last layers: a tower of stages (Swin) widens from stage to stage."""
    backbone = text_backbone(tree) if role is Role.LANGUAGE_MODEL else None
    if backbone is not None:
        return backbone.width
    last_layers = (stack.kinds[stack.order[-1] if stack.order else 0] for stack in reversed(stacks))
    return next((width for layer in last_layers if (width := _layer_width(layer))), None)


def _layer_width(layer: Layer) -> int | None:
    norms = (norm.width for norm in layer.norms)
    return next((width for width in (*norms, layer.mlp and layer.mlp.input_width) if width), None)


def _tied_parameter(tree: ModuleTree, path: str) -> str | None:
    """The parameter outside of the head that the head's weight is tied to."""
    for first, *rest_of_group in tree.ties:
        if any(is_below(member, path) for member in rest_of_group) and not is_below(first, path):
            return first
    return None


def _image_input(
    tree: ModuleTree,
    modules: Sequence[tuple[str, ModuleNode]],
    stacks: Sequence[LayerStack],
    embeddings: Sequence[Stage],
) -> ImageInput | None:
    stack = tree.find(stacks[0].path) if stacks else None
    config = _config(tree, Role.VISION_ENCODER, stacks[0].path, stack) if stack is not None else tree.config
    size = image_size([node for _, node in modules], embeddings, config)
    layers = _feature_layer_count(tree.config, config) if stack is not None else None
    return ImageInput(size, layers) if size or layers else None


def image_size(nodes: Sequence[ModuleNode], embeddings: Sequence[Stage], config: Mapping[str, Any]) -> tuple[int, ...]:
    """(height, width) in pixels: from the encoder's modules, else from its configuration; () if unknown.

    If the position table is made for another size than the configuration's, the table wins (Radio has 16384
    positions and an unused `image_size` of 224).
    """
    for node in nodes:
        for _, child in distinct_modules(node, ""):
            size = child.attribute("image_size", "img_size")
            if size is not None:
                return _height_and_width(size)
    configured, patch = _height_and_width(config.get("image_size")), _patch_side(embeddings, config)
    positions = _position_count(embeddings)
    if not configured or patch is None or positions is None:
        return configured
    expected = math.prod(side // patch for side in configured)
    if expected <= positions <= expected + _MOST_EXTRA_POSITIONS:
        return configured
    side = math.isqrt(positions)
    return (side * patch, side * patch) if side * side == positions else ()


def _height_and_width(size: object) -> tuple[int, ...]:
    if (side := as_int(size)) is not None:
        return (side, side)
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(side, int) for side in size):  # noqa: PLR2004
        return tuple(size)
    return ()


def _position_count(embeddings: Sequence[Stage]) -> int | None:
    """The number of entries in the first position table."""
    tables = (stage for stage in embeddings if isinstance(stage, EmbeddingStage))
    return next((table.num_embeddings or 1 for table in tables if "pos" in last_name(table.path)), None)


def _patch_side(embeddings: Sequence[Stage], config: Mapping[str, Any]) -> int | None:
    """The side of a patch in pixels: that of the patch convolution, else the configuration's."""
    for stage in embeddings:
        if isinstance(stage, ConvStage) and stage.kernel_size:
            return stage.kernel_size[-1]
    configured = config.get("patch_size")
    return configured if isinstance(configured, int) and configured > 0 else None


def _feature_layer_count(*configs: Mapping[str, Any]) -> int | None:
    """The number of layers whose outputs are concatenated; None if the configuration lists at most one."""
    lists = (config.get(key) for config in configs for key in _FEATURE_LAYERS)
    return next((len(each) for each in lists if isinstance(each, (list, tuple)) and len(each) > 1), None)
