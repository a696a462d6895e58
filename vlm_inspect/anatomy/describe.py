"""The pipeline of this room: claims, what they own, what each is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlm_inspect.anatomy.anchors import embedding_sizes_at, text_embedding
from vlm_inspect.anatomy.claims import Claim
from vlm_inspect.anatomy.gaps import with_gaps
from vlm_inspect.anatomy.leaves import breadth_first, linear_widths
from vlm_inspect.anatomy.ownership import owned, unclaimed
from vlm_inspect.anatomy.parts import read_layer
from vlm_inspect.anatomy.roles import find_roles
from vlm_inspect.anatomy.stacks import find_stacks, kinds_of
from vlm_inspect.anatomy.stages import (
    embedding_stages,
    leaf_stage,
    learned_queries,
    projector_stages,
    with_queries,
)
from vlm_inspect.architecture import (
    Architecture,
    Builder,
    Component,
    Evidence,
    LayerStack,
    Parameters,
    Role,
    Stage,
)
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.tree import ModuleNode, ModuleTree, is_below, join
from vlm_inspect.version import __version__

# projectors and heads are told step by step, all of them
_STAGED = frozenset({Role.PROJECTOR, Role.LM_HEAD, Role.OTHER})
_MAIN_ROLES = (Role.VISION_ENCODER, Role.PROJECTOR, Role.LANGUAGE_MODEL, Role.LM_HEAD)
# where composite configurations keep those of their parts; the names differ, the parts do not
_PART_CONFIGS: Mapping[Role, tuple[str, ...]] = {
    Role.VISION_ENCODER: ("vision_config", "encoder", "vision_tower_config"),
    Role.LANGUAGE_MODEL: ("text_config", "llm_config", "language_config", "decoder", "thinker_config"),
    Role.AUDIO_ENCODER: ("audio_config", "encoder_config", "speech_config"),
}


def describe(tree: ModuleTree, model: ModelIdentity, builder: Builder) -> Architecture:
    """What a built model is made of. Its components' parameters add up to the tree's total."""
    claims = find_roles(tree)
    claimed = [path for claim in claims for path in claim.paths]
    claims += tuple(
        Claim(Role.OTHER, (path,), "structure", f"{class_name} that no finder claimed")
        for path, class_name in unclaimed(tree, claimed)
    )
    counts = owned(tree, [claim.paths for claim in claims])
    components = tuple(
        _component(tree, claim, count, claimed)
        for claim, count in zip(claims, counts, strict=True)
        if count or claim.role is not Role.OTHER
    )
    architecture = Architecture(
        model=model,
        model_type=_model_type(tree.config),
        model_class=tree.root.class_name,
        builder=builder,
        components=components,
        parameters=Parameters(tree.total, tree.ties),
        absent=dict(_absent(components)),
        supports=tree.supports,
        notes=tree.notes,
        versions={"vlm_inspect": __version__, **tree.versions},
    )
    return with_gaps(architecture, tree)


def _component(tree: ModuleTree, claim: Claim, count: int, claimed: list[str]) -> Component:
    path = claim.paths[0]
    node = tree.find(path)
    evidence = [claim.evidence()]
    if node is None:  # a bare parameter
        return Component(claim.role, claim.paths, "Parameter", count, evidence=tuple(evidence))
    inner = {other for other in claimed if other not in claim.paths and is_below(other, path)}
    stacks = tuple(_stacks(tree, claim, inner))
    embeddings = _embeddings(tree, claim, node, inner)
    told = {stack.path for stack in stacks} | inner
    tied = _tie_of(tree, path) if claim.role is Role.LM_HEAD else None
    if tied:
        evidence.append(Evidence(f"weight tied to {tied}", "structure", "one parameter at both paths"))
    return Component(
        role=claim.role,
        paths=claim.paths,
        class_name=node.class_name,
        parameters=count,
        width=_width(tree, claim, stacks),
        stacks=() if claim.role is Role.PROJECTOR else stacks,
        embeddings=embeddings,
        stages=_stages(tree, claim, node),
        beside=() if claim.role in _STAGED else tuple(_beside(tree, claim, told, embeddings)),
        image_size=_image_size(tree, node) if claim.role is Role.VISION_ENCODER else (),
        tied_to=tied,
        evidence=tuple(evidence),
    )


def _stacks(tree: ModuleTree, claim: Claim, inner: set[str]) -> Iterator[LayerStack]:
    config = _part_config(tree.config, claim.role)
    for path in claim.paths:
        node = tree.find(path)
        for at, stack in find_stacks(node, path, inner) if node is not None else ():
            kinds, order = kinds_of(stack)
            layers = tuple(read_layer(kind, config) for kind in kinds)
            yield LayerStack(at, len(order), layers, order if len(kinds) > 1 else ())


def _embeddings(tree: ModuleTree, claim: Claim, node: ModuleNode, inner: set[str]) -> tuple[Stage, ...]:
    if claim.role in {Role.VISION_ENCODER, Role.AUDIO_ENCODER}:
        return embedding_stages(node, claim.paths[0], inner)
    if claim.role is Role.LANGUAGE_MODEL:
        at = text_embedding(tree)
        sizes = embedding_sizes_at(tree, at) if at else None
        table = tree.find(at) if at else None
        if at and sizes and table is not None:
            return (Stage("embedding", table.class_name, at, sizes),)
    return ()


def _beside(tree: ModuleTree, claim: Claim, told: set[str], embeddings: tuple[Stage, ...]) -> Iterator[Stage]:
    embedded = {stage.path for stage in embeddings}
    for path in claim.paths:
        node = tree.find(path)
        yield from _outside(node, path, told, embedded) if node is not None else ()


def _outside(node: ModuleNode, path: str, told: set[str], embedded: set[str]) -> Iterator[Stage]:
    """The modules with parameters that are neither told elsewhere nor hold what is."""
    for name, child in node.children:
        at = join(path, name)
        if at in told or not child.total:
            continue
        if any(is_below(other, at) for other in told):
            yield from _outside(child, at, told, embedded)
        elif not any(is_below(other, at) for other in embedded):
            stage = leaf_stage(child, at) if not child.children else None
            yield stage or Stage("other", child.class_name, at)


def _stages(tree: ModuleTree, claim: Claim, node: ModuleNode) -> tuple[Stage, ...]:
    if claim.role is Role.LM_HEAD:
        return tuple(_head_stages(node, claim.paths[0]))
    if claim.role is not Role.PROJECTOR:
        return ()
    stages = projector_stages(node, claim.paths[0])
    return with_queries(stages, _bare_queries(tree, claim.paths[1:]))


def _head_stages(node: ModuleNode, path: str) -> Iterator[Stage]:
    """The head's Linear, its own class's included, and those inside it (idefics adds one for new tokens)."""
    for at, child in [(path, node), *breadth_first(node, path)]:
        stage = leaf_stage(child, at) if linear_widths(child) else None
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
    if claim.role is Role.LANGUAGE_MODEL:
        embedding = text_embedding(tree)
        sizes = embedding_sizes_at(tree, embedding) if embedding else None
        if sizes:
            return sizes[1]
    norms = (norm.width for stack in stacks for layer in stack.kinds for norm in layer.norms)
    mlps = (layer.mlp.input_width for stack in stacks for layer in stack.kinds if layer.mlp)
    return next((width for width in (*norms, *mlps) if width), None)


def _image_size(tree: ModuleTree, node: ModuleNode) -> tuple[int, ...]:
    """Height and width in pixels: what the tower's own modules say, or else its configuration."""
    for _, child in node.walk():
        size = child.attribute("image_size", "img_size")
        if size is not None:
            return _pair(size)
    return _pair(_part_config(tree.config, Role.VISION_ENCODER).get("image_size"))


def _pair(size: object) -> tuple[int, ...]:
    if isinstance(size, int) and not isinstance(size, bool):
        return (size, size)
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(side, int) for side in size):  # noqa: PLR2004 - height and width
        return tuple(size)
    return ()


def _part_config(config: Mapping[str, Any], role: Role) -> Mapping[str, Any]:
    """The configuration of a role's part; the whole one where there is none."""
    parts = (config.get(name) for name in _PART_CONFIGS.get(role, ()))
    return next((part for part in parts if isinstance(part, Mapping)), config)


def _tie_of(tree: ModuleTree, path: str) -> str | None:
    """The parameter that counts in place of a head's weight, where the two are one."""
    for group in tree.ties:
        if any(is_below(member, path) for member in group[1:]):
            return group[0]
    return None


def _absent(components: tuple[Component, ...]) -> Iterator[tuple[str, str]]:
    found = {component.role for component in components}
    for role in _MAIN_ROLES:
        if role not in found:
            yield (
                role.value,
                "no module of the built model has this role; all parameters are in the components listed",
            )


def _model_type(config: Mapping[str, Any]) -> str | None:
    value = config.get("model_type")
    return value if isinstance(value, str) else None
