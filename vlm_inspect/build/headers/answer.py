"""A module tree without running anything: from a checkpoint's headers, and from code read as text."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from vlm_inspect.build.headers import build as header
from vlm_inspect.checkpoint import Checkpoint, DeclaredClasses
from vlm_inspect.tensors import TensorHeaders
from vlm_inspect.tree import ModuleTree

_BY_NAME = (
    "Without code, a module's steps are in the order of their names; those without tensors are not seen."
)


def answer_from_headers(
    checkpoint: Checkpoint,
    headers: TensorHeaders,
    code: Mapping[str, str] | None = None,
    stated: DeclaredClasses | None = None,
) -> ModuleTree:
    """The tree of a checkpoint whose class transformers does not have.

    `code` is the text of the repository's own files by name. It is parsed and followed, never imported.
    `stated` is what is known of it where there are no such texts.
    Raises BadHeaderError where the tensors' names are those of no model.
    """
    tree = header.build(checkpoint.config, headers, checkpoint.identity.id)
    if code:
        from vlm_inspect.build.source.overlay import overlay
        from vlm_inspect.build.source.read import read

        return overlay(tree, read(checkpoint.config, code))
    if stated is not None:
        from vlm_inspect.build.stated import with_declared_classes

        return with_declared_classes(tree, stated, checkpoint.config)
    return replace(tree, notes=(*tree.notes, _BY_NAME))
