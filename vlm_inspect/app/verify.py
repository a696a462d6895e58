"""Verify that a checkpoint, or a PEFT adapter, fits the model that its configuration builds."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from msgspec import Struct

from vlm_inspect import sources
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders
from vlm_inspect.core.errors import (
    ConfigMissingError,
    HubUnavailableError,
    NoHeadersError,
    UnverifiableError,
    VlmInspectError,
)
from vlm_inspect.core.load_report import LoadReport
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import adapters, headers
from vlm_inspect.sources.explain import explain
from vlm_inspect.sources.hub import is_offline
from vlm_inspect.storage import snapshots
from vlm_inspect.verification.adapter import Adapter, adapter_keys, adapter_report
from vlm_inspect.verification.adapter_modules import target_modules
from vlm_inspect.verification.checkpoint import checkpoint_report

_DEFAULTS = InspectOptions()
# PEFT methods that add vectors before the tokens and change no module
_PROMPTS = {"PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE"}


class VerifyResult(Struct, frozen=True):
    """The report, and the notes of the sources."""

    report: LoadReport
    notes: tuple[str, ...] = ()


def verify(  # noqa: PLR0913 - the options of the command, by name
    model: str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    revision: str | None = None,
    token: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool = False,
) -> LoadReport:
    """Check that the tensors of a checkpoint match the model that its config builds. No weight is read.

    Args:
        model: A checkpoint or a PEFT adapter: `org/name`, `org/name@revision`, the address of its page, or a
            folder.
        base: Base model of the adapter. Default: `base_model_name_or_path`.
        revision: Branch, tag or commit on the Hub, if `model` names none.
        token: Hub token. Default: `HF_TOKEN`, or the token of `hf auth login`.
        cache_dir: Hub cache. Default: `HF_HUB_CACHE`.
        offline: Do not use the network; use cached files only.

    Returns:
        The tensors that are missing, unexpected or mismatched, and where each part of the checkpoint goes.

    Raises:
        VlmInspectError: The checkpoint cannot be read, or the model cannot be built.

    Example:
        >>> import vlm_inspect
        >>> report = vlm_inspect.verify("./my-finetune")
        >>> report.counts()
        {'missing': 0, 'unexpected': 0, 'mismatched': 0}

    """
    options = InspectOptions(token=token, cache_dir=cache_dir, offline=offline)
    return verify_model(model, base=base, revision=revision, options=options).report


def verify_model(
    model: str | PathLike[str],
    *,
    base: str | PathLike[str] | None = None,
    revision: str | None = None,
    options: InspectOptions = _DEFAULTS,
) -> VerifyResult:
    """As `verify`, with the notes of the sources. Raises as `verify`."""
    ref = ModelRef.parse(model, revision)
    if ref.path is not None and snapshots.read_if_snapshot(ref.path) is not None:
        raise NoHeadersError(
            f"{ref.name} is a snapshot file, which has no tensors.",
            hint="Use the model itself.",
            model=ref.name,
        )
    if base is not None:
        return _adapter(ref, base, options)
    try:
        checkpoint = sources.load(ref, options)
        return _checkpoint(ref, checkpoint, options)
    except (ConfigMissingError, NoHeadersError, HubUnavailableError) as error:
        # an adapter has no config.json: when offline, that looks like a model that is not cached
        is_unreachable = isinstance(error, HubUnavailableError) and not is_offline(options)
        found = None if is_unreachable else adapters.load(ref, options)
        if found is None:
            raise explain(error, ref, options) from error.__cause__
    return _adapter(ref, None, options, found)


def _checkpoint(ref: ModelRef, checkpoint: Checkpoint, options: InspectOptions) -> VerifyResult:
    from vlm_inspect.builders.transformers import loader

    name = checkpoint.identity.id
    found = headers.load(ref, checkpoint.identity, options)
    loader.refuse_quantized(checkpoint.config, name)
    _refuse_quantized_tensors(found, name)
    loaded = loader.load(checkpoint.config, found, name)
    architecture = describe(loaded.tree, checkpoint.identity, "transformers")
    return VerifyResult(checkpoint_report(loaded, found, architecture), checkpoint.notes)


def _refuse_quantized_tensors(headers: TensorHeaders, model: str) -> None:
    """Raise UnverifiableError for weights that are stored quantised and have no quantisation in config.json."""
    from vlm_inspect.builders.headers.packings import Quantisation
    from vlm_inspect.builders.headers.quantized import model_tensors

    tensors = (tensor for tensor in model_tensors(headers, Quantisation()) if tensor.quantised)
    found = [tensor for tensor in tensors if tensor.shape is None or len(tensor.shape) > 1]
    if found:
        raise UnverifiableError(
            f"{model}: {len(found)} of its weights are stored quantised ({found[0].dtype}, for example "
            f"{found[0].name[:100]}), and its config.json has no quantization_config: transformers would load "
            "them as if they were not quantised.",
            hint="Add the quantization_config that they were made with, or verify the model that was quantised.",
            model=model,
        )


def _adapter(
    ref: ModelRef, base: str | PathLike[str] | None, options: InspectOptions, found: Checkpoint | None = None
) -> VerifyResult:
    from vlm_inspect.builders.transformers import loader

    found = found or adapters.load(ref, options)
    if found is None:
        raise NoHeadersError(
            f"{ref.name} has no adapter_config.json, and --base is for adapters.",
            hint=f"vlm-inspect verify {ref.name}",
            model=ref.name,
        )
    _refuse_prompts(found.config, ref.name)
    under = sources.load(_base(found, base), options)
    tensors = headers.load(ref, found.identity, options, adapter=True)
    keys = adapter_keys(tensor.name for tensor in tensors.tensors)
    loaded = loader.rename(under.config, [key.lookup for key in keys], under.identity.id)
    architecture = describe(loaded.tree, under.identity, "transformers")
    targets = target_modules(found.config, loaded.tree.root, loaded.tree.accessors.get("get_output_embeddings"))
    adapter = Adapter(found.identity, found.config, tensors, tuple(keys))
    return VerifyResult(adapter_report(adapter, loaded, targets, architecture), (*found.notes, *under.notes))


def _base(adapter: Checkpoint, base: str | PathLike[str] | None) -> ModelRef:
    """The base model of an adapter. An adapter from the Hub must not name a path of this machine."""
    if base is not None:
        return ModelRef.parse(base)
    name = adapter.config.get("base_model_name_or_path")
    revision = adapter.config.get("revision")
    hint = f"Name its base model: vlm-inspect verify {adapter.identity.id} --base org/name"
    if not isinstance(name, str) or not name:
        raise UnverifiableError("its adapter_config.json names no base model.", hint=hint, model=adapter.identity.id)
    try:
        ref = ModelRef.parse(name, revision if isinstance(revision, str) and revision else None)
    except VlmInspectError as error:
        raise UnverifiableError(
            f"the base model in its adapter_config.json is {name[:200]!r}, which was not found.",
            hint=hint,
            model=adapter.identity.id,
        ) from error
    if ref.path is not None and adapter.identity.source == "hub":
        raise UnverifiableError(
            f"the base model in its adapter_config.json is {name[:200]!r}, a path of another machine.",
            hint=hint,
            model=adapter.identity.id,
        )
    return ref


def _refuse_prompts(config: Mapping[str, Any], model: str) -> None:
    method = config.get("peft_type")
    if isinstance(method, str) and method in _PROMPTS:
        raise UnverifiableError(
            f"{model}: a {method} adapter adds vectors before the tokens and changes no module.",
            hint="There are no modules to compare its tensors with.",
            model=model,
        )
