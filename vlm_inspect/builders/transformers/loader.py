"""Run transformers' own loader over the names and shapes of a checkpoint's tensors.

The loader's renames and weight conversions apply, and no weights are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from msgspec.structs import replace

from vlm_inspect.builders.config_values import quantization_config
from vlm_inspect.builders.transformers.build import resolve, selected_class
from vlm_inspect.builders.transformers.module_tree import read_model
from vlm_inspect.builders.transformers.not_built import not_built
from vlm_inspect.builders.transformers.patches import patched
from vlm_inspect.builders.transformers.select import Selection
from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo
from vlm_inspect.core.errors import UnverifiableError, typed_error_text
from vlm_inspect.core.load_report import LoadingInfo
from vlm_inspect.core.module_tree import ModuleTree

# parts of a leading prefix (`base_model.model.model.`), and names of wrappers that are tried
_LONGEST_WRAPPER = 4


def load(config: Mapping[str, Any], headers: TensorHeaders, model: str) -> LoadingInfo:
    """Load a checkpoint's tensors, as shapes, into the model that the configuration builds.

    Raises what `build.selected_class` raises, and UnverifiableError if the loader itself fails.
    """
    with _selected(config, model) as (selected, resolved):
        live, info = _run_loader(selected.model_class, resolved, headers.tensors, model)
        tree = read_model(live, resolved, selected.notes)
        notes = (*tree.notes, *not_built(config, tree))
        return _loading_info(live, replace(tree, notes=notes), info, headers)


def rename(config: Mapping[str, Any], keys: Sequence[str], model: str) -> LoadingInfo:
    """Return where the loader looks for parameters of these names; nothing is loaded. Raises as `load`."""
    with _selected(config, model) as (selected, resolved):
        live = empty_model(selected.model_class, resolved)
        state = live.state_dict()
        paths, converted = _renamed(live, state, keys)
        by_peft = _renamed_by_peft(live, keys)
        return LoadingInfo(
            tree=read_model(live, resolved, selected.notes),
            shapes={path: tuple(tensor.shape) for path, tensor in state.items()},
            paths=paths,
            converted=converted,
            not_by_peft=frozenset(key for key in keys if paths[key] in state and by_peft[key] != paths[key]),
        )


def stored_paths(config: Mapping[str, Any], names: Iterable[str], model: str) -> frozenset[str]:
    """Return the paths of the model that a checkpoint's tensors are for, without those of numbered layers.

    Raises as `load`.
    """
    loading = rename(config, [name for name in names if not any(map(str.isdecimal, name.split(".")))], model)
    return frozenset(loading.paths.values()) & loading.shapes.keys()


def empty_model(model_class: Any, resolved: Any) -> Any:
    """Return the model on the meta device."""
    import accelerate

    with accelerate.init_empty_weights(include_buffers=True):
        live = model_class._from_config(resolved)  # noqa: SLF001 - AutoModel's own way to a class
        live.tie_weights()
    return live


@contextmanager
def _selected(config: Mapping[str, Any], model: str) -> Iterator[tuple[Selection, Any]]:
    """The class and its configuration, if this transformers exposes how it renames a checkpoint's keys."""
    with selected_class(config, model) as selected:
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
        yield selected, resolve(selected, config)


def refuse_quantized(config: Mapping[str, Any], model: str) -> None:
    """Raise UnverifiableError for a configuration of quantised weights."""
    stated = quantization_config(config)
    if stated:
        method = stated.get("quant_method") or stated.get("quant_algo") or stated.get("mode")
        if not (isinstance(method, str) and method.isprintable()):
            method = "MLX" if {"group_size", "bits"} <= stated.keys() else "of an unnamed kind"
        raise UnverifiableError(
            f"{model}: its weights are quantised ({method[:40]}), so its tensors have other "
            "names and shapes than those of the model that transformers builds: the package that unpacks "
            "them decides which modules are replaced, and by what.",
            hint="Verify the model that it was quantised from.",
            model=model,
        )


def _run_loader(
    model_class: Any, resolved: Any, tensors: Iterable[TensorInfo], model: str
) -> tuple[Any, Mapping[str, Any]]:
    """The model after its loader ran, and the loader's `loading_info`."""
    import torch
    from transformers import PreTrainedModel

    # only shapes matter: every tensor has torch's default dtype
    state_dict = {tensor.name: torch.empty(tensor.shape, device="meta") for tensor in tensors}
    try:
        with _no_loading_report():
            # the loader itself, not the class's `from_pretrained`: some fetch more files than weights
            return PreTrainedModel.from_pretrained.__func__(  # type: ignore[no-any-return]
                model_class,
                None,
                config=resolved,
                state_dict=state_dict,
                device_map="meta",
                dtype="float32",
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
    except (ImportError, UnverifiableError):
        raise
    except Exception as error:
        empty_model(model_class, resolved)  # if the class rejects the config, this raises the reason
        raise UnverifiableError(
            f"{model_class.__name__}'s loader fails on these tensors: {typed_error_text(error)}",
            hint="Whether the checkpoint fits cannot be determined.",
            model=model,
        ) from error


def _loading_info(live: Any, tree: ModuleTree, info: Mapping[str, Any], headers: TensorHeaders) -> LoadingInfo:
    state = live.state_dict()
    names = [tensor.name for tensor in headers.tensors]
    paths, converted = _renamed(live, state, chain(names, *headers.missing.values()))
    unused = {name for name in names if paths[name] not in state}
    unexpected = frozenset(name for name in unused if paths[name] in info["unexpected_keys"])
    missing, reached = frozenset(info["missing_keys"]), {paths[name] for name in names}
    mismatched = {path: (tuple(stored), tuple(own)) for path, stored, own in info["mismatched_keys"]}
    # these got tensors and are missing all the same: the tensors could not be merged
    not_merged = {path: (None, tuple(state[path].shape)) for path in missing & reached}
    wrapper, unwrapped = _unwrapped(live, state, unexpected, missing)
    return LoadingInfo(
        tree=tree,
        shapes={path: tuple(tensor.shape) for path, tensor in state.items()},
        paths=paths,
        converted=converted,
        missing=missing - reached,
        unexpected=unexpected,
        ignored=frozenset(unused - unexpected),
        mismatched={**mismatched, **not_merged},
        tied=dict(getattr(live, "all_tied_weights_keys", ())),
        wrapper=wrapper,
        unwrapped=unwrapped,
    )


def _renamed(live: Any, state: Mapping[str, Any], keys: Iterable[str]) -> tuple[dict[str, str], frozenset[str]]:
    """The loader's path for each key, and the keys whose weights it converts too."""
    from transformers.core_model_loading import rename_source_key

    renamings, converters = _key_transforms(live)
    prefix = live.base_model_prefix
    paths, converted = {}, set()
    for key in keys:
        path, pattern = rename_source_key(key, renamings, converters, prefix, state)
        if path not in state and key in state:  # as the loader: a key of the model is not renamed
            path, pattern = rename_source_key(key, [], [], prefix, state)
        paths[key] = path
        if pattern is not None:
            converted.add(key)
    return paths, frozenset(converted)


def _unwrapped(
    live: Any, state: Mapping[str, Any], unexpected: Collection[str], missing: Collection[str]
) -> tuple[str, dict[str, str]]:
    """What most unexpected keys have too much, and the missing path of each without it; empty if nothing helps."""
    best: tuple[tuple[int, int], str, dict[str, str]] = ((0, 0), "", {})
    for wrapper, bare in _possible_wrappers(unexpected, state):
        paths, _ = _renamed(live, state, bare.values())
        fitting = {key: paths[name] for key, name in bare.items() if paths[name] in missing}
        unchanged = sum(1 for key, path in fitting.items() if bare[key] == path)
        best = max(best, ((len(fitting), unchanged), wrapper, fitting), key=lambda each: each[0])
    return best[1:] if 2 * len(best[2]) > len(unexpected) else ("", {})


def _possible_wrappers(keys: Collection[str], state: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """The most frequent prefixes of keys, and names that no module has, with the keys that are left without them."""
    parts = [key.split(".") for key in keys]
    for length in range(1, _LONGEST_WRAPPER + 1):
        prefixes = Counter(".".join([*each[:length], ""]) for each in parts if len(each) > length)
        for prefix, _ in prefixes.most_common(1):
            yield prefix, {key: key.removeprefix(prefix) for key in keys if key.startswith(prefix)}
    known = {part for path in state for part in path.split(".")}
    foreign = Counter(part for each in parts for part in {*each} - known if not part.isdigit())
    for name, _ in foreign.most_common(_LONGEST_WRAPPER):
        bare = {".".join(each): ".".join(part for part in each if part != name) for each in parts if name in each}
        yield name, bare


def _renamed_by_peft(live: Any, keys: Iterable[str]) -> dict[str, str]:
    """PEFT's path (since 0.19) for each key of a LoRA: the loader's, if the model type has renames.

    PEFT does not rename the keys of a type whose renames are those of its classes, nor a key that, after
    the prefix that PEFT puts before every path, ends with its new name
    (peft.utils.transformers_weight_conversion.convert_peft_adapter_state_dict_for_transformers).
    """
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.core_model_loading import rename_source_key

    if get_checkpoint_conversion_mapping(live.config.model_type) is None:
        return {key: key for key in keys}
    renamings, converters = _key_transforms(live)
    paths = {key: rename_source_key(key, renamings, converters)[0] for key in keys}
    return {key: key if f"base_model.model.{key}".endswith(path) else path for key, path in paths.items()}


def _key_transforms(live: Any) -> tuple[list[Any], list[Any]]:
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming

    transforms = get_model_conversion_mapping(live)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    return renamings, [each for each in transforms if isinstance(each, WeightConverter)]


@contextmanager
def _no_loading_report() -> Iterator[None]:
    """Switch off the loader's progress bar, and its report, which raises an error if a conversion failed."""
    from transformers import modeling_utils
    from transformers.utils import logging

    had_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with patched(modeling_utils, "log_state_dict_report", lambda *_, **__: None):
            yield
    finally:
        if had_bar:
            logging.enable_progress_bar()
