"""Recover the model's tensors from a checkpoint of quantised weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec.structs import replace

from vlm_inspect.builders.headers.classes import reads_stream
from vlm_inspect.builders.headers.packings import ACTIVATION_SCALES, PACKINGS, ModelTensor, Module, Quantisation
from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo
from vlm_inspect.core.module_tree import ancestors, join, last_name, parent_path

# tensors of a weight that have a path below it, or below its module
_BELOW_MODULE = re.compile(
    r"\.(weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+|_data|_data\._data|_scale|_shift)"
    r"|(res_|outlier_)?centroids\.weight)$"
)


def model_tensors(headers: TensorHeaders, quantisation: Quantisation) -> tuple[ModelTensor, ...]:
    """Return the model's tensors, in the order in which they are stored."""
    modules: dict[str, dict[str, TensorInfo]] = {}
    for tensor in headers.tensors:
        owner, name = _split(tensor.name)
        modules.setdefault(owner, {})[name] = tensor
    found = [each for owner, module in modules.items() for each in _unpacked(owner, module, quantisation)]
    found += [
        ModelTensor(name, None, f"{file} is not there")
        for file, names in headers.missing.items()
        for name in _without_scales(names)
    ]
    return _with_stream_widths(found)


def _split(tensor: str) -> tuple[str, str]:
    """The path of the module, and the name of the tensor in it: `weight`, `weight.absmax`."""
    below = _BELOW_MODULE.search(tensor)
    if below is not None:
        return tensor[: below.start()], below[1]
    owner, _, name = tensor.rpartition(".")
    return owner, name


def _unpacked(owner: str, tensors: Mapping[str, TensorInfo], quantisation: Quantisation) -> Iterator[ModelTensor]:
    """The module's tensors: packed ones by the first packing that matches, the others as they are stored."""
    module = Module(owner, tensors, quantisation.of_module(owner))
    for packing in PACKINGS:
        for tensor, used in packing(module):
            yield tensor
            rest = {name: info for name, info in module.tensors.items() if name not in used}
            module = replace(module, tensors=rest)
    for name, info in module.tensors.items():
        yield ModelTensor(join(owner, name), info.shape, dtype=info.dtype, stored={info.dtype: info.bytes})


def _without_scales(names: tuple[str, ...]) -> Iterator[str]:
    """The tensors of the model among those of a missing file, of which only the names are known."""
    known = set(names)
    for tensor in names:
        owner, name = _split(tensor)
        is_scale = name in {"qzeros", "scales", "g_idx"} and f"{owner}.qweight" in known
        if name in {"qweight", "weight_packed"}:
            yield join(owner, "weight")
        elif not (is_scale or name.startswith("weight.") or ACTIVATION_SCALES.search(name)):
            yield tensor


def _with_stream_widths(tensors: Sequence[ModelTensor]) -> tuple[ModelTensor, ...]:
    """Give shapes to packed weights of which only the number of values is known.

    A layer's norms have the width of its hidden states, and the name of a projection tells whether it reads
    or writes them.
    """
    if all(tensor.shape is not None or tensor.count is None for tensor in tensors):
        return tuple(tensors)
    norms: dict[str, set[int]] = {}
    for tensor in tensors:
        layer = parent_path(parent_path(tensor.name))
        if tensor.shape is not None and len(tensor.shape) == 1 and tensor.name.endswith(".weight"):
            norms.setdefault(layer, set()).add(tensor.shape[0])
    return tuple(_with_stream_width(tensor, norms) if tensor.shape is None else tensor for tensor in tensors)


def _with_stream_width(tensor: ModelTensor, norms: Mapping[str, set[int]]) -> ModelTensor:
    module = parent_path(tensor.name)
    layers = (norms[at] for at in ancestors(parent_path(module)) if last_name(at).isdigit() and at in norms)
    widths, reads = next(layers, set()), reads_stream(last_name(module))
    if reads is None or not tensor.count or len(widths) != 1:
        return tensor
    (width,) = widths
    other, rest = divmod(tensor.count, width)
    shape = (other, width) if reads else (width, other)
    return tensor if rest else replace(tensor, shape=shape, reason="")
