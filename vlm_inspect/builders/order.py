"""The builders of module trees, in the order in which they are tried.

`transformers`: the installed transformers' class, on the meta device. `remote-code`: the repository's code,
in a sandbox, only if trusted. `header`: the checkpoint's headers, and the repository's source read as text.
`config`: nothing is built. `InspectOptions.builder` names one; the others are then not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.builders import head_ties
from vlm_inspect.builders.config_limits import check_names, check_sizes, is_common_key
from vlm_inspect.builders.config_values import first_architecture
from vlm_inspect.core import errors
from vlm_inspect.core.checkpoint import Checkpoint, DeclaredClasses, TensorHeaders
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import Builder, InspectOptions

# the auto classes whose entry of `auto_map` is a whole model, the most specific first
_AUTO_CLASSES = (
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
    "AutoModelForVision2Seq",
    "AutoModelForCausalLM",
    "AutoModelForConditionalGeneration",
    "AutoModelForSeq2SeqLM",
    "AutoModel",
)
_LABELS = ("num_labels", "id2label", "label2id")  # every configuration class inherits that it reads these
_SORTED_NOTE = "Without code, a module's steps are in the order of their names; those without tensors are not seen."


class BuildResult(Struct, frozen=True):
    """The module tree of a checkpoint."""

    tree: ModuleTree
    notes: tuple[str, ...] = ()
    cacheable: bool = True
    """False if the same build may give more later, as when a download is unfinished."""


class Candidate(Struct, frozen=True):
    """A builder to try."""

    builder: Builder
    build: Callable[[Checkpoint, ModelRef, InspectOptions], BuildResult]
    skipped_by: tuple[type[errors.VlmInspectError], ...] = ()
    """The errors after which the next candidate is tried; any other error is the model's."""


def candidates(checkpoint: Checkpoint, options: InspectOptions) -> tuple[Candidate, ...]:
    """Return the builders to try for a checkpoint, in order; none of them for the builder `config`.

    Raises UnbuildableConfigError for names beyond any model's, RemoteCodeError if code is not trusted.
    """
    check_names(checkpoint.config, checkpoint.identity.id)
    if options.builder == "config":
        return ()
    if options.builder == "remote-code" and not options.trust_remote_code:
        raise errors.RemoteCodeError(
            "the code of its repository is only run if you trust it.",
            hint="To trust it, add --trust-remote-code. docs/security.md describes the sandbox.",
            model=checkpoint.identity.id,
        )
    if options.builder is not None:
        builds = {"transformers": _native, "remote-code": _remote, "header": _from_headers}
        return (Candidate(options.builder, builds[options.builder]),)
    native = Candidate("transformers", _native, (errors.NotNativeError,))
    if options.trust_remote_code and _remote_class(checkpoint.config):
        return native, Candidate("remote-code", _remote)
    unreadable = errors.NoHeadersError, errors.BadHeaderError, errors.HubUnavailableError
    return native, Candidate("header", _from_headers, unreadable)


def check_common_sizes(checkpoint: Checkpoint, also_read: tuple[str, ...] = ()) -> None:
    """Raise UnbuildableConfigError for a size beyond its limit, where no class of transformers reads the keys."""
    check_sizes(checkpoint.config, checkpoint.identity.id, lambda path: is_common_key(path) or path in also_read)


def _native(checkpoint: Checkpoint, _: ModelRef, __: InspectOptions) -> BuildResult:
    from vlm_inspect.builders.transformers import build

    return BuildResult(build.build(checkpoint.config, checkpoint.identity.id))


def _remote(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> BuildResult:
    from vlm_inspect.builders.sandbox import process

    model = checkpoint.identity.id
    check_common_sizes(checkpoint, _LABELS)
    model_class = _remote_class(checkpoint.config)
    if model_class is None:
        raise errors.RemoteCodeError(
            "its config.json names no code of its repository (auto_map).",
            hint="Omit --builder to use the first builder that works.",
            model=model,
        )
    config_class = _references(checkpoint.config).get("AutoConfig")
    code = process.RemoteCode(_code(checkpoint, ref, options), model_class, config_class)
    tree = process.build(code, checkpoint.config, model)
    return BuildResult(replace(tree, uncertain=head_ties.uncertainty(checkpoint.config, tree)))


def _from_headers(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> BuildResult:
    """Build from the headers; an unfinished download counts only if the user names this builder."""
    from vlm_inspect.builders.transformers.patches import gc_disabled
    from vlm_inspect.sources import catalogue, headers

    identity = checkpoint.identity
    check_common_sizes(checkpoint)
    found = headers.load(ref, identity, options)
    if found.missing and options.builder is None:
        raise errors.NoHeadersError(
            f"{identity.id}: {len(found.missing)} of its weight files are missing, for example {min(found.missing)}.",
            hint="Finish the download, or use the files that are there: --builder header",
            model=identity.id,
        )
    notes, is_complete = found.notes, not found.missing
    try:
        code = _code(checkpoint, ref, options)
    except errors.SourceError as error:  # the shapes are known: only class names are missing
        code, is_complete = {}, False
        notes = (*notes, f"its repository's code could not be read, so classes are unknown: {error.message}")
    declared = catalogue.declared_classes(identity.id) if identity.source == "catalogue" else None
    with gc_disabled():
        return BuildResult(build_header_tree(checkpoint, found, code, declared), notes, is_complete)


def build_header_tree(
    checkpoint: Checkpoint,
    headers: TensorHeaders,
    code: Mapping[str, str] | None = None,
    declared: DeclaredClasses | None = None,
) -> ModuleTree:
    """Return the tree of the headers, with classes of the code, which is read as text, or the declared ones.

    Raises BadHeaderError if no model has tensors of such names.
    """
    from vlm_inspect.builders.headers import build as headers_build

    tree = headers_build.build(checkpoint.config, headers, checkpoint.identity.id)
    if code:
        from vlm_inspect.builders.source.overlay import overlay
        from vlm_inspect.builders.source.read import read

        return overlay(tree, read(checkpoint.config, code))
    if declared is not None:
        from vlm_inspect.builders.source.read import with_installed_code

        return with_installed_code(headers_build.with_declared_classes(tree, declared, checkpoint.config))
    return replace(tree, notes=(*tree.notes, _SORTED_NOTE))


def _code(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> Mapping[str, str]:
    from vlm_inspect.sources import code_files

    return code_files.load(ref, checkpoint.identity, checkpoint.config, options)


def _remote_class(config: Mapping[str, Any]) -> str | None:
    """The model class in the repository's code: the one in `architectures`, or the most specific."""
    references, architecture = _references(config), first_architecture(config)
    named = [each for each in references.values() if each.rpartition(".")[2] == architecture]
    return next(iter([*named, *(references[name] for name in _AUTO_CLASSES if name in references)]), None)


def _references(config: Mapping[str, Any]) -> dict[str, str]:
    """The entries of `auto_map` in the repository itself; another repository's code has no known commit."""
    entries = config.get("auto_map")
    return {
        str(name): reference
        for name, reference in (entries.items() if isinstance(entries, Mapping) else ())
        if isinstance(reference, str) and "--" not in reference and "." in reference
    }
