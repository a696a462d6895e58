"""Recover the model's tensors from a checkpoint of quantised weights: one function for each known packing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from vlm_inspect.builders.config_values import first_size, quantization_config
from vlm_inspect.builders.headers.classes import MATRIX
from vlm_inspect.core.checkpoint import TensorHeaders, TensorInfo
from vlm_inspect.core.module_tree import Shape, join

_BITS = ("bits", "w_bit", "num_bits", "weight_bits", "nbits")
_GROUP_SIZES = ("group_size", "q_group_size", "w_group_size")

_BITS_PER_INT32 = 32
_NIBBLES = 2
_MX_BLOCK = 32  # values in a block of the microscaling formats, two to a byte
_UNPACKED_DTYPES = re.compile(r"^(F8_|F4|F6|I8$)")  # quantised dtypes with one value per element
_PACKED_DTYPES = frozenset({"U8", "I32", "U32", "I16", "U16", "I64", "U64"})
_SCALES = re.compile(
    r"(_|\.)(scale|scale_inv|scales|scale_2|zero_point|zeros|global_scale|g_idx|shape|amax|_scale|_shift)$"
)
_ACTIVATION_SCALES = re.compile(
    r"^(input|output|activation|k|v|q|prob|weight)_(scale|zero_point|global_scale|scale_inv|g_idx|amax|scale_2)$"
)
_BELOW_WEIGHT = re.compile(
    r"\.(weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+|_data|_scale|_shift))$"
)
_INT8_EXTRAS = frozenset({"SCB", "weight_format", "CB"})  # of bitsandbytes
_UNKNOWN_PACKINGS = ("W_q", "codes", "qweight", "weight_packed", "_weight_qdata", "weight._data")


class Quantisation(Struct, frozen=True):
    """Bits and group size, and those of single modules that have others."""

    method: str = ""
    bits: int | None = None
    group_size: int | None = None
    per_module: Mapping[str, Quantisation] = field(default_factory=dict)

    @staticmethod
    def of_config(config: Mapping[str, Any]) -> Quantisation:
        """Read a configuration; all fields are empty if it has no quantisation."""
        stated = quantization_config(config)
        whole = _settings(stated)
        modules = {name: _settings(value) for name, value in stated.items() if isinstance(value, Mapping)}
        same_method = {name: replace(settings, method=whole.method) for name, settings in modules.items()}
        return replace(whole, per_module=same_method)


def _settings(stated: Mapping[str, Any]) -> Quantisation:
    weights = _common_weights(stated)
    method = stated.get("quant_method", stated.get("format"))
    return Quantisation(
        method[:40] if isinstance(method, str) else "",
        first_size(stated, _BITS) or first_size(weights, _BITS),
        first_size(stated, _GROUP_SIZES) or first_size(weights, _GROUP_SIZES),
    )


def _common_weights(stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """compressed-tensors has settings for each group of modules: used if all groups have the same bits."""
    groups = stated.get("config_groups")
    found = [
        weights
        for group in (groups.values() if isinstance(groups, Mapping) else ())
        if isinstance(group, Mapping) and isinstance(weights := group.get("weights"), Mapping)
    ]
    return found[0] if len({first_size(weights, ("num_bits",)) for weights in found}) == 1 else {}


class ModelTensor(Struct, frozen=True):
    """A tensor of the model, however it is stored."""

    name: str
    shape: Shape | None
    """Its shape in the model; None if the packing does not tell."""
    reason: str = ""
    """Why there is no shape."""
    count: int | None = None
    """Its number of values, if that is known and the shape is not."""
    dtype: str = ""
    """The dtype of the tensor that stores its values; empty if its file is missing."""
    stored: Mapping[str, int] = field(default_factory=dict)
    """Dtype → bytes, including its scales."""


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
    return tuple(found)


def bytes_by_dtype(stored: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of several mappings of dtype → bytes."""
    total: Counter[str] = Counter()
    for each in stored:
        total.update(each)
    return dict(total)


def _split(tensor: str) -> tuple[str, str]:
    """The path of the module, and the name of the tensor in it: `weight`, `weight.absmax`."""
    below = _BELOW_WEIGHT.search(tensor)
    if below is not None:
        return tensor[: below.start()], below[1]
    owner, _, name = tensor.rpartition(".")
    return owner, name


def _unpacked(owner: str, tensors: Mapping[str, TensorInfo], quantisation: Quantisation) -> Iterator[ModelTensor]:
    """The module's tensors: packed ones by the first packing that matches, the others as they are stored."""
    module = _Module(owner, tensors, quantisation.per_module.get(owner, quantisation))
    for packing in _PACKINGS:
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
        elif not (is_scale or name.startswith("weight.") or _ACTIVATION_SCALES.search(name)):
            yield tensor


class _Module(Struct, frozen=True):
    """The stored tensors of one module by their names in it, and its quantisation."""

    path: str
    tensors: Mapping[str, TensorInfo]
    quantisation: Quantisation

    def weight(self, main: str, used: set[str], shape: Shape | None, name: str = "weight") -> ModelTensor:
        """The model's tensor that is stored as `main`, together with the other tensors in `used`."""
        stored = bytes_by_dtype({self.tensors[each].dtype: self.tensors[each].bytes} for each in sorted(used))
        dtype = self.tensors[main].dtype
        method = f" ({self.quantisation.method})" if self.quantisation.method else ""
        reason = "" if shape is not None else f"stored as {dtype} in a packing that is not known here{method}"
        return ModelTensor(join(self.path, name), shape, reason, dtype=dtype, stored=stored)


Unpacked = Iterator[tuple[ModelTensor, set[str]]]
"""Tensors of the model, each with the names of the stored tensors that it replaces."""


def _group_wise(module: _Module) -> Unpacked:
    """GPTQ and AWQ: `qweight` in 32-bit integers, `scales` and `qzeros` for each group of inputs."""
    packed, scales = module.tensors.get("qweight"), module.tensors.get("scales")
    if packed is None:
        return
    used = {"qweight", "qzeros", "scales", "g_idx"} & module.tensors.keys()
    shape = None
    if scales is not None and len(packed.shape) == len(scales.shape) == MATRIX:
        index, bits = module.tensors.get("g_idx"), module.quantisation.bits
        shape = _gptq(packed.shape, scales.shape, index, bits) or _awq(packed.shape, scales.shape, bits)
    yield module.weight("qweight", used, shape), used


def _gptq(packed: Shape, scales: Shape, group_index: TensorInfo | None, bits: int | None) -> Shape | None:
    """(out, in) of `qweight` [in x bits / 32, out] and `scales` [groups, out]."""
    rows, out = packed
    if scales[1] != out:
        return None
    if group_index is not None:
        return out, math.prod(group_index.shape)
    given = rows * _BITS_PER_INT32 // bits if bits else 0
    return (out, given) if given else None


def _awq(packed: Shape, scales: Shape, bits: int | None) -> Shape | None:
    """(out, in) of `qweight` [in, out x bits / 32], or of [out, in x bits / 32], and its scales."""
    if scales[1] > packed[1] and scales[1] % packed[1] == 0 and scales[0] <= packed[0]:
        return scales[1], packed[0]
    if bits and scales[0] == packed[0]:
        return packed[0], packed[1] * _BITS_PER_INT32 // bits
    return None


def _compressed(module: _Module) -> Unpacked:
    """compressed-tensors: `weight_packed` [out, in x bits / 32], or two 4-bit floats to a byte."""
    packed = module.tensors.get("weight_packed")
    if packed is None:
        return
    used = {name for name in module.tensors if name.startswith("weight_") or _ACTIVATION_SCALES.search(name)}
    shape = None
    if packed.dtype == "U8" and packed.shape:
        shape = (*packed.shape[:-1], packed.shape[-1] * _NIBBLES)
    elif packed.shape and module.quantisation.bits:
        scales = module.tensors.get("weight_scale")
        shape = (*packed.shape[:-1], _unpadded(packed, scales, module.quantisation))
    yield module.weight("weight_packed", used, shape), used


def _unpadded(packed: TensorInfo, scales: TensorInfo | None, quantisation: Quantisation) -> int:
    """The number of inputs in a row of 32-bit integers; the last integer may be padded."""
    bits, group = quantisation.bits or _BITS_PER_INT32, quantisation.group_size
    full = packed.shape[-1] * _BITS_PER_INT32 // bits
    stated = scales.shape[-1] * group if scales is not None and scales.shape and group else full
    return stated if 0 <= full - stated < _BITS_PER_INT32 // bits else full


def _four_bits(module: _Module) -> Unpacked:
    """bitsandbytes: two values to a byte in one column; the shape is in the value of `quant_state`."""
    packed = module.tensors.get("weight")
    used = {name for name in module.tensors if name.startswith("weight.")}
    if packed is None or packed.dtype != "U8" or not used:
        return
    used |= {"weight"}
    count = math.prod(packed.shape) * _NIBBLES
    bias = module.tensors.get("bias")
    out = bias.shape[0] if bias is not None and len(bias.shape) == 1 else 0
    shape = (out, count // out) if out and count % out == 0 else None
    reason = "" if shape else "stored as 4-bit values in a row: the headers hold their number, not the shape"
    yield replace(module.weight("weight", used, shape), reason=reason, count=count), used


def _mlx(module: _Module) -> Unpacked:
    """MLX: `weight` [out, in x bits / 32], with `scales` and `biases` [out, in / group size]."""
    packed, scales = module.tensors.get("weight"), module.tensors.get("scales")
    if packed is None or scales is None or packed.dtype != "U32":
        return
    used = {"weight", "scales", "biases"} & module.tensors.keys()
    inputs = set()
    if module.quantisation.group_size and scales.shape:
        inputs.add(scales.shape[-1] * module.quantisation.group_size)
    if module.quantisation.bits:
        inputs.add(packed.shape[-1] * _BITS_PER_INT32 // module.quantisation.bits)
    yield module.weight("weight", used, (*packed.shape[:-1], *inputs) if len(inputs) == 1 else None), used


def _blocks(module: _Module) -> Unpacked:
    """MXFP4: `X_blocks` [..., groups, 16] of two values to a byte, and a scale for each group."""
    for name, tensor in module.tensors.items():
        base = name.removesuffix("_blocks")
        own = {name, f"{base}_scales"}
        if base == name or not own <= module.tensors.keys() or not tensor.shape:
            continue
        *outer, groups, half = tensor.shape if len(tensor.shape) > MATRIX else (*tensor.shape, 0)
        shape = (*outer, groups * half * _NIBBLES) if half * _NIBBLES == _MX_BLOCK else None
        yield module.weight(name, own, shape, base), own


def _one_value_per_element(module: _Module) -> Unpacked:
    """FP8 and int8, with their scales: `weight_scale_inv`, `SCB`."""
    for name, tensor in module.tensors.items():
        if not _UNPACKED_DTYPES.search(tensor.dtype) or _SCALES.search(name):
            continue
        own = {name}
        for other in module.tensors:
            is_scale = other.startswith(name) and _SCALES.search(other[len(name) :])
            of_weight = _ACTIVATION_SCALES.search(other) or other in _INT8_EXTRAS
            if is_scale or (name == "weight" and of_weight):
                own.add(other)
        yield module.weight(name, own, tensor.shape, name), own


def _unknown(module: _Module) -> Unpacked:
    """Integers in place of a weight, in a packing that none of the others matches."""
    main = next((name for name in _UNKNOWN_PACKINGS if name in module.tensors), None)
    weight = module.tensors.get("weight")
    if main is None and weight is not None and weight.dtype in _PACKED_DTYPES and len(weight.shape) > 1:
        main = "weight"
    if main is not None:
        used = set(module.tensors) - {"bias"}
        yield module.weight(main, used, None), used


_PACKINGS = (_group_wise, _compressed, _four_bits, _mlx, _blocks, _one_value_per_element, _unknown)
