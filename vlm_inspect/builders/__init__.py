"""Checkpoint → ModuleTree by the first builder that can: the order is the specification.

1. `transformers`: its own class, on the meta device
2. `remote-code`: the repo's code, isolated, where the user trusts it
3. `header`: the checkpoint's headers, with the repo's code read as text
4. `config`: what the configuration alone says; there is no tree then

A user may name one; then no other is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from vlm_inspect.builders.limits import check_largest
from vlm_inspect.core.architecture import Builder
from vlm_inspect.core.checkpoint import Checkpoint, DeclaredClasses
from vlm_inspect.core.errors import (
    BadHeaderError,
    HubUnavailableError,
    NoHeadersError,
    NotNativeError,
    RemoteCodeError,
    SourceError,
)
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.options import InspectOptions

_LEAVE_OUT = "Leave --builder out: then the first builder that can answers."
# the auto classes whose entry of `auto_map` is a whole model, the most telling first
_AUTO_CLASSES = (
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
    "AutoModelForVision2Seq",
    "AutoModelForCausalLM",
    "AutoModelForConditionalGeneration",
    "AutoModelForSeq2SeqLM",
    "AutoModel",
)


class Built(Struct, frozen=True):
    """What a builder made of a checkpoint."""

    builder: Builder
    tree: ModuleTree
    notes: tuple[str, ...] = ()
    lasting: bool = True
    """Whether the same would be built tomorrow: not of a download that is unfinished today."""


class NotBuilt(Struct, frozen=True):
    """No builder could: the configuration alone must do."""

    why: NotNativeError
    notes: tuple[str, ...] = ()


class Way(Struct, frozen=True):
    """One builder, about to build one checkpoint."""

    builder: Builder
    build: Callable[[], Built]


T = TypeVar("T")


def first(
    checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions, made: Callable[[Way], T]
) -> T | NotBuilt:
    """What is `made` of the first way that leads to a tree, or of the one that was named.

    Raises a BuildError where a builder should be able to and is not, or the configuration asks for more
    than any model has; NotNativeError, NoHeadersError or RemoteCodeError where the named one cannot.
    """
    check_largest(checkpoint.config, checkpoint.identity.id)
    if options.builder == "config":
        why = NotNativeError("nothing was built, as asked.", model=checkpoint.identity.id, short="not built")
        return NotBuilt(why)
    if options.builder is not None:
        if options.builder == "remote-code" and not options.trust_remote_code:
            raise _not_trusted(checkpoint.identity.id)
        return made(Way(options.builder, partial(_BUILD[options.builder], checkpoint, ref, options)))
    try:
        return made(Way("transformers", partial(_native, checkpoint, ref, options)))
    except NotNativeError as error:
        why_not = error
    if options.trust_remote_code and _remote_class(checkpoint.config):
        return made(Way("remote-code", partial(_remote, checkpoint, ref, options)))
    try:
        return made(Way("header", partial(_from_headers, checkpoint, ref, options, whole=True)))
    except (NoHeadersError, BadHeaderError, HubUnavailableError) as error:
        return NotBuilt(why_not, (f"answered from config.json alone: {error.message}",))


def _native(checkpoint: Checkpoint, _: ModelRef, __: InspectOptions) -> Built:
    from vlm_inspect.builders.transformers import build

    return Built("transformers", build.build(checkpoint.config, checkpoint.identity.id))


def _remote(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> Built:
    from vlm_inspect.builders.sandbox import process

    model = checkpoint.identity.id
    named = _remote_class(checkpoint.config)
    if named is None:
        why = "its config.json names no code of its own repo (auto_map)."
        raise RemoteCodeError(why, hint=_LEAVE_OUT, model=model)
    code = process.RemoteCode(_code(checkpoint, ref, options), named, _remote_config(checkpoint.config))
    return Built("remote-code", process.build(code, checkpoint.config, model))


def _not_trusted(model: str) -> RemoteCodeError:
    return RemoteCodeError(
        "its repo's own code is run only where it is trusted.",
        hint="If you trust it: --trust-remote-code. docs/security.md says how it is isolated.",
        model=model,
    )


def _from_headers(
    checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions, *, whole: bool = False
) -> Built:
    """From the headers; where they must be `whole`, an unfinished download is as good as none."""
    from vlm_inspect.builders.header_tree import build_header_tree
    from vlm_inspect.builders.transformers.patches import uncollected
    from vlm_inspect.sources import headers

    read = headers.load(ref, checkpoint.identity, options)
    if whole and read.missing:
        raise NoHeadersError(
            f"{len(read.missing)} of its weight files are not there, {min(read.missing)} among them.",
            hint="Finish the download, or ask for what is there: --builder header",
            model=checkpoint.identity.id,
        )
    notes, lasting = read.notes, not read.missing
    try:
        code = _code(checkpoint, ref, options)
    except SourceError as error:  # the shapes are there: names alone are missing
        code, lasting = {}, False
        notes = (*notes, f"its repo's code could not be read, so classes are unknown: {error.message}")
    with uncollected():
        tree = build_header_tree(checkpoint, read, code, _stated(checkpoint))
    return Built("header", tree, notes, lasting)


_BUILD: Mapping[Builder, Callable[[Checkpoint, ModelRef, InspectOptions], Built]] = {
    "transformers": _native,
    "remote-code": _remote,
    "header": _from_headers,
}


def _code(checkpoint: Checkpoint, ref: ModelRef, options: InspectOptions) -> Mapping[str, str]:
    from vlm_inspect.sources import code_files

    return code_files.load(ref, checkpoint.identity, checkpoint.config, options)


def _stated(checkpoint: Checkpoint) -> DeclaredClasses | None:
    from vlm_inspect.sources import catalogue

    identity = checkpoint.identity
    return catalogue.code(identity.id) if identity.source == "catalogue" else None


def _remote_class(config: Mapping[str, Any]) -> str | None:
    """The model's class in its repo's own code: the one that `architectures` names, or the most telling."""
    named = dict(_references(config))
    stated = config.get("architectures")
    for reference in named.values():
        if isinstance(stated, list) and stated and reference.rpartition(".")[2] == stated[0]:
            return reference
    return next((named[name] for name in _AUTO_CLASSES if name in named), None)


def _remote_config(config: Mapping[str, Any]) -> str | None:
    return dict(_references(config)).get("AutoConfig")


def _references(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The entries of `auto_map` that lie in the repo itself; another repo's code is at no known commit."""
    entries = config.get("auto_map")
    for name, reference in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(reference, str) and "--" not in reference and "." in reference:
            yield str(name), reference
