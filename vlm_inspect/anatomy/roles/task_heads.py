"""Find task heads: what is behind the encoders or the language model, for retrieval, rewards, classes or boxes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.fusion import fusion_statements
from vlm_inspect.anatomy.layers.stacks import contains_stack
from vlm_inspect.anatomy.module_kinds import contains_attention, is_attention, is_list, is_norm, leaves, linear_widths
from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import TextBackbone, text_backbone
from vlm_inspect.anatomy.roles.assignments import (
    Assignments,
    RoleAssignment,
    all_paths,
    modules_at,
    unassigned_modules,
)
from vlm_inspect.anatomy.roles.candidates import Candidate
from vlm_inspect.anatomy.roles.codecs import is_codec
from vlm_inspect.anatomy.roles.inputs_outputs import encoder_of_modality, quantizer_name, raw_input
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, is_below, join, last_name, parent_path

CROSS_ATTENTION = re.compile(r"(cross|enc(oder)?_?(dec(oder)?_?)?att(n|ention))", re.IGNORECASE)
_DECODER_INPUTS = re.compile(r"(quer(y|ies)|denoising)", re.IGNORECASE)
_NECK = re.compile(r"(^|_)(neck|norms?)$")
_SIMILARITY = re.compile(r"(^|_)(logit|temp(erature)?)(_|$)")
_TOWERS = ENCODERS | {Role.LANGUAGE_MODEL}


def is_read(tree: ModuleTree, assignments: Assignments) -> bool:
    """Whether a language model reads the features of encoders, once the LM head is assigned."""
    has_head = any(each.role is Role.LM_HEAD for each in assignments)
    return reads_features(tree, text_backbone(tree), has_head=has_head)


def reads_features(tree: ModuleTree, backbone: TextBackbone | None, *, has_head: bool) -> bool:
    """Whether a language model of the model reads the features of encoders.

    It does if it generates text, if the source inserts features into its sequence, if its layers have
    cross-attention, or if its own module takes images. The towers of a dual encoder stay apart. Headers
    show no source; there, only the scalars of a dual encoder speak against it.
    """
    contrastive = bool(contrastive_parameters(tree))
    if _is_guessed(tree):
        return has_head or bool(tree.unknowns.shapes) or (backbone is not None and not contrastive)
    if backbone is None:
        return False
    generates = has_head and "MaskedLM" not in tree.root.class_name
    if generates and not contrastive:
        return True
    inserts = any(statement.step != "codes" for statement in fusion_statements(tree.forward_info))
    if inserts and (has_head or not contrastive):  # FLAVA joins the features of both towers in a third module
        return True
    return (generates or not contrastive) and _reads_in_layers(tree, backbone)


def _is_guessed(tree: ModuleTree) -> bool:
    """Whether some classes or shapes are not known: the tree is from headers, not from a built class."""
    return tree.root.inferred or bool(tree.unknowns.classes or tree.unknowns.shapes)


def contrastive_parameters(tree: ModuleTree) -> list[str]:
    """The scalars with which a dual encoder scales the similarity of its features: `logit_scale`.

    They are next to the towers, at the root or in a module below it.
    """
    holders = [("", tree.root), *((name, child) for name, child in tree.root.children if not is_list(child))]
    return [
        join(path, name)
        for path, node in holders
        if sum(_has_layers(child) for _, child in node.children) > 1
        for name, shape in node.parameters
        if math.prod(shape) == 1 and _SIMILARITY.search(name)
    ]


def split_root(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Find the encoder that is the model itself: its embeddings, layers and norms are the root's children."""
    taken = Candidate(tree, "", tree.root).input
    role = taken.encoder if taken is not None else encoder_of_modality(tree)
    is_other = text_backbone(tree) is not None or is_codec(tree.root)
    if role is None or is_other or _is_guessed(tree) or not _has_layers(tree.root):
        return list(assignments)
    encoders = [node for _, node in modules_at(tree, all_paths(assignments, *ENCODERS))]
    if any(_has_all_layers(node, tree.root) for node in encoders):
        return _with_necks(tree, assignments)
    heads = [each for each in assignments if each.role is Role.TASK_HEAD and each.rule == "name"]
    if not name_patterns.TASK_CLASS.search(tree.root.class_name):
        heads = [each for each in heads if each.paths != ("head",)]  # the encoder's own pooling
    own = [name for name, child in tree.root.children if child.total and name not in all_paths(heads)]
    bare = [name for name, _ in tree.root.parameters]
    source = f"{taken.convolution}, which takes {taken.data}" if taken is not None else "its embeddings"
    detail = f"the model itself is the encoder: layers behind {source}"
    return [RoleAssignment(role, (*own, *bare), "structure", detail), *heads]


def _with_necks(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Give the norms and the neck behind the layers to the encoder, in a class without a task."""
    assigned = all_paths(assignments)
    behind = [
        name for name, child in tree.root.children if child.total and _NECK.search(name) and name not in assigned
    ]
    is_one = [each.role in ENCODERS for each in assignments] == [True]
    if not behind or not is_one or name_patterns.TASK_CLASS.search(tree.root.class_name):
        return list(assignments)
    return [replace(each, paths=(*each.paths, *behind)) for each in assignments]


def find_inner_heads(tree: ModuleTree, assignments: Assignments) -> Iterator[RoleAssignment]:
    """Find decoders and heads that are in one module with an encoder (DETR's, in `model`)."""
    reads, assigned = is_read(tree, assignments), all_paths(assignments)
    for assignment in assignments:
        yield assignment
        for path, node in modules_at(tree, assignment.paths if assignment.role in ENCODERS and not reads else ()):
            heads = tuple(_inner_heads(node, path, assigned)) if quantizer_name(node) is None else ()
            if heads:
                yield RoleAssignment(Role.TASK_HEAD, heads, "name", f"the name {last_name(heads[0])!r} inside {path}")


def assign_task_heads(tree: ModuleTree, assignments: Assignments) -> list[RoleAssignment]:
    """Assign what is behind the towers: next to the module that holds all of them, or a part without layers."""
    if not any(each.role in _TOWERS for each in assignments):
        return list(assignments)
    model = _Model.of(tree, assignments)
    found = [model.as_head(each) for each in _without_text_heads(tree, assignments)]
    if not model.generates:
        found = _with_generators(tree, found)
        for path, _ in unassigned_modules(tree.root, frozenset(all_paths(found))):
            detail = model.why_head(path)
            if detail is not None:
                found.append(RoleAssignment(Role.TASK_HEAD, (path,), "structure", detail))
    return found if model.reads else _with_scalars(tree, found)


class _Model(Struct, frozen=True):
    """A model whose towers are known."""

    tree: ModuleTree
    backbone: TextBackbone | None
    encoders: list[str]
    whole: str | None
    """The root's child that holds all encoders and the language model; None if there is none."""
    reads: bool
    """Whether a language model reads the encoders' features."""
    generates: bool
    """Whether the model generates text; further modules next to it are then no task's."""

    @classmethod
    def of(cls, tree: ModuleTree, assignments: Assignments) -> _Model:
        encoders = all_paths(assignments, *ENCODERS)
        towers = (*all_paths(assignments, *_TOWERS), *tree.missing_modules)
        tops = {path.partition(".")[0] for path in towers}
        reads = is_read(tree, assignments)
        has_head = any(each.role is Role.LM_HEAD for each in assignments)
        return cls(
            tree,
            text_backbone(tree),
            encoders,
            tops.pop() if len(tops) == 1 else None,
            reads,
            has_head and (reads or not encoders),
        )

    def is_behind(self, path: str) -> bool:
        """Whether a module is outside of the one that holds all towers, and `forward` does not use it before."""
        top, order = path.partition(".")[0], self.tree.root.forward_order
        if self.whole is None or top == self.whole:
            return False
        return top not in order or self.whole not in order or order.index(top) > order.index(self.whole)

    def as_head(self, assignment: RoleAssignment) -> RoleAssignment:
        """A projector that is behind the language model is a task head: retrieval projects the text's features."""
        if assignment.role is not Role.PROJECTOR:
            return assignment
        detail = None
        if self.encoders and all(map(self.is_behind, assignment.paths)):
            detail = f"behind {self.whole}"
        elif self._ends_elsewhere(assignment.paths[0]):
            detail = "to another width than the text's"
        if detail is None:
            return assignment
        return replace(assignment, role=Role.TASK_HEAD, detail=f"{assignment.detail}, {detail}")

    def _ends_elsewhere(self, path: str) -> bool:
        """Whether a lone Linear outside of the encoders maps to another width, and no text is generated."""
        node = self.tree.find(path)
        widths = linear_widths(node) if node is not None else None
        if self.generates or self.backbone is None or widths is None or widths[1] == self.backbone.width:
            return False
        return not any(is_below(path, encoder) for encoder in self.encoders)

    def why_head(self, path: str) -> str | None:
        """Why a module without a role is a task head; None if it is not."""
        node = self.tree.find(path)
        if node is None or any(is_below(missing, path) for missing in self.tree.missing_modules):
            return None
        reads_input = not self.reads and name_patterns.INPUTS.search(last_name(path))
        if self.is_behind(path) and not reads_input and not (self.reads and is_norm(node)):
            return f"behind {self.whole}, and no encoder or language model is outside of it"
        is_part = self.reads or reads_input or _has_layers(node) or _is_only_norms(node)
        if is_part or Candidate(self.tree, path, node, self.backbone).feeds_layers:
            return None
        return "no layers, and behind the encoders, which no language model reads"


def _without_text_heads(tree: ModuleTree, assignments: Assignments) -> Assignments:
    """Without a language model, a head over characters (CTC) is the task's, not an LM head."""
    roles = {each.role for each in assignments}
    if _is_guessed(tree) or Role.LANGUAGE_MODEL in roles or not roles & ENCODERS:
        return assignments
    return [replace(each, role=Role.TASK_HEAD) if each.role is Role.LM_HEAD else each for each in assignments]


def _with_generators(tree: ModuleTree, found: list[RoleAssignment]) -> list[RoleAssignment]:
    """Next to the decoder half of a codec, further layers make what it decodes: they are no task's head."""
    if not any(each.role is Role.GENERATOR for each in found):
        return found
    return [
        replace(each, role=Role.GENERATOR, detail=f"{each.detail}, next to a codec")
        if each.role is Role.TASK_HEAD and any(_has_layers(node) for _, node in modules_at(tree, each.paths))
        else each
        for each in found
    ]


def _reads_in_layers(tree: ModuleTree, backbone: TextBackbone) -> bool:
    """Whether the text layers have cross-attention, or the text's own module takes pixels or visual features."""
    node = tree.find(backbone.path)
    if node is None or (not backbone.path and any(map(_is_tower, node.children))):
        return False
    for path, child in node.walk(backbone.path):
        names = f"{path.removeprefix(backbone.path)} {child.class_name}"
        if is_attention(child) and CROSS_ATTENTION.search(names):
            return True
    is_visual = any(name_patterns.VISION.search(last_name(path)) for path, _ in node.walk(backbone.path))
    return is_visual or raw_input(node, backbone.path) is not None


def _is_only_norms(node: ModuleNode) -> bool:
    """Whether a module is a norm, or a list of norms between the layers of two encoders (BridgeTower's)."""
    return all(is_norm(leaf) for _, leaf in leaves(node, "") if leaf.total)


def _has_layers(node: ModuleNode) -> bool:
    return contains_attention(node) or contains_stack(node)


def _is_tower(child: tuple[str, ModuleNode]) -> bool:
    name, node = child
    return raw_input(node, name) is not None and _has_layers(node)


def _has_all_layers(node: ModuleNode, root: ModuleNode) -> bool:
    """Whether an encoder is complete: it takes the input itself, and the attention is not outside of it."""
    takes_input = raw_input(node, "") is not None or raw_input(root, "") is None
    return takes_input and (contains_attention(node) or not contains_attention(root))


def _inner_heads(node: ModuleNode, path: str, assigned: Sequence[str]) -> Iterator[str]:
    patterns = (name_patterns.DECODERS, name_patterns.TASK_HEADS, _DECODER_INPUTS)
    for name, child in node.children:
        is_named = any(pattern.search(name) for pattern in patterns)
        if is_named and name != "head" and not name_patterns.HEADS.search(name):
            if child.total and not any(is_below(at, join(path, name)) for at in assigned):
                yield join(path, name)
        elif not is_list(child) and not is_attention(child):
            yield from _inner_heads(child, join(path, name), assigned)


def _with_scalars(tree: ModuleTree, assignments: list[RoleAssignment]) -> list[RoleAssignment]:
    """Give the scalars of a dual encoder to the last task head next to them, or else make them one."""
    assigned = all_paths(assignments)
    scalars = [path for path in contrastive_parameters(tree) if path not in assigned]
    if not scalars:
        return assignments
    parent = parent_path(scalars[0])
    heads = [
        index
        for index, each in enumerate(assignments)
        if each.role is Role.TASK_HEAD and parent_path(each.paths[0]) == parent
    ]
    if heads:
        last = assignments[heads[-1]]
        assignments[heads[-1]] = replace(last, paths=(*last.paths, *scalars))
        return assignments
    detail = "scales the similarity of the features of both encoders"
    return [*assignments, RoleAssignment(Role.TASK_HEAD, tuple(scalars), "structure", detail)]
