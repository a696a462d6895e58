"""The builders of module trees, in the order in which they are tried.

1. `transformers`: the class of the installed transformers, on the meta device
2. `remote-code`: the code of the repository, in a sandbox; only with `trust_remote_code`
3. `header`: the headers of the checkpoint, and the source of the repository, read as text
4. `config`: nothing is built; only config.json is described

`InspectOptions.builder` names one; the others are then not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from vlm_inspect.builders.limits import check_largest
from vlm_inspect.core.checkpoint import Checkpoint, DeclaredClasses
from vlm_inspect.core.errors import (
    BadHeaderError,
    HubUnavailableError,
    NoHeadersError,
    NotNativeError,
    RemoteCodeError,
    SourceError,
    VlmInspectError,
)
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
    skipped_by: tuple[type[VlmInspectError], ...] = ()
    """The errors after which the next candidate is tried; any other error is the model's."""


def candidates(checkpoint: Checkpoint, options: InspectOptions) -> tuple[Candidate, ...]:
    """Return the builders to try for a checkpoint, in order; none of them for the builder `config`.

    Raises:
        UnbuildableConfigError: The configuration asks for more than any model has.
        RemoteCodeError: `remote-code` is named, but not trusted.

    """
    check_largest(checkpoint.config, checkpoint.identity.id)
    if options.builder is not None:
        return _named(options.builder, checkpoint.identity.id, options)
    native = Candidate("transformers", _native, (NotNativeError,))
    if options.trust_remote_code and _remote_class(checkpoint.config):
        return native, Candidate("remote-code", _remote)
    headers = Candidate("header", _from_headers, (NoHeadersError, BadHeaderError, HubUnavailableError))
    return native, headers


def _named(builder: Builder, model: str, options: InspectOptions) -> tuple[Candidate, ...]:
    if builder == "config":
        return ()
    if builder == "remote-code" and not options.trust_remote_code:
        raise RemoteCodeError(
            "the code of its repository is only run if you trust it.",
            hint="To trust it, add --trust-remote-code. docs/security.md describes the sandbox.",
            model=model,
        )
    builds = {"transformers": _native, "remote-code": _remote, "header": _from_headers}
    return (Candidate(builder, builds[builder]),)


def _native(checkpoint: Checkpoint, _: ModelRef, __: InspectOptions) -> BuildResult:
    from vlm_inspect.builders.transformers import build

    return BuildResult(build.build(checkpoint.config, checkpoint.identity.id))


def _remote(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> BuildResult:
    from vlm_inspect.builders.sandbox import process

    model = checkpoint.identity.id
    model_class = _remote_class(checkpoint.config)
    if model_class is None:
        raise RemoteCodeError(
            "its config.json names no code of its repository (auto_map).",
            hint="Omit --builder to use the first builder that works.",
            model=model,
        )
    config_class = dict(_references(checkpoint.config)).get("AutoConfig")
    code = process.RemoteCode(_code(checkpoint, ref, options), model_class, config_class)
    return BuildResult(process.build(code, checkpoint.config, model))


def _from_headers(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> BuildResult:
    """Build from the headers; an unfinished download counts only if the user names this builder."""
    from vlm_inspect.builders.header_tree import build_header_tree
    from vlm_inspect.builders.transformers.patches import gc_disabled
    from vlm_inspect.sources import headers

    found = headers.load(ref, checkpoint.identity, options)
    if found.missing and options.builder is None:
        raise NoHeadersError(
            f"{len(found.missing)} of its weight files are missing, for example {min(found.missing)}.",
            hint="Finish the download, or use the files that are there: --builder header",
            model=checkpoint.identity.id,
        )
    notes, is_complete = found.notes, not found.missing
    try:
        code = _code(checkpoint, ref, options)
    except SourceError as error:  # the shapes are known: only class names are missing
        code, is_complete = {}, False
        notes = (*notes, f"its repository's code could not be read, so classes are unknown: {error.message}")
    with gc_disabled():
        tree = build_header_tree(checkpoint, found, code, _declared_classes(checkpoint))
    return BuildResult(tree, notes, is_complete)


def _code(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> Mapping[str, str]:
    from vlm_inspect.sources import code_files

    return code_files.load(ref, checkpoint.identity, checkpoint.config, options)


def _declared_classes(checkpoint: Checkpoint) -> DeclaredClasses | None:
    from vlm_inspect.sources import catalogue

    identity = checkpoint.identity
    return catalogue.declared_classes(identity.id) if identity.source == "catalogue" else None


def _remote_class(config: Mapping[str, Any]) -> str | None:
    """The model class in the repository's code: the one in `architectures`, or the most specific."""
    references = dict(_references(config))
    architectures = config.get("architectures")
    for reference in references.values():
        if (
            isinstance(architectures, list)
            and architectures
            and reference.rpartition(".")[2] == architectures[0]
        ):
            return reference
    return next((references[name] for name in _AUTO_CLASSES if name in references), None)


def _references(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The entries of `auto_map` in the repository itself; another repository's code has no known commit."""
    entries = config.get("auto_map")
    for name, reference in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(reference, str) and "--" not in reference and "." in reference:
            yield str(name), reference
