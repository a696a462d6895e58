"""Find the role of each module.

Two anchors come first: the text embedding and the LM head. The modules that contain the text embedding form
the *text spine*. Each module that hangs on the spine is a candidate for the ordered ROLE_RULES; the first result
assigns the role. Then the REFINEMENTS, in order, correct what a decision per module cannot get right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from vlm_inspect.anatomy.roles import refine
from vlm_inspect.anatomy.roles.anchors import TextBackbone, find_lm_head, text_backbone
from vlm_inspect.anatomy.roles.assignments import Assignments, RoleAssignment
from vlm_inspect.anatomy.roles.candidates import Candidate
from vlm_inspect.anatomy.roles.codecs import split_codecs, whole_model_codec
from vlm_inspect.anatomy.roles.inner_projectors import add_inner_projectors
from vlm_inspect.anatomy.roles.language_model import assign_language_model
from vlm_inspect.anatomy.roles.role_rules import find_role, holds_parts
from vlm_inspect.anatomy.roles.task_heads import assign_task_heads, find_inner_heads, reads_features, split_root
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below

Refinement = Callable[[ModuleTree, Assignments], Iterable[RoleAssignment]]

REFINEMENTS: tuple[Refinement, ...] = (
    split_root,  # a model that is one encoder: its embeddings, layers and pooler are the root's children
    find_inner_heads,  # the decoder of a detector or segmenter, next to the encoder in one module
    split_codecs,  # a codec's encoder reads input, its decoder generates output
    refine.split_encoders,  # one tower may hold two encoders
    refine.merge_sibling_linears,  # several Linears next to each other may be one projector
    refine.merge_parameter_lists,  # a ParameterList named like a projector belongs to the one next to it
    refine.drop_projectors_without_source,  # without an encoder or another source there is nothing to project
    assign_language_model,  # the text embedding, its layers, and no other part
    add_inner_projectors,  # encoders may contain their projector
    refine.add_bare_parameters,  # query tokens and separators belong to the projector next to them
    refine.extend_head,  # a transform next to the LM head belongs to the head
    assign_task_heads,  # what is behind the encoders and the language model
)


def find_roles(tree: ModuleTree) -> tuple[RoleAssignment, ...]:
    """The role assignments of a model, in the order of the tree.

    Each module has at most one role. A path may be inside another; the inner one then owns what is below it.
    """
    backbone = text_backbone(tree)
    head = find_lm_head(tree, backbone)
    assignments = [head] if head else []
    assignments += _assign_along_spine(tree, backbone, head.paths if head else ())
    for refinement in REFINEMENTS:
        assignments = list(refinement(tree, assignments))
    return tuple(sorted(assignments, key=lambda each: min(_position(tree, path) for path in each.paths)))


def _assign_along_spine(
    tree: ModuleTree, backbone: TextBackbone | None, assigned: Sequence[str]
) -> Iterator[RoleAssignment]:
    reads = reads_features(tree, backbone, has_head=bool(assigned))
    root = Candidate(tree, "", tree.root, backbone, reads)
    codec = whole_model_codec(root)
    yield from codec
    pending = [] if codec else [root]
    while pending:
        for candidate in pending.pop().children():
            if candidate.path in assigned or (backbone is not None and candidate.path == backbone.embedding):
                continue
            if backbone is not None and is_below(backbone.embedding, candidate.path):
                # the text embedding may hold tables of other tokens, which are part of it
                pending += [candidate] if candidate.path != backbone.embedding else []
                continue
            found = find_role(candidate)
            if (
                found is not None
                and found[0] is Role.TASK_HEAD
                and any(is_below(at, candidate.path) for at in assigned)
            ):
                continue  # around the LM head
            if found is not None:
                role, rule, detail = found
                yield RoleAssignment(role, (candidate.path,), rule, detail)
            elif holds_parts(candidate):
                pending.append(candidate)


def _position(tree: ModuleTree, path: str) -> tuple[int, ...]:
    """The position of a path in the tree: each name's index among its siblings, parameters last."""
    position: list[int] = []
    node: ModuleNode | None = tree.root
    for name in path.split("."):
        siblings = [key for key, _ in node.children] if node is not None else []
        position.append(siblings.index(name) if name in siblings else len(siblings))
        node = node.child(name) if node is not None else None
    return tuple(position)
