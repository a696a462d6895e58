"""Build a model of transformers' own classes on the meta device, without allocating its weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any

from msgspec.structs import replace

from vlm_inspect.builders.limits import check_sizes, counted_modules
from vlm_inspect.builders.transformers import select, unused_keys, walk
from vlm_inspect.builders.transformers.missing import (
    advice,
    build_available_parts,
    empty_module_paths,
    missing_part_note,
    require_libraries,
)
from vlm_inspect.builders.transformers.not_built import not_built
from vlm_inspect.builders.transformers.patches import (
    attention_selects_classes,
    flash_attention_allowed,
    gc_disabled,
    linspace_on_cpu,
    no_config_repr,
    no_init,
    silenced,
)
from vlm_inspect.core.errors import (
    BrokenEnvironmentError,
    NotNativeError,
    UnbuildableConfigError,
    VlmInspectError,
    error_text,
    typed_error_text,
)
from vlm_inspect.core.module_tree import ModuleTree

# how a model runs, not what it is: a kernel that is not installed or a dtype that this torch lacks must not
# prevent a build
_RUNTIME_KEYS = frozenset(
    {
        "_attn_implementation",
        "attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "_flash_attn_2_enabled",
        "dtype",
        "torch_dtype",
    }
)
# without sdpa: older versions use it by default where a class supports it, and reject it elsewhere
_ATTENTION_IMPLEMENTATIONS = frozenset({"eager", "flash_attention_2"})
# a build patches torch, transformers and the garbage collector for the whole process
_BUILD_LOCK = RLock()


def build(config: Mapping[str, Any], model: str) -> ModuleTree:
    """Build the class that the configuration names, and read its modules.

    Raises what `selected_class` raises.
    """
    with selected_class(config, model) as selected:
        import accelerate
        import transformers

        base = transformers.PretrainedConfig
        stated = without_runtime(config)
        resolved = resolve(selected, config)
        attention = _attention_argument(config)
        with (
            # include_buffers: without it accelerate makes each layer in memory before it moves it to meta
            accelerate.init_empty_weights(include_buffers=True),
            no_init(),
            linspace_on_cpu(),
            flash_attention_allowed(),
            unused_keys.recorded_reads(base) as reads,
        ):
            from_config = selected.model_class._from_config  # noqa: SLF001 - AutoModel's own way to a class
            live, reasons = build_available_parts(lambda: from_config(resolved, **attention))
            live.tie_weights()
        missing = empty_module_paths(live.named_modules(), reasons)
        tree = walk.read_model(live, resolved)
        return replace(
            tree,
            notes=(
                *selected.notes,
                *(missing_part_note(path, reason) for path, reason in missing.items()),
                *not_built(stated, resolved, tree),
            ),
            missing_modules=missing,
            unused_config_keys=unused_keys.unused_keys(stated, resolved, base, reads, tree.root),
        )


@contextmanager
def selected_class(config: Mapping[str, Any], model: str) -> Iterator[select.Selection]:
    """Select the class that the configuration names, and hold the build lock inside the block.

    Raises:
        NotNativeError: transformers has no such class.
        UnbuildableConfigError: a size is beyond its limit, or the class rejects the configuration.
        BrokenEnvironmentError: torch or transformers do not work, or the class needs another package.

    """
    check_sizes(config, model)
    with _BUILD_LOCK:
        require_libraries()
        with silenced(), gc_disabled():
            selected = select.select(config, model)
            try:
                with counted_modules(model):
                    yield selected
            except VlmInspectError:
                raise
            except ImportError as error:
                raise BrokenEnvironmentError(
                    f"its class needs a package that is not installed here: {error_text(error)}",
                    hint=advice(error),
                    model=model,
                ) from error
            except Exception as error:  # a model class may raise anything for an odd config
                raise _build_error(selected, config, error, model) from error


def resolve(selected: select.Selection, config: Mapping[str, Any]) -> Any:
    """Return the configuration as its class reads it, with defaults and without runtime settings."""
    import transformers

    with no_config_repr(transformers.PretrainedConfig):
        return selected.config_class.from_dict(without_runtime(config))


def without_runtime(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy without runtime settings; configuration classes change what they are given."""
    return dict(_copy_without_runtime(config))


def _copy_without_runtime(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {key: _copy_without_runtime(value) for key, value in data.items() if key not in _RUNTIME_KEYS}
    if isinstance(data, list):
        return [_copy_without_runtime(value) for value in data]
    return copy.deepcopy(data)


def _attention_argument(config: Mapping[str, Any]) -> dict[str, str]:
    name = config.get("_attn_implementation") or config.get("attn_implementation")
    if name in _ATTENTION_IMPLEMENTATIONS and attention_selects_classes():
        return {"attn_implementation": name}
    return {}


def _build_error(
    selected: select.Selection, config: Mapping[str, Any], error: Exception, model: str
) -> NotNativeError | UnbuildableConfigError:
    unknown = select.unknown_parts(config, error)
    if unknown:
        named = " and ".join(f"{part} is of type {kind!r}" for part, kind in unknown.items())
        return NotNativeError(
            f"its {named}, which transformers {select.version()} does not have.",
            model=model,
            short="unknown sub-config",
        )
    name = selected.model_class.__name__
    return UnbuildableConfigError(
        f"{name} cannot be built from this config.json: {typed_error_text(error)}",
        hint="Check the values in the message; a newer transformers may know newer keys.",
        model=model,
    )
