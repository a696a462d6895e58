"""ModuleTree → Architecture: find the roles, count the parameters, describe each component."""

from __future__ import annotations

from collections.abc import Sequence

from vlm_inspect.anatomy.components import describe_component
from vlm_inspect.anatomy.connections import with_connections
from vlm_inspect.anatomy.fusion import modality_inputs
from vlm_inspect.anatomy.kind import with_kind
from vlm_inspect.anatomy.layers.stacks import layer_signature
from vlm_inspect.anatomy.module_kinds import contains_attention
from vlm_inspect.anatomy.quantization import quantization_of
from vlm_inspect.anatomy.roles.absences import absent_roles
from vlm_inspect.anatomy.roles.assign_roles import find_roles
from vlm_inspect.anatomy.roles.assignments import (
    RoleAssignment,
    all_paths,
    owned_parameters,
    unassigned_modules,
)
from vlm_inspect.anatomy.roles.task_heads import is_read
from vlm_inspect.anatomy.stored_weights import storage_notes
from vlm_inspect.anatomy.unknowns import apply_missing_modules, apply_unknowns, assign_missing_modules
from vlm_inspect.core.architecture import TEXT_ROLES, Architecture, Component, Parameters, Role
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import Builder
from vlm_inspect.core.version import __version__

_WHY_OTHER = "no accessor, name, class or structure shows the purpose of {}"


def describe(tree: ModuleTree, model: ModelIdentity, builder: Builder) -> Architecture:
    """Describe a built model. The parameters of its components add up to the tree's total."""
    assignments = find_roles(tree)
    assigned = frozenset(all_paths(assignments))
    assignments += tuple(
        RoleAssignment(Role.OTHER, (path,), "structure", _WHY_OTHER.format(class_name))
        for path, class_name in unassigned_modules(tree.root, assigned)
    )
    assignments += assign_missing_modules(tree, assigned)
    counts = owned_parameters(tree, [assignment.paths for assignment in assignments])
    components = tuple(
        describe_component(tree, assignment, count, assigned)
        for assignment, count in zip(assignments, counts, strict=True)
        if count or assignment.role is not Role.OTHER or assignment.paths[0] in tree.missing_modules
    )
    inputs = modality_inputs(tree, components) if is_read(tree, assignments) else ()
    model_type = tree.config.get("model_type")
    architecture = Architecture(
        model=model,
        model_type=model_type if isinstance(model_type, str) else None,
        model_class=tree.root.class_name,
        builder=builder,
        components=tuple(with_connections(tree, components, inputs)),
        parameters=_parameters(tree, components),
        inputs=inputs,
        absent=dict(absent_roles(tree, assignments)),
        attention_backends=tree.attention_backends,
        notes=(*tree.notes, *storage_notes(tree)),
        unused_config_keys=tree.unused_config_keys,
        quantization=quantization_of(tree.config),
        versions={"vlm_inspect": __version__, **tree.versions},
    )
    record = with_kind(apply_unknowns(apply_missing_modules(architecture, tree), tree), tree)
    for cached in (contains_attention, layer_signature):
        cached.cache_clear()  # modules must not outlive their model
    return record


def _parameters(tree: ModuleTree, components: Sequence[Component]) -> Parameters:
    """The model's totals. Active for a text token are the language model and its head, if the model has them."""
    text = [part for part in components if part.role in TEXT_ROLES]
    reasons = [part.unknown["active"] for part in text if "active" in part.unknown]
    active = None if reasons or not text else sum(part.active or 0 for part in text)
    unknown = {"active": reasons[0]} if reasons else {}
    return Parameters(tree.total, tree.ties, active, uncertain=tree.uncertain, unknown=unknown)
