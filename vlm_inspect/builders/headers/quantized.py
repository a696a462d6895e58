"""The known packings of quantised weights: one function each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from vlm_inspect.core.checkpoint import QUANTISATION_KEYS
from vlm_inspect.core.module_tree import Shape, join
from vlm_inspect.core.tensors import TensorHeaders, TensorInfo

_PARTS = ("text_config", "llm_config", "language_config")
_BITS = ("bits", "w_bit", "num_bits", "weight_bits", "nbits")
_GROUPS = ("group_size", "q_group_size", "w_group_size")


class Quantisation(Struct, frozen=True):
    """Bits and group size, and where single modules have others."""

    method: str = ""
    bits: int | None = None
    group_size: int | None = None
    per_module: Mapping[str, Quantisation] = field(default_factory=dict)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Quantisation:
        """Read off a configuration; one that says nothing is one without bits."""
        parts = (config, *(part for name in _PARTS if isinstance(part := config.get(name), Mapping)))
        stated = (part.get(key) for part in parts for key in QUANTISATION_KEYS)
        found = next((value for value in stated if isinstance(value, Mapping)), {})
        own = {name: _read(value) for name, value in found.items() if isinstance(value, Mapping)}
        whole = _read(found)
        return cls(whole.method, whole.bits, whole.group_size, own)

    def of(self, module: str) -> Quantisation:
        """What holds for one module."""
        return self.per_module.get(module, self)

    @property
    def named(self) -> str:
        """` (hqq)`, for a sentence; empty where no method is named."""
        return f" ({self.method})" if self.method else ""


def _read(stated: Mapping[str, Any]) -> Quantisation:
    places = [stated, *_groups(stated)]
    method = stated.get("quant_method", stated.get("format"))
    return Quantisation(
        method[:40] if isinstance(method, str) else "", _first(places, _BITS), _first(places, _GROUPS)
    )


def _groups(stated: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """compressed-tensors states it per group of modules: used only where all groups state the same."""
    groups = stated.get("config_groups")
    weights = [
        group.get("weights")
        for group in (groups.values() if isinstance(groups, Mapping) else ())
        if isinstance(group, Mapping)
    ]
    found = [each for each in weights if isinstance(each, Mapping)]
    return found[:1] if len({each.get("num_bits") for each in found if _is_hashable(each)}) == 1 else []


def _is_hashable(weights: Mapping[str, Any]) -> bool:
    return isinstance(weights.get("num_bits"), (int, type(None)))


def _first(places: list[Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    values = (place.get(name) for place in places for name in names)
    return next((value for value in values if type(value) is int and value > 0), None)


class Logical(Struct, frozen=True):
    """A tensor of the model, however it is stored."""

    name: str
    shape: Shape | None
    """As the model has it; None where the packing does not tell."""
    reason: str = ""
    """Why there is no shape."""
    count: int | None = None
    """How many values it has, where that is known and the shape is not."""
    dtype: str = ""
    """Of the tensor that holds its values; empty where its file is not there."""
    stored: Mapping[str, int] = field(default_factory=dict)
    """Dtype → bytes, of its scales too."""


Module = Mapping[str, TensorInfo]
"""The tensors of one module, by the rest of their names: `weight`, `weight.absmax`."""


Unpacked = tuple[list[Logical], set[str]]
"""The tensors of the model, and the stored ones that are accounted for by them."""


Packing = Callable[[str, Module, Quantisation], Unpacked | None]


_PER_INT32 = 32


_NIBBLES = 2


_MATRIX = 2


_MX_BLOCK = 32
"""Values of a block of the microscaling formats, two to a byte."""


_BY_VALUE = re.compile(r"^(F8_|F4|F6|I8$)")
"""Dtypes that are quantised and not packed: one element is one value."""


_PACKED = frozenset({"U8", "I32", "U32", "I16", "U16", "I64", "U64"})


_COMPANION = re.compile(
    r"(_|\.)(scale|scale_inv|scales|scale_2|zero_point|zeros|global_scale|g_idx|shape|amax|_scale|_shift)$"
)


ACTIVATION_SCALES = re.compile(
    r"^(input|output|activation|k|v|q|prob|weight)_(scale|zero_point|global_scale|scale_inv|g_idx|amax|scale_2)$"
)


_EIGHT_BIT = frozenset({"SCB", "weight_format", "CB"})  # what bitsandbytes keeps beside int8 weights


_FOREIGN = frozenset({"W_q", "codes", "qweight", "weight_packed", "_weight_qdata", "weight._data"})


def _group_wise(owner: str, module: Module, quantisation: Quantisation) -> Unpacked | None:
    """GPTQ and AWQ: `qweight` in 32-bit integers, `scales` and `qzeros` for each group of inputs."""
    packed, scales = module.get("qweight"), module.get("scales")
    if packed is None:
        return None
    used = {"qweight", "qzeros", "scales", "g_idx"} & set(module)
    shape = None
    if scales is not None and len(packed.shape) == len(scales.shape) == _MATRIX:
        shape = _gptq(module, quantisation) or _awq(packed.shape, scales.shape, quantisation.bits)
    return [_weight(owner, module, used, shape, "qweight", quantisation)], used


def _gptq(module: Module, quantisation: Quantisation) -> Shape | None:
    """(out, in) of `qweight` [in x bits / 32, out] beside `scales` [groups, out]."""
    (rows, out), scales, order = module["qweight"].shape, module["scales"].shape, module.get("g_idx")
    if scales[1] != out:
        return None
    if order is not None:
        return out, math.prod(order.shape)
    given = rows * _PER_INT32 // quantisation.bits if quantisation.bits else None
    return (out, given) if given else None


def _awq(packed: Shape, scales: Shape, bits: int | None) -> Shape | None:
    """(out, in) of `qweight` [in, out x bits / 32], or of [out, in x bits / 32], beside its scales."""
    if scales[1] > packed[1] and scales[1] % packed[1] == 0 and scales[0] <= packed[0]:
        return scales[1], packed[0]
    if bits and scales[0] == packed[0]:
        return packed[0], packed[1] * _PER_INT32 // bits
    return None


def _compressed(owner: str, module: Module, quantisation: Quantisation) -> Unpacked | None:
    """compressed-tensors: `weight_packed` [out, in x bits / 32], or two 4-bit floats to a byte."""
    packed = module.get("weight_packed")
    if packed is None:
        return None
    used = {name for name in module if name.startswith("weight_") or ACTIVATION_SCALES.search(name)}
    shape = None
    if packed.dtype == "U8" and packed.shape:
        shape = (*packed.shape[:-1], packed.shape[-1] * _NIBBLES)
    elif packed.shape and quantisation.bits:
        shape = (*packed.shape[:-1], _unpadded(packed, module.get("weight_scale"), quantisation))
    return [_weight(owner, module, used, shape, "weight_packed", quantisation)], used


def _unpadded(packed: TensorInfo, scales: TensorInfo | None, quantisation: Quantisation) -> int:
    """How many inputs a row of 32-bit integers holds; the last of them may not be full."""
    bits, group = quantisation.bits or _PER_INT32, quantisation.group_size
    full = packed.shape[-1] * _PER_INT32 // bits
    stated = scales.shape[-1] * group if scales is not None and scales.shape and group else full
    return stated if 0 <= full - stated < _PER_INT32 // bits else full


def _four_bits(owner: str, module: Module, quantisation: Quantisation) -> Unpacked | None:
    """bitsandbytes: two values to a byte in one column; the shape is a value of `quant_state`, unread."""
    packed = module.get("weight")
    used = {name for name in module if name.startswith("weight.")} & set(module)
    if packed is None or packed.dtype != "U8" or not used:
        return None
    used |= {"weight"}
    count = math.prod(packed.shape) * _NIBBLES
    weight = _weight(owner, module, used, None, "weight", quantisation)
    bias = module.get("bias")
    out = bias.shape[0] if bias is not None and len(bias.shape) == 1 else 0
    shape = (out, count // out) if out and count % out == 0 else None
    reason = "" if shape else "stored as 4-bit values in a row: the headers hold their number, not the shape"
    return [Logical(weight.name, shape, reason, count, weight.dtype, weight.stored)], used


def _mlx(owner: str, module: Module, quantisation: Quantisation) -> Unpacked | None:
    """MLX: `weight` [out, in x bits / 32] beside `scales` and `biases` [out, in / group size]."""
    packed, scales = module.get("weight"), module.get("scales")
    if packed is None or scales is None or packed.dtype != "U32":
        return None
    used = {"weight", "scales", "biases"} & set(module)
    own = quantisation.of(owner)
    sides = []
    if own.group_size and scales.shape:
        sides.append(scales.shape[-1] * own.group_size)
    if own.bits:
        sides.append(packed.shape[-1] * _PER_INT32 // own.bits)
    shape = (*packed.shape[:-1], sides[0]) if len(set(sides)) == 1 else None
    return [_weight(owner, module, used, shape, "weight", quantisation)], used


def _blocks(owner: str, module: Module, quantisation: Quantisation) -> Unpacked | None:
    """MXFP4: `X_blocks` [..., groups, 16] of two values to a byte, and a scale for each group."""
    found, used = [], set()
    for name, tensor in module.items():
        base = name.removesuffix("_blocks")
        if base == name or f"{base}_scales" not in module or not tensor.shape:
            continue
        own = {name, f"{base}_scales"}
        *outer, groups, half = tensor.shape if len(tensor.shape) > _MATRIX else (*tensor.shape, 0)
        shape = (*outer, groups * half * _NIBBLES) if half * _NIBBLES == _MX_BLOCK else None
        weight = _weight(owner, module, own, shape, name, quantisation)
        found.append(
            Logical(join(owner, base), shape, weight.reason, dtype=weight.dtype, stored=weight.stored)
        )
        used |= own
    return (found, used) if used else None


def _by_value(owner: str, module: Module, quantisation: Quantisation) -> Unpacked | None:
    """FP8 and int8: a value to an element, its scales beside it (`weight_scale_inv`, `SCB`)."""
    found, used = [], set()
    for name, tensor in module.items():
        if not _BY_VALUE.search(tensor.dtype) or _COMPANION.search(name):
            continue
        own = {other for other in module if other.startswith(name) and _COMPANION.search(other[len(name) :])}
        if name == "weight":
            own |= {other for other in module if other in _EIGHT_BIT or ACTIVATION_SCALES.search(other)}
        own |= {name}
        weight = _weight(owner, module, own, tensor.shape, name, quantisation)
        found.append(Logical(join(owner, name), tensor.shape, dtype=tensor.dtype, stored=weight.stored))
        used |= own
    return (found, used) if used else None


def _unknown(owner: str, module: Module, quantisation: Quantisation) -> Unpacked | None:
    """Integers where a weight belongs, in a packing that none of the others knows."""
    main = next((name for name in _FOREIGN if name in module), None)
    weight = module.get("weight")
    if main is None and weight is not None and weight.dtype in _PACKED and len(weight.shape) > 1:
        main = "weight"
    if main is None:
        return None
    used = set(module) - {"bias"}
    return [_weight(owner, module, used, None, main, quantisation)], used


PACKINGS: tuple[Packing, ...] = (_group_wise, _compressed, _four_bits, _mlx, _blocks, _by_value, _unknown)


def _weight(  # noqa: PLR0913, PLR0917 - what a packing knows of it
    owner: str, module: Module, used: set[str], shape: Shape | None, main: str, quantisation: Quantisation
) -> Logical:
    stored: dict[str, int] = {}
    for name in sorted(used):
        stored[module[name].dtype] = stored.get(module[name].dtype, 0) + module[name].bytes
    dtype = module[main].dtype
    reason = "" if shape else f"stored as {dtype} in a packing that is not known here{quantisation.named}"
    return Logical(join(owner, "weight"), shape, reason, dtype=dtype, stored=stored)


_BELOW_WEIGHT = re.compile(
    r"\.(weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+|_data|_scale|_shift))$"
)


def logical(headers: TensorHeaders, quantisation: Quantisation) -> tuple[Logical, ...]:
    """The model's tensors, in the order in which they are stored."""
    modules: dict[str, dict[str, TensorInfo]] = {}
    for tensor in headers.tensors:
        owner, rest = _place(tensor.name)
        modules.setdefault(owner, {})[rest] = tensor
    found = [each for owner, module in modules.items() for each in _module(owner, module, quantisation)]
    found += [
        Logical(name, None, f"{file} is not there")
        for file, names in headers.missing.items()
        for name in _without_scales(names)
    ]
    return tuple(found)


def _place(name: str) -> tuple[str, str]:
    below = _BELOW_WEIGHT.search(name)
    if below is not None:
        return name[: below.start()], below[1]
    owner, _, rest = name.rpartition(".")
    return owner, rest


def _module(owner: str, module: Module, quantisation: Quantisation) -> Iterator[Logical]:
    """The module's packed tensors by the first packing that knows them, the others as they are."""
    rest = dict(module)
    for packing in PACKINGS:
        answer = packing(owner, rest, quantisation)
        if answer is not None:
            yield from answer[0]
            rest = {name: tensor for name, tensor in rest.items() if name not in answer[1]}
    for name, tensor in rest.items():
        yield Logical(
            join(owner, name), tensor.shape, dtype=tensor.dtype, stored={tensor.dtype: tensor.bytes}
        )


def _without_scales(names: tuple[str, ...]) -> Iterator[str]:
    """Of tensors that are only named, those that can be the model's."""
    known = set(names)
    for name in names:
        owner, rest = _place(name)
        if rest in {"qweight", "weight_packed"}:
            yield join(owner, "weight")
        elif f"{owner}.qweight" in known and rest in {"qzeros", "scales", "g_idx"}:
            continue
        elif not rest.startswith("weight.") and not ACTIVATION_SCALES.search(rest):
            yield name
