"""Which module has which role.

The tree is walked from the root along the *text spine*, the modules that contain the text embedding.
Every other module that hangs on the spine is asked about once, by an ordered list of finders: a
family's entry, the model's own accessors, well-known names, structure. The first that answers wins and
leaves its evidence. The language model is what holds the text embedding and its layers; what nobody
claims stays unclaimed, for the caller to put into `other` by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vlm_inspect.anatomy.roles.anchors import find_head, text_home
from vlm_inspect.anatomy.roles.claims import Asked, Claim, TextHome
from vlm_inspect.anatomy.roles.finders import ask, holds_parts
from vlm_inspect.anatomy.roles.inner import inner_projectors
from vlm_inspect.anatomy.roles.language import language_model
from vlm_inspect.anatomy.roles.refine import (
    each_encoder,
    each_half,
    from_elsewhere,
    gathered,
    with_lists,
    with_parameters,
    with_whole_head,
)
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below

# what one claim per module cannot say; in this order, for each works on what the one before it made
_REFINEMENTS: tuple[Callable[[ModuleTree, Sequence[Claim]], Iterable[Claim]], ...] = (
    each_half,  # a codec sees by one half and draws by the other
    each_encoder,  # a tower may hold two
    gathered,  # a projector may be Linears side by side
    with_lists,  # and have parameters in a list
    from_elsewhere,  # and needs something to project
)


def find_roles(tree: ModuleTree) -> tuple[Claim, ...]:
    """The claims on a model's modules, in the order of the tree.

    Claimed paths never cross: one may lie inside another, and then owns what is below it.
    """
    home = text_home(tree)
    embedding = home.embedding if home else None
    head = find_head(tree, embedding)
    claims = [head] if head else []
    found = _along_spine(tree, home, {path for claim in claims for path in claim.paths})
    for refined in _REFINEMENTS:
        found = list(refined(tree, found))
    claims += found
    language = language_model(tree, embedding, claims)
    if language is not None:
        claims = [claim for claim in claims if claim.role is not Role.LANGUAGE_MODEL]
        claims.append(language)
    claims += list(inner_projectors(tree, claims, home.sizes[1] if home else None))
    claims = with_whole_head(tree, with_parameters(tree, claims))
    return tuple(sorted(claims, key=lambda claim: min(_place(tree, path) for path in claim.paths)))


def _place(tree: ModuleTree, path: str) -> tuple[int, ...]:
    """Where a path stands in the tree: for each name its index among its siblings; parameters come last."""
    place: list[int] = []
    node: ModuleNode | None = tree.root
    for name in path.split("."):
        siblings = [key for key, _ in node.children] if node is not None else []
        place.append(siblings.index(name) if name in siblings else len(siblings))
        node = node.child(name) if node is not None else None
    return tuple(place)


def _along_spine(tree: ModuleTree, home: TextHome | None, taken: set[str]) -> list[Claim]:
    claims: list[Claim] = []
    pending = [Asked(tree, "", tree.root, home)]
    while pending:
        spine = pending.pop()
        for asked in (spine.below(name, child) for name, child in spine.node.children):
            if asked.path in taken or not asked.node.total:
                continue
            if home is not None and is_below(home.embedding, asked.path):
                pending.append(asked)
                continue
            answer = ask(asked)
            if answer is not None:
                claims.append(Claim(answer[0], (asked.path,), answer[1], answer[2]))
            elif holds_parts(asked):
                pending.append(asked)
    return claims
