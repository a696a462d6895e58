"""Decide whether the head is tied, for a model of which the class leaves it to the checkpoint.

The names of the checkpoint's tensors decide. In a folder they are read; on the Hub they take one small request, and
the decision is cached. For a model that is compared with its snapshot file, the file may decide.
"""

from __future__ import annotations

from dataclasses import replace as replace_option

from msgspec.structs import replace

from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders import head_ties
from vlm_inspect.core.architecture import Architecture, Role
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.errors import VlmInspectError
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import headers, is_offline
from vlm_inspect.storage.cache import CachedResult, default_cache, key_for_ties

# transformers 4 saves files of up to 5 GB, and most weights take two bytes
_MOST_PARAMETERS_IN_ONE_FILE = 2_500_000_000


def decided_by_checkpoint(  # noqa: PLR0913 - the last is a choice, by name
    result: CachedResult,
    key: str | None,
    checkpoint: Checkpoint,
    ref: ModelRef,
    options: InspectOptions,
    *,
    cached_only: bool,
) -> CachedResult | None:
    """Return an uncertain result with the ties that the checkpoint decides; unchanged if its names are not at hand.

    None if `cached_only` forbids the request or the build that deciding takes.
    """
    identity, is_on_hub = checkpoint.identity, checkpoint.identity.source == "hub"
    if result.tree is None and key is not None:
        full = default_cache().get(key, identity, with_tree=True)
        result = full if isinstance(full, CachedResult) else result
    if checkpoint.notes:  # the Hub was not reached: do not wait for it again
        options = replace_option(options, offline=True)
    names = None if is_on_hub else _tensor_names(result, checkpoint, ref, options)
    if not is_on_hub and not names:
        return result
    ties_key = None if key is None else key_for_ties(key, identity, names or ())
    found = None if ties_key is None else default_cache().get(ties_key, identity, with_tree=True)
    if isinstance(found, CachedResult):
        return found
    if cached_only and not (is_on_hub and is_offline(options)):
        return None
    if is_on_hub:
        names = _tensor_names(result, checkpoint, ref, options)
    decided = None if names is None else _decide(result, names, checkpoint)
    if decided is not None and ties_key is not None:
        default_cache().put(ties_key, decided)
    return decided or result


def with_evidence_of(
    record: Architecture, architecture: Architecture, tree: ModuleTree
) -> tuple[Architecture, ModuleTree] | None:
    """Return a model with its head tied as in an earlier record, if a checkpoint decided only one of the two.

    None if both rest on the same evidence, or the record does not say.
    """
    heads, uncertain = record.by_role(Role.LM_HEAD), record.parameters.uncertain
    is_same = (uncertain is None) == (architecture.parameters.uncertain is None)
    if is_same or not heads or record.builder != architecture.builder:
        return None
    tree = replace(head_ties.with_tied_head(tree, is_tied=heads[0].head is not None), uncertain=uncertain)
    return describe(tree, architecture.model, architecture.builder), tree


def _tensor_names(
    result: CachedResult, checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions
) -> frozenset[str] | None:
    expected = [] if result.tree is None else [path for path, _ in result.tree.root.parameter_paths()]
    is_sharded = (result.architecture.parameters.total or 0) > _MOST_PARAMETERS_IN_ONE_FILE
    return headers.tensor_names(ref, checkpoint.identity, options, expected, is_sharded=is_sharded)


def _decide(result: CachedResult, names: frozenset[str], checkpoint: Checkpoint) -> CachedResult | None:
    """The result after the names decided; None if nothing here can say which parameters they are for."""
    record, tree = result.architecture, result.tree
    if tree is None or not names:
        return result
    try:
        stored = _stored_paths(record, names, checkpoint)
    except VlmInspectError:  # no torch, or a transformers that does not say how it renames keys
        return None
    tree = head_ties.decide(checkpoint.config, tree, stored)
    return replace(result, architecture=describe(tree, record.model, record.builder), tree=tree)


def _stored_paths(record: Architecture, names: frozenset[str], checkpoint: Checkpoint) -> frozenset[str]:
    """The parameters that the tensors are for; code of a repository has names of its own."""
    if record.builder != "transformers":
        return names
    from vlm_inspect.builders.transformers import loader

    return loader.stored_paths(checkpoint.config, names, checkpoint.identity.id)
