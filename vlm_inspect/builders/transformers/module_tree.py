"""Read a torch module into a ModuleTree."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from vlm_inspect.builders.forward.call_order import read_decoder_half, read_forward_order
from vlm_inspect.builders.forward.fusion_ops import read_forward_info
from vlm_inspect.builders.forward.layer_passes import read_passes
from vlm_inspect.core.module_tree import (
    PARAMETRIZATIONS,
    Attribute,
    ModuleNode,
    ModuleTree,
    NodePool,
    Shape,
    join,
)

if TYPE_CHECKING:
    from torch import nn

_MODALITIES = ("image", "video", "audio")
_PLAIN_ACCESSORS = ("get_input_embeddings", "get_output_embeddings", "get_decoder", "get_encoder")
_ATTENTION_BACKENDS = {
    "_supports_flash_attn": "flash_attention",
    "_supports_flash_attn_2": "flash_attention",  # its name before transformers 4.54
    "_supports_sdpa": "sdpa",
    "_supports_flex_attn": "flex_attention",
}
# a module's index in its list is not read: with it, no two layers would be equal
POSITION = re.compile(r"(^|_)(idx|index|layer_id|layer_number)$")
_AUTO_MAPPING = re.compile(r"^MODEL_FOR_(\w+)_MAPPING_NAMES$")
_LONGEST_TEXT = 200
_NOTHING: Mapping[type, Collection[str]] = {}
# a short list is about the module (the sections of a rotary embedding), a long one about all layers
_LONGEST_LIST = 16


def read_model(
    live: nn.Module, config: Any, notes: tuple[str, ...] = (), without: Mapping[type, Collection[str]] = _NOTHING
) -> ModuleTree:
    """Read a model, and the configuration that it was built from. The model is not needed afterwards.

    Args:
        live: The model.
        config: The configuration.
        notes: Warnings for the user.
        without: The keys of each configuration class that the model does not use: no fact is taken from them.

    """
    import torch
    import transformers

    walk = _Walk()
    root, paths = walk.node(live, ""), walk.module_paths
    own_configs = list(_own_configs(live, "", None))
    config_dicts = {id(each): _used_values(each, without) for _, each in own_configs}
    backends = {name for flag, name in _ATTENTION_BACKENDS.items() if getattr(live, flag, False) is True}
    return ModuleTree(
        root=root,
        ties=tuple(tuple(each) for each in walk.parameter_paths.values() if len(each) > 1),
        accessors={name: paths[id(module)] for name, module in _accessed(live) if id(module) in paths},
        config=_used_values(config, without),
        configs={path: config_dicts[id(each)] for path, each in own_configs},
        tasks=tuple(_tasks(type(live).__name__)),
        modalities=tuple(_names(getattr(live, "input_modalities", ()))),
        attention_backends=tuple(sorted(backends)),
        forward_info=tuple(read_forward_info(live)),
        notes=notes,
        passes=walk.passes,
        versions={"transformers": transformers.__version__, "torch": torch.__version__.partition("+")[0]},
    )


class _Walk:
    """One pass over a model: its nodes, and the paths of its modules and parameters by their ids."""

    def __init__(self) -> None:
        self._pool = NodePool()
        self.module_paths: dict[int, str] = {}
        self.parameter_paths: dict[int, list[str]] = {}
        self.passes: dict[str, tuple[int | None, ...]] = {}

    def node(self, module: nn.Module, path: str) -> ModuleNode:
        self.module_paths.setdefault(id(module), path)
        parameters = _shapes(module._parameters)  # noqa: SLF001 - named_parameters() omits tied ones
        for name, _ in parameters:
            paths = self.parameter_paths.setdefault(id(module._parameters[name]), [])  # noqa: SLF001
            paths.append(join(path, name))
        self.passes |= {join(path, name): passes for name, passes in read_passes(module).items()}
        children = tuple(
            (name, self.node(child, join(path, name)))
            for name, child in module._modules.items()  # noqa: SLF001 - named_children() omits shared ones
            if child is not None
        )
        return self._pool.node(
            _class_name(module),
            detail=_detail(module),
            attributes=_attributes(module),
            parameters=parameters,
            buffers=_persistent_buffers(module),
            children=children,
            forward_order=read_forward_order(module),
            decoder_half=read_decoder_half(module),
        )


def _class_name(module: nn.Module) -> str:
    """The class of a module; of one with computed weights (weight norm), torch makes a subclass on the fly."""
    kind = type(module)
    return (kind.__base__ or kind if PARAMETRIZATIONS in module._modules else kind).__name__  # noqa: SLF001 - as above


def _shapes(tensors: Mapping[str, Any]) -> tuple[tuple[str, Shape], ...]:
    return tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items() if tensor is not None)


def _persistent_buffers(module: nn.Module) -> tuple[tuple[str, Shape], ...]:
    non_persistent = module._non_persistent_buffers_set  # noqa: SLF001 - torch has no public name for it
    buffers = module._buffers.items()  # noqa: SLF001 - as above
    return _shapes({name: buffer for name, buffer in buffers if name not in non_persistent})


def _detail(module: nn.Module) -> str:
    try:
        return str(module.extra_repr())
    except Exception:  # noqa: BLE001 - a model's own method, for display only, may raise anything
        return ""


def _attributes(module: nn.Module) -> tuple[tuple[str, Attribute], ...]:
    # most names are torch's own, twenty in every module
    read = {name: value for name, value in vars(module).items() if name[0] != "_" and _is_read(name)}
    plain = ((name, _plain_attribute(name, read[name])) for name in sorted(read))
    return tuple((name, value) for name, value in plain if value is not None)


@cache
def _is_read(name: str) -> bool:
    return name != "training" and POSITION.search(name) is None


def _plain_attribute(name: str, value: object) -> Attribute:
    """The attribute if it is a scalar, a short text or integers; the name of an activation function."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else None
    if isinstance(value, (tuple, list)) and all(type(item) is int for item in value):
        return tuple(value) if isinstance(value, tuple) or 0 < len(value) <= _LONGEST_LIST else None
    if "act" in name and callable(value):  # a function is no child module
        return getattr(value, "__name__", None)
    return None


def _own_configs(module: nn.Module, path: str, outer: Any) -> Iterator[tuple[str, Any]]:
    """The modules that have another configuration than the module that holds them."""
    config = vars(module).get("config")
    if config is None or config is outer or not hasattr(config, "to_dict"):
        config = outer
    elif path:
        yield path, config
    for name, child in module._modules.items():  # noqa: SLF001 - as above
        if child is not None:
            yield from _own_configs(child, join(path, name), config)


def _tasks(class_name: str) -> Iterator[str]:
    """The tasks of the auto classes that build a class: `MODEL_FOR_OBJECT_DETECTION_…` is `object-detection`."""
    from transformers.models.auto import modeling_auto

    for name, mapping in vars(modeling_auto).items():
        if (found := _AUTO_MAPPING.match(name)) and any(class_name in _names(each) for each in mapping.values()):
            yield found[1].lower().replace("_", "-")


def _names(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


def _used_values(config: Any, without: Mapping[type, Collection[str]]) -> dict[str, Any]:
    """A configuration as a dictionary, and those inside it, without the keys that the model does not use."""
    values: dict[str, Any] = config.to_dict()
    for name in without.get(type(config), ()):
        values.pop(name, None)
    for name, inner in vars(config).items():
        if name in values and hasattr(inner, "to_dict"):
            values[name] = _used_values(inner, without)
    return values


def _accessed(model: Any) -> Iterator[tuple[str, object]]:
    """The results of the model's accessors."""
    calls = {name: getattr(model, name) for name in _PLAIN_ACCESSORS if hasattr(model, name)}
    if hasattr(model, "get_encoder"):
        calls |= {f"get_encoder({each})": partial(model.get_encoder, modality=each) for each in _MODALITIES}
    for name, call in calls.items():
        with suppress(Exception):  # a model's own method may raise anything; then it returns no module
            yield name, call()
