"""transformers' own loader, run over names and shapes: its renames, merges and conversions apply.

A tensor on the meta device has a shape and no values, and the loader takes it as it takes any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from msgspec.structs import replace

from vlm_inspect.build import native
from vlm_inspect.build.loader.names import renamed, renamed_by_peft, require_renames
from vlm_inspect.build.misread.omissions import not_built
from vlm_inspect.build.walk import read_model
from vlm_inspect.errors import UnverifiableError
from vlm_inspect.fit import LoadingInfo
from vlm_inspect.tensors import TensorHeaders, TensorInfo
from vlm_inspect.tree import ModuleTree

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
        resolved = native.resolve(selected, config)
        live, said = _loaded(selected, resolved, headers.tensors, model)
        tree = read_model(live, resolved, selected.notes)
        otherwise = not_built(native.without_runtime(config), resolved, tree)
        return _loading(live, replace(tree, notes=(*tree.notes, *otherwise)), said, headers)

    return native.with_class(config, model, work)


def rename(config: Mapping[str, Any], keys: Sequence[str], model: str) -> LoadingInfo:
    """Where the loader would look for parameters of these names; nothing is loaded."""

    def work(selected: Any, config: Mapping[str, Any]) -> LoadingInfo:
        require_renames(model)
        resolved = native.resolve(selected, config)
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

    return native.with_class(config, model, work)


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
