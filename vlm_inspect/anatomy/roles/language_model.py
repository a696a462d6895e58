"""Find the language model's module, once the roles of the modules around it are known."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from vlm_inspect.anatomy.layers.stacks import find_stacks
from vlm_inspect.anatomy.module_kinds import embedding_sizes, is_token_table
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import text_backbone
from vlm_inspect.anatomy.roles.assignments import Assignments, RoleAssignment, all_paths, unassigned_modules
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleTree, is_below, join, last_name, parent_path


def assign_language_model(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Replace the language models that the rules found with the one that owns the text embedding.

    It is the lowest module with the embedding and layers, or one above it that adds no other part, together
    with further modules that read text (the encoder of an encoder-decoder). Without a text embedding, a
    single one stays; of several, none can be preferred, and all stay.
    """
    backbone = text_backbone(tree)
    if backbone is None:
        return list(assignments)
    embedding = backbone.embedding
    others = [assignment for assignment in assignments if assignment.role is not Role.LANGUAGE_MODEL]
    path = _lowest_with_layers(tree, embedding, all_paths(others))
    if not path:
        return [*others, _spread_over_root(tree, embedding, all_paths(others))]
    heads = all_paths(others, Role.LM_HEAD)
    path = _highest_without_other_parts(path, [at for at in all_paths(others) if at not in heads])
    outside = (
        *all_paths(assignments, Role.LANGUAGE_MODEL),
        *_tied_root_tables(tree, embedding),
        *_sibling_tables(tree, path, backbone.width, all_paths(assignments)),
    )
    paths = (path, *(at for at in outside if not is_below(at, path)))
    anchor = f"the text embedding {embedding} and layers" if backbone.has_embedding else f"the text layers {embedding}"
    detail = f"the lowest module with {anchor}"
    return [*others, RoleAssignment(Role.LANGUAGE_MODEL, paths, "structure", detail)]


def _lowest_with_layers(tree: ModuleTree, path: str, assigned: Collection[str]) -> str:
    while path:
        node = tree.find(path)
        if node is not None and next(find_stacks(node, path, assigned), None) is not None:
            break
        path = parent_path(path)
    return path


def _highest_without_other_parts(path: str, others: Sequence[str]) -> str:
    """The highest module above a path that holds no other part and is not the whole model.

    A module with a language model's name on the way is preferred: those above it are wrappers for parts
    that this configuration leaves out.
    """
    above = [path]
    while (at := parent_path(above[-1])) and not any(is_below(other, at) for other in others):
        above.append(at)
    named = [at for at in above if name_patterns.LANGUAGE_MODULES.search(last_name(at))]
    return named[-1] if named else above[-1]


def _tied_root_tables(tree: ModuleTree, embedding: str) -> list[str]:
    """The root's embeddings that are tied to the text embedding (Seamless' `shared`)."""
    tied = [group for group in tree.ties if any(is_below(at, embedding) for at in group)]
    holders = {parent_path(at) for group in tied for at in group}
    return [name for name, child in tree.root.children if name in holders and embedding_sizes(child)]


def _sibling_tables(tree: ModuleTree, path: str, width: int, assigned: Collection[str]) -> Iterator[str]:
    """The token tables of the text width without a role, next to the language model or to what holds it.

    They embed tokens of another kind: the codes of a speech model, next to the text or in its place.
    """
    while path:
        path = parent_path(path)
        node = tree.find(path)
        for name, child in node.children if node is not None else ():
            if join(path, name) not in assigned and is_token_table(child, width):
                yield join(path, name)


def _spread_over_root(tree: ModuleTree, embedding: str, assigned: Collection[str]) -> RoleAssignment:
    """A language model without a module of its own: the root's children that have no other role."""
    around = embedding.partition(".")[0]
    unassigned = (path for path, _ in unassigned_modules(tree.root, frozenset(assigned)))
    # of the other children, only whole ones
    paths = tuple(path for path in unassigned if tree.root.child(path) or (is_below(path, around) and tree.find(path)))
    held = f"the root itself holds the text embedding {embedding}"
    detail = f"{held}: these are its children without another role"
    return RoleAssignment(Role.LANGUAGE_MODEL, paths or (embedding,), "structure", detail)
