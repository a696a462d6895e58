"""The pipeline of this room: claims, what they own, what each is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlm_inspect.anatomy.components import component
from vlm_inspect.anatomy.fusion import read_entries
from vlm_inspect.anatomy.kind import with_kind
from vlm_inspect.anatomy.quantization import quantization_of
from vlm_inspect.anatomy.roles.absences import absences
from vlm_inspect.anatomy.roles.claims import Claim
from vlm_inspect.anatomy.roles.find import find_roles
from vlm_inspect.anatomy.roles.language import owned, unclaimed
from vlm_inspect.anatomy.unknowns import apply_unknowns, unbuilt_parts, with_unbuilt
from vlm_inspect.core.architecture import TEXT_ROLES, Architecture, Component, Parameters, Role
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import Builder
from vlm_inspect.core.version import __version__

_UNCLAIMED = "no accessor, name, class or structure says what {} is for"


def describe(tree: ModuleTree, model: ModelIdentity, builder: Builder) -> Architecture:
    """What a built model is made of. Its components' parameters add up to the tree's total."""
    claims = find_roles(tree)
    claimed = [path for claim in claims for path in claim.paths]
    claims += tuple(
        Claim(Role.OTHER, (path,), "structure", _UNCLAIMED.format(class_name))
        for path, class_name in unclaimed(tree, claimed)
    )
    claims += unbuilt_parts(tree, claimed)
    counts = owned(tree, [claim.paths for claim in claims])
    components = tuple(
        component(tree, claim, count, claimed)
        for claim, count in zip(claims, counts, strict=True)
        if count or claim.role is not Role.OTHER or claim.paths[0] in tree.missing_modules
    )
    architecture = Architecture(
        model=model,
        model_type=_model_type(tree.config),
        model_class=tree.root.class_name,
        builder=builder,
        components=components,
        parameters=_parameters(tree, components),
        inputs=read_entries(tree, components),
        absent=dict(absences(tree, claims)),
        attention_backends=tree.attention_backends,
        notes=tree.notes,
        unused_config_keys=tree.unused_config_keys,
        quantization=quantization_of(tree.config),
        versions={"vlm_inspect": __version__, **tree.versions},
    )
    return with_kind(apply_unknowns(with_unbuilt(architecture, tree), tree))


def _parameters(tree: ModuleTree, components: Sequence[Component]) -> Parameters:
    """The model's totals; what works on a text token is its language model and head, where both are known."""
    text = [part for part in components if part.role in TEXT_ROLES]
    reasons = [part.unknown["active"] for part in text if "active" in part.unknown]
    active = None if reasons else sum(part.active or 0 for part in text)
    return Parameters(tree.total, tree.ties, active, unknown={"active": reasons[0]} if reasons else {})


def _model_type(config: Mapping[str, Any]) -> str | None:
    value = config.get("model_type")
    return value if isinstance(value, str) else None
