"""transformers' own loader, run over shapes alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.not_built import not_built
from vlm_inspect.builders.transformers.walk import read_model
from vlm_inspect.core.checkpoint import QUANTISATION_KEYS
from vlm_inspect.core.errors import UnverifiableError
from vlm_inspect.core.load_report import LoadingInfo
from vlm_inspect.core.module_tree import ModuleTree
from vlm_inspect.core.tensors import TensorHeaders, TensorInfo

# what PEFT puts before every path of the model that it wraps
_WRAPPED = "base_model.model."


def require_renames(model: str) -> None:
    """Raise UnverifiableError where this transformers has another loader than the one that is read here."""
    import transformers

    try:
        from transformers.conversion_mapping import get_model_conversion_mapping  # noqa: F401
        from transformers.core_model_loading import rename_source_key  # noqa: F401
    except ImportError:
        raise UnverifiableError(
            f"transformers {transformers.__version__} does not say how it renames a checkpoint's keys.",
            hint="Install transformers 5.5 or later.",
            model=model,
        ) from None


def renamed(
    live: Any, state: Mapping[str, Any], keys: Iterable[str]
) -> tuple[dict[str, str], frozenset[str]]:
    """The path that the loader gives each key, and the keys that are converted besides."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    transforms = get_model_conversion_mapping(live)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    prefix = live.base_model_prefix
    paths, converted = {}, set()
    for key in keys:
        path, pattern = rename_source_key(key, renamings, converters, prefix, state)
        if path not in state and key in state:  # as the loader: what has a name of the model's keeps it
            path, pattern = rename_source_key(key, [], [], prefix, state)
        paths[key] = path
        if pattern is not None:
            converted.add(key)
    return paths, frozenset(converted)


def renamed_by_peft(live: Any, keys: Iterable[str]) -> dict[str, str]:
    """The path that PEFT gives each key of a LoRA, since its 0.19: the loader's, where the type has renames.

    It leaves alone the keys of a type whose renames are those of its classes, and a key that is the end of
    what it would become, with what it wraps around a model before it
    (peft.utils.transformers_weight_conversion.convert_peft_adapter_state_dict_for_transformers).
    """
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        get_model_conversion_mapping,
    )
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    if get_checkpoint_conversion_mapping(live.config.model_type) is None:
        return {key: key for key in keys}
    transforms = get_model_conversion_mapping(live)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    paths = {key: rename_source_key(key, renamings, converters)[0] for key in keys}
    return {key: key if f"{_WRAPPED}{key}".endswith(path) else path for key, path in paths.items()}


_LONGEST_REASON = 300

# safetensors' names of dtypes; what is not here is taken as bytes, since only its shape matters
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "BOOL": "bool",
    "C64": "complex64",
}


def load(config: Mapping[str, Any], headers: TensorHeaders, model: str) -> LoadingInfo:
    """What becomes of a checkpoint's tensors in the model that the config builds.

    Raises what `native.with_class` raises, and UnverifiableError where the loader itself fails.
    """

    def work(selected: Any, config: Mapping[str, Any]) -> LoadingInfo:
        require_renames(model)
        resolved = build.resolve(selected, config)
        live, said = _loaded(selected, resolved, headers.tensors, model)
        tree = read_model(live, resolved, selected.notes)
        otherwise = not_built(build.without_runtime(config), resolved, tree)
        return _loading(live, replace(tree, notes=(*tree.notes, *otherwise)), said, headers)

    return build.with_class(config, model, work)


def rename(config: Mapping[str, Any], keys: Sequence[str], model: str) -> LoadingInfo:
    """Where the loader would look for parameters of these names; nothing is loaded."""

    def work(selected: Any, config: Mapping[str, Any]) -> LoadingInfo:
        require_renames(model)
        resolved = build.resolve(selected, config)
        live = empty_model(selected.model_class, resolved)
        state = live.state_dict()
        paths, converted = renamed(live, state, keys)
        by_peft = renamed_by_peft(live, keys)
        return LoadingInfo(
            tree=read_model(live, resolved, selected.notes),
            shapes={path: tuple(tensor.shape) for path, tensor in state.items()},
            paths=paths,
            converted=converted,
            not_by_peft=frozenset(key for key in keys if paths[key] in state and by_peft[key] != paths[key]),
        )

    return build.with_class(config, model, work)


def empty_model(model_class: Any, resolved: Any) -> Any:
    """The live model on the meta device, with nothing loaded."""
    import accelerate

    with accelerate.init_empty_weights(include_buffers=True):
        live = model_class._from_config(resolved)  # noqa: SLF001 - AutoModel's own way to a class
        live.tie_weights()
    return live


def _loaded(
    selected: Any, resolved: Any, tensors: Iterable[TensorInfo], model: str
) -> tuple[Any, Mapping[str, Any]]:
    """The model after its loader ran, and what the loader says."""
    from transformers import PreTrainedModel

    try:
        with _reporting_nothing():
            # the loader itself, not a class's own way to it: some fetch more files than weights
            live, said = PreTrainedModel.from_pretrained.__func__(
                selected.model_class,
                None,
                config=resolved,
                state_dict=_state(tensors),
                device_map="meta",
                dtype="float32",
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (ImportError, UnverifiableError):
        raise
    except Exception as error:
        # where the class refuses the config, that is the reason, and this raises it
        empty_model(selected.model_class, resolved)
        raise _failed(selected.model_class.__name__, error, model) from error
    return live, said


def _loading(live: Any, tree: ModuleTree, said: Mapping[str, Any], headers: TensorHeaders) -> LoadingInfo:
    state = live.state_dict()
    names = [tensor.name for tensor in headers.tensors]
    to_come = [name for names in headers.missing.values() for name in names]
    paths, converted = renamed(live, state, [*names, *to_come])
    lost = {name for name in names if paths[name] not in state}
    unexpected = frozenset(name for name in lost if paths[name] in said["unexpected_keys"])
    missing, reached = frozenset(said["missing_keys"]), {paths[name] for name in names}
    mismatched = {path: (tuple(came), tuple(has)) for path, came, has in said["mismatched_keys"]}
    # what got tensors and is missing all the same could not be put together from them
    apart = {path: (None, tuple(state[path].shape)) for path in missing & reached}
    return LoadingInfo(
        tree=tree,
        shapes={path: tuple(tensor.shape) for path, tensor in state.items()},
        paths=paths,
        converted=converted,
        missing=missing - reached,
        unexpected=unexpected,
        ignored=frozenset(lost - unexpected),
        mismatched={**mismatched, **apart},
        tied=frozenset(getattr(live, "all_tied_weights_keys", ())),
    )


def _state(tensors: Iterable[TensorInfo]) -> dict[str, Any]:
    import torch

    return {
        tensor.name: torch.empty(
            tensor.shape, dtype=getattr(torch, _DTYPES.get(tensor.dtype, "uint8")), device="meta"
        )
        for tensor in tensors
    }


@contextmanager
def _reporting_nothing() -> Iterator[None]:
    """The loader without its bar and its report, which ends in an error where a conversion failed."""
    from transformers import modeling_utils
    from transformers.utils import logging

    had_bar = logging.is_progress_bar_enabled()
    report = modeling_utils.log_state_dict_report
    logging.disable_progress_bar()
    modeling_utils.log_state_dict_report = lambda *_, **__: None
    try:
        yield
    finally:
        modeling_utils.log_state_dict_report = report
        if had_bar:
            logging.enable_progress_bar()


def _failed(class_name: str, error: Exception, model: str) -> UnverifiableError:
    words = " ".join(str(error).split())[:_LONGEST_REASON]
    return UnverifiableError(
        f"{class_name}'s loader fails over these tensors: {type(error).__name__}: {words}",
        hint="Whether the checkpoint fits cannot be said.",
        model=model,
    )


_DEEPEST = 3


def quantisation(config: Mapping[str, Any]) -> str | None:
    """How a configuration says that its weights are packed (`gptq`, `fp8`); None where it says nothing."""
    stated = next(_stated(config, _DEEPEST), None)
    if stated is None:
        return None
    method = stated.get("quant_method") or stated.get("quant_algo") or stated.get("mode")
    if isinstance(method, str) and method.isprintable():
        return method[:40]
    return "MLX" if {"group_size", "bits"} <= stated.keys() else "of an unnamed kind"


def refuse_quantised(config: Mapping[str, Any], model: str) -> None:
    """Raise UnverifiableError for a configuration of packed weights."""
    method = quantisation(config)
    if method is not None:
        raise UnverifiableError(
            f"{model}: its weights are quantised ({method}), so its tensors have other names and shapes than "
            "those of the model that transformers builds: which modules are replaced, and by what, is up to "
            "the package that unpacks them.",
            hint="Verify the model that it was quantised from.",
            model=model,
        )


def _stated(config: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    yield from (part for key in QUANTISATION_KEYS if isinstance(part := config.get(key), Mapping) and part)
    for part in config.values():
        if isinstance(part, Mapping) and depth:
            yield from _stated(part, depth - 1)
