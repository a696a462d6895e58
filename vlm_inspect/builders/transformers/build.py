"""Build a model of transformers' own classes on the meta device, without allocating its weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any

from msgspec.structs import replace

from vlm_inspect.builders import head_ties
from vlm_inspect.builders.config_limits import check_sizes, counted_modules
from vlm_inspect.builders.transformers import (
    build_errors,
    declared_keys,
    missing_packages,
    module_tree,
    patches,
    select,
    unused_keys,
)
from vlm_inspect.builders.transformers.not_built import not_built
from vlm_inspect.core import errors
from vlm_inspect.core.module_tree import ModuleTree

# how a model runs, not what it is: a kernel that is not installed or a dtype that this torch lacks must not
# prevent a build
_RUNTIME_KEYS = (
    *("_attn_implementation", "attn_implementation", "_attn_implementation_internal"),
    *("_attn_implementation_autoset", "_flash_attn_2_enabled", "dtype", "torch_dtype"),
)
# a build patches torch, transformers and the garbage collector for the whole process
_BUILD_LOCK = RLock()


def build(config: Mapping[str, Any], model: str) -> ModuleTree:
    """Build the class that the configuration names, and read its modules. Raises as `selected_class`."""
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
            patches.no_init(),
            patches.linspace_on_cpu(),
            patches.flash_attention_allowed(),
            unused_keys.recorded_reads(base) as reads,
        ):
            from_config = selected.model_class._from_config  # noqa: SLF001 - AutoModel's own way to a class
            live, reasons = missing_packages.build_available_parts(lambda: from_config(resolved, **attention))
            live.tie_weights()
        modules = [(path, type(module)) for path, module in live.named_modules()]
        absent = {path: reasons[module_class] for path, module_class in modules if module_class in reasons}
        unused = unused_keys.UnusedKeys.find(stated, resolved, base, reads)
        tree = module_tree.read_model(live, resolved, without=unused.names_by_class())
        return replace(
            tree,
            notes=(
                *selected.notes,
                *(missing_packages.missing_part_note(path, reason) for path, reason in absent.items()),
                *not_built(stated, tree),
            ),
            missing_modules=absent,
            uncertain=head_ties.uncertainty(config, tree),
            unused_config_keys=unused.describe(tree),
        )


@contextmanager
def selected_class(config: Mapping[str, Any], model: str) -> Iterator[select.Selection]:
    """Select the class that the configuration names, and hold the build lock inside the block.

    Raises NotNativeError, UnbuildableConfigError and BrokenEnvironmentError, also for what the block raises.
    """
    with _BUILD_LOCK:
        missing_packages.require_libraries()
        with patches.silenced(), patches.gc_disabled():
            import transformers

            selected = select.select(config, model)
            takes = partial(
                declared_keys.takes, selected.config_class, config=config, base=transformers.PretrainedConfig
            )
            check_sizes(config, model, takes)
            try:
                with counted_modules(model):
                    yield selected
            except errors.VlmInspectError:
                raise
            except ImportError as error:
                raise errors.BrokenEnvironmentError(
                    f"its class needs a package that is not installed here: {errors.error_text(error)}",
                    hint=missing_packages.advice(error),
                    model=model,
                ) from error
            except Exception as error:  # a model class may raise anything for an odd config
                raise build_errors.build_error(selected, config, error, model, takes) from error


def resolve(selected: select.Selection, config: Mapping[str, Any]) -> Any:
    """Return the configuration as its class reads it, with defaults and without runtime settings."""
    import transformers

    with patches.no_config_repr(transformers.PretrainedConfig):
        return selected.config_class.from_dict(without_runtime(config))


def without_runtime(data: Any) -> Any:
    """Return a deep copy without runtime settings; configuration classes change what they are given."""
    if isinstance(data, Mapping):
        return {key: without_runtime(value) for key, value in data.items() if key not in _RUNTIME_KEYS}
    if isinstance(data, list):
        return [without_runtime(value) for value in data]
    return copy.deepcopy(data)


def _attention_argument(config: Mapping[str, Any]) -> dict[str, str]:
    name = config.get("_attn_implementation") or config.get("attn_implementation")
    # without sdpa: older versions use it by default where a class supports it, and reject it elsewhere
    if name in ("eager", "flash_attention_2") and patches.attention_selects_classes():
        return {"attn_implementation": name}
    return {}
