"""The native build: transformers' own class, on the meta device, without a weight."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any, TypeVar

from msgspec.structs import replace

from vlm_inspect.builders.limits import check_sizes, counted_modules
from vlm_inspect.builders.transformers import missing
from vlm_inspect.builders.transformers.missing import advice, build_without, note, paths_of
from vlm_inspect.builders.transformers.patches import (
    quiet,
    rates_in_memory,
    uncollected,
    uninitialised,
    unprinted,
)
from vlm_inspect.core.errors import (
    BrokenEnvironmentError,
    NotNativeError,
    UnbuildableConfigError,
    VlmInspectError,
)
from vlm_inspect.core.module_tree import ModuleTree

KEYS = frozenset(
    {
        "_attn_implementation",
        "attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "_flash_attn_2_enabled",
    }
)
"""The keys by which configurations speak of the kernel, their library's own notes on it included."""

_FLASH = "flash_attention_2"
# sdpa is not asked for: a version takes it unasked where its class can, and refuses it where not
_ASKED_FOR = frozenset({"eager", _FLASH})
# the check of the versions in which a kernel could be a class; it wants the package and a GPU
_CHECK = "_check_and_enable_flash_attn_2"


def stated_kernel(config: Mapping[str, Any]) -> dict[str, str]:
    """The kernel that config.json states, as an argument; none where nothing is built from it."""
    asked = config.get("_attn_implementation") or config.get("attn_implementation")
    return {"attn_implementation": asked} if asked in _ASKED_FOR and _choose_classes() else {}


@contextmanager
def granted() -> Iterator[None]:
    """While this lasts, a model gets the flash attention that it asks for and supports, installed or not."""
    if not _choose_classes():
        yield
        return
    from transformers import PreTrainedModel

    own = PreTrainedModel.__dict__[_CHECK]
    setattr(PreTrainedModel, _CHECK, classmethod(_grant))
    try:
        yield
    finally:
        setattr(PreTrainedModel, _CHECK, own)


def _grant(model_class: Any, config: Any, *_: Any, **__: Any) -> Any:
    """The configuration with flash attention; with the version's own choice where the class has none."""
    if not model_class._supports_flash_attn_2:  # noqa: SLF001 - as above
        config._attn_implementation = None  # noqa: SLF001 - as above
        return model_class._check_and_enable_sdpa(config, hard_check_only=False)  # noqa: SLF001 - as above
    return config


def _choose_classes() -> bool:
    from transformers import PreTrainedModel

    return hasattr(PreTrainedModel, _CHECK)


T = TypeVar("T")

# what a config says of how a model runs, and nothing of what it is: a kernel that is not installed
# here, or a dtype that this torch lacks, must not keep anyone from looking at a model
_RUNTIME_KEYS = KEYS | {"dtype", "torch_dtype"}
_LONGEST_REASON = 300
# what stands elsewhere during a build (torch's constructors and initialisers, warnings, the hook that
# counts modules, the collector) does so in the whole process: threads build one after another
_one_at_a_time = RLock()


def build(config: Mapping[str, Any], model: str) -> ModuleTree:
    """Build the class that the config names and read it. No weight is allocated; the model is dropped.

    Raises what `with_class` raises.
    """
    return with_class(config, model, _read)


def with_class(config: Mapping[str, Any], model: str, work: Callable[[Any, Mapping[str, Any]], T]) -> T:
    """What `work` makes of the class that the config names, and of the config.

    Raises NotNativeError where transformers itself has no such class, UnbuildableConfigError where its
    class refuses the config, BrokenEnvironmentError where torch or transformers do not work.
    """
    check_sizes(config, model)
    with _one_at_a_time:
        return _with_class(config, model, work)


def _with_class(config: Mapping[str, Any], model: str, work: Callable[[Any, Mapping[str, Any]], T]) -> T:
    missing.require()
    from vlm_inspect.builders.transformers import select

    with quiet(), uncollected():
        selected = select.select(config, model)
        try:
            with counted_modules(model):
                return work(selected, config)
        except VlmInspectError:
            raise
        except ImportError as error:
            raise _needs_package(error, model) from error
        except (
            Exception
        ) as error:  # a class of transformers, given a config from anywhere: it may raise anything
            unknown = select.unknown_parts(config, error)
            if unknown:
                raise _unknown_part(unknown, select.version(), model) from error
            raise _refused(selected.model_class.__name__, error, model) from error


def _read(selected: Any, config: Mapping[str, Any]) -> ModuleTree:
    import accelerate
    import transformers

    from vlm_inspect.builders.transformers import unused_keys
    from vlm_inspect.builders.transformers.not_built import not_built
    from vlm_inspect.builders.transformers.walk import read_model

    base = transformers.PretrainedConfig
    stated = without_runtime(config)
    resolved = resolve(selected, config)
    kernel = stated_kernel(config)
    # include_buffers: without it accelerate makes each layer in memory before it moves it to meta
    empty = accelerate.init_empty_weights(include_buffers=True)
    with empty, uninitialised(), rates_in_memory(), granted(), unused_keys.recorded(base) as reads:
        # _from_config is AutoModel's own way to a class
        live, emptied = build_without(lambda: selected.model_class._from_config(resolved, **kernel))  # noqa: SLF001
        live.tie_weights()
    unbuilt = paths_of(live.named_modules(), emptied)
    notes = (*selected.notes, *(note(path, why) for path, why in unbuilt.items()))
    tree = read_model(live, resolved, notes)
    unread = unused_keys.unread_keys(stated, resolved, base, reads, tree.root)
    said = (*tree.notes, *not_built(stated, resolved, tree))
    return replace(tree, notes=said, missing_modules=unbuilt, unused_config_keys=unread)


def resolve(selected: Any, config: Mapping[str, Any]) -> Any:
    """The class's own configuration, its defaults filled in; of running, config.json says nothing."""
    import transformers

    with unprinted(transformers.PretrainedConfig):
        return selected.config_class.from_dict(without_runtime(config))


def without_runtime(config: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy without what a config says of running; configs' constructors change what they are given."""
    return dict(_without(config, _RUNTIME_KEYS))


def _without(data: Any, keys: frozenset[str]) -> Any:
    """A deep copy without these keys; configs' constructors change what they are given."""
    if isinstance(data, Mapping):
        return {key: _without(value, keys) for key, value in data.items() if key not in keys}
    if isinstance(data, list):
        return [_without(value, keys) for value in data]
    return copy.deepcopy(data)


def _reason(error: BaseException) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"


def _needs_package(error: ImportError, model: str) -> BrokenEnvironmentError:
    return BrokenEnvironmentError(
        f"its class needs a package that is not installed here: {_reason(error)}",
        hint=advice(error),
        model=model,
    )


def _unknown_part(unknown: Mapping[str, str], version: str, model: str) -> NotNativeError:
    named = " and ".join(f"{part} is of type {kind!r}" for part, kind in unknown.items())
    return NotNativeError(
        f"its {named}, which transformers {version} does not have.", model=model, short="unknown sub-config"
    )


def _refused(class_name: str, error: Exception, model: str) -> UnbuildableConfigError:
    return UnbuildableConfigError(
        f"{class_name} cannot be built from this config.json: {type(error).__name__}: {_reason(error)}",
        hint="Check the values that it names; a newer transformers may know newer keys.",
        model=model,
    )
