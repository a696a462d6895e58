"""The `header` builder: a module tree from safetensors headers, with class names from the repo's source."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from vlm_inspect.builders.headers.build import build, with_declared_classes
from vlm_inspect.core.checkpoint import Checkpoint, DeclaredClasses
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.tensors import TensorHeaders

_SORTED_NOTE = (
    "Without code, a module's steps are in the order of their names; those without tensors are not seen."
)


def build_header_tree(
    checkpoint: Checkpoint,
    headers: TensorHeaders,
    code: Mapping[str, str] | None = None,
    declared: DeclaredClasses | None = None,
) -> ModuleTree:
    """The tree of a checkpoint whose class transformers does not have.

    Args:
        checkpoint: The model's configuration.
        headers: Names, dtypes and shapes of its tensors.
        code: The text of the repository's Python files, by name. It is parsed, never imported or run.
        declared: Its classes as the built-in catalogue declares them, where there is no code.

    Raises:
        BadHeaderError: The tensors' names are not those of a model.

    """
    tree = build(checkpoint.config, headers, checkpoint.identity.id)
    if code:
        from vlm_inspect.builders.source.overlay import overlay
        from vlm_inspect.builders.source.read import read

        return overlay(tree, read(checkpoint.config, code))
    if declared is not None:
        return with_declared_classes(tree, declared, checkpoint.config)
    return replace(tree, notes=(*tree.notes, _SORTED_NOTE))
