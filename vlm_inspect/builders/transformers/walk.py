"""A live torch module, read into a ModuleTree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from vlm_inspect.builders.forward.joins import read_forwards
from vlm_inspect.builders.forward.order import used_in_order
from vlm_inspect.core.module_tree import Attribute, ForwardInfo, ModuleNode, ModuleTree, NodePool, Shape, join

if TYPE_CHECKING:
    from torch import nn

_MODALITIES = ("image", "video", "audio")
_PLAIN_ACCESSORS = ("get_input_embeddings", "get_output_embeddings", "get_decoder", "get_encoder")
_KERNELS = {
    "_supports_flash_attn": "flash_attention",
    "_supports_flash_attn_2": "flash_attention",  # its name before transformers 4.54
    "_supports_sdpa": "sdpa",
    "_supports_flex_attn": "flex_attention",
}
# where a module stands in its list is its name's business: kept, it would make every layer its own kind
POSITION = re.compile(r"(^|_)(idx|index|layer_id|layer_number)$")
_LONGEST_TEXT = 200
# lists that say something of a module (the sections of a rotary embedding), not of all layers
_LONGEST_LIST = 16


def read_model(live: nn.Module, config: Any, notes: tuple[str, ...] = ()) -> ModuleTree:
    """A live model as data, with the configuration that it was built from. The model can be dropped then."""
    import torch
    import transformers

    walk = Walk(live)
    return ModuleTree(
        root=walk.root,
        ties=walk.ties,
        accessors=walk.accessors,
        config=config.to_dict(),
        configs=walk.configs,
        attention_backends=walk.supports,
        forward_info=walk.forwards,
        notes=notes,
        versions={"transformers": transformers.__version__, "torch": torch.__version__.partition("+")[0]},
    )


class Walk:
    """One reading of a model: its nodes, the paths of its modules, and what is tied."""

    def __init__(self, model: nn.Module) -> None:
        self._pool = NodePool()
        self._paths: dict[int, str] = {}
        self._holders: dict[int, list[str]] = {}
        self.root = self._read(model, "")
        self._model = model

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of paths at which one parameter stands, in the order of the tree."""
        return tuple(tuple(paths) for paths in self._holders.values() if len(paths) > 1)

    @property
    def accessors(self) -> dict[str, str]:
        """What the model's accessors answer, as paths; those without an answer are left out."""
        answers: dict[str, str] = {}
        for name, call in _accessor_calls(self._model):
            path = self._paths.get(id(_ask(call)))
            if path is not None:
                answers[name] = path
        return answers

    @property
    def supports(self) -> tuple[str, ...]:
        """The attention kernels that the model's class says it supports."""
        named = {kernel for flag, kernel in _KERNELS.items() if getattr(self._model, flag, False) is True}
        return tuple(sorted(named))

    @property
    def configs(self) -> dict[str, dict[str, Any]]:
        """The configurations of the parts, by the paths of the modules at which they begin."""
        found = list(_own_configs(self._model, "", None))
        plain = {id(config): config.to_dict() for _, config in found}
        return {path: plain[id(config)] for path, config in found}

    @property
    def forwards(self) -> tuple[ForwardInfo, ...]:
        """What the code of the model's modules says of the sequences that they join."""
        return tuple(read_forwards(self._model))

    def _read(self, module: nn.Module, path: str) -> ModuleNode:
        self._paths.setdefault(id(module), path)
        parameters = _shapes(module._parameters)  # noqa: SLF001 - named_parameters() leaves tied ones out
        for name, _ in parameters:
            self._holders.setdefault(id(module._parameters[name]), []).append(join(path, name))  # noqa: SLF001
        children = tuple(
            (name, self._read(child, join(path, name)))
            for name, child in module._modules.items()  # noqa: SLF001 - named_children() leaves shared ones out
            if child is not None
        )
        return self._pool.node(
            type(module).__name__,
            detail=_detail(module),
            attributes=_attributes(module),
            parameters=parameters,
            buffers=_persistent_buffers(module),
            children=children,
            forward_order=used_in_order(module),
        )


def _shapes(tensors: Mapping[str, Any]) -> tuple[tuple[str, Shape], ...]:
    return tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items() if tensor is not None)


def _persistent_buffers(module: nn.Module) -> tuple[tuple[str, Shape], ...]:
    passing = module._non_persistent_buffers_set  # noqa: SLF001 - torch has no public name for it
    return _shapes({name: buffer for name, buffer in module._buffers.items() if name not in passing})  # noqa: SLF001


def _detail(module: nn.Module) -> str:
    try:
        return str(module.extra_repr())
    except Exception:  # noqa: BLE001 - a model's own method, for display only: whatever it raises, there is no detail
        return ""


def _attributes(module: nn.Module) -> tuple[tuple[str, Attribute], ...]:
    found = []
    for name, value in vars(module).items():
        if name[0] == "_" or not _is_told(name):  # most are torch's own, twenty in every module
            continue
        plain = _plain(name, value)
        if plain is not None:
            found.append((name, plain))
    return tuple(sorted(found, key=lambda pair: pair[0]))


@cache
def _is_told(name: str) -> bool:
    return name != "training" and POSITION.search(name) is None


def _plain(name: str, value: object) -> Attribute:
    """The attribute as plain data, or None where it is not a scalar."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_TEXT else None
    if isinstance(value, (tuple, list)) and all(type(item) is int for item in value):
        return tuple(value) if isinstance(value, tuple) or 0 < len(value) <= _LONGEST_LIST else None
    if "act" in name and callable(value):  # an activation kept as a function has no module to be seen by
        return getattr(value, "__name__", None)
    return None


def _own_configs(module: nn.Module, path: str, outer: Any) -> Iterator[tuple[str, Any]]:
    """Where a configuration begins: the module has one that is not its holder's."""
    config = vars(module).get("config")
    if config is None or config is outer or not hasattr(config, "to_dict"):
        config = outer
    elif path:
        yield path, config
    for name, child in module._modules.items():  # noqa: SLF001 - as above
        if child is not None:
            yield from _own_configs(child, join(path, name), config)


def _accessor_calls(model: nn.Module) -> Iterator[tuple[str, Callable[[], object]]]:
    for name in _PLAIN_ACCESSORS:
        if hasattr(model, name):
            yield name, getattr(model, name)
    for modality in _MODALITIES:
        if hasattr(model, "get_encoder"):
            yield f"get_encoder({modality})", partial(model.get_encoder, modality=modality)


def _ask(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception:  # noqa: BLE001 - a model's own method: an accessor that fails has not answered
        return None
