"""The ways in which quantisers store a weight: one function for each, tried in order.

Layouts are those that the quantisers of transformers and the libraries behind them write. A function looks at the
names, dtypes and shapes of one module's tensors; only where these leave a choice does the configuration decide.
"""

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
from vlm_inspect.core.checkpoint import TensorInfo
from vlm_inspect.core.module_tree import Shape, join

_BITS = ("bits", "w_bit", "num_bits", "weight_bits", "nbits")
_GROUP_SIZES = ("group_size", "q_group_size", "w_group_size")
# keys of settings for single modules: AutoRound's, VPTQ's, ModelOpt's, Gemma's
_PER_MODULE = ("extra_config", "config_for_layers", "quantized_layers", "module_quant_configs")

_BYTE, _BITS_PER_INT32 = 8, 32
_NIBBLES = 2
_TERNARY = 4  # ternary values in a byte (BitNet)
_BLOCKS = (16, 32)  # values that share a scale of 8 bits in NVFP4 and in the microscaling formats
_UNPACKED_DTYPES = re.compile(r"^(F8_|F4|F6|I8$)")  # quantised dtypes with one value per element
PACKED_DTYPES = frozenset({"U8", "I32", "U32", "I16", "U16", "I64", "U64"})
"""Dtypes of integers that may hold several values."""
_SCALES = re.compile(
    r"(_|\.)(scale|scale_inv|scales|scale_2|zero_point|zeros|global_scale|g_idx|shape|amax|_scale|_shift)$"
)
ACTIVATION_SCALES = re.compile(
    r"^(input|output|activation|input_activation|output_activation|k|v|q|prob|weight|pre_quant)"
    r"_(scales?|zero_point|global_scale|scale_inv|scale_ub|g_idx|amax|scale_2)$"
)
"""Names of scales that belong to the module's `weight`, whatever its name is."""
_INT8_EXTRAS = frozenset({"SCB", "weight_format", "CB", "scale_weight", "scale_input", "comfy_quant"})
_UNKNOWN_PACKINGS = ("qweight", "weight_packed", "dense_weights", "weight._data", "indices", "q_weight")


class Quantisation(Struct, frozen=True):
    """Bits and group size, and those of single modules that have others."""

    method: str = ""
    bits: int | None = None
    group_size: int | None = None
    sizes: Shape | None = None
    """(out, in) of a module, if the configuration states it."""
    per_module: Mapping[str, Quantisation] = field(default_factory=dict)
    groups: tuple[Quantisation, ...] = ()
    """The settings of compressed-tensors' groups of modules."""

    @staticmethod
    def of_config(config: Mapping[str, Any]) -> Quantisation:
        """Read a configuration; all fields are empty if it has no quantisation."""
        stated = quantization_config(config)
        whole = _settings(stated)
        nested = (stated.get(key) for key in _PER_MODULE)
        named = [stated, *(each for each in nested if isinstance(each, Mapping))]
        modules = {
            name: replace(_settings(value), method=whole.method)
            for settings in named
            for name, value in settings.items()
            if isinstance(value, Mapping)
        }
        return replace(whole, per_module=modules, groups=tuple(map(_settings, _group_weights(stated))))

    def of_module(self, path: str) -> Quantisation:
        """Return the settings of one module."""
        return self.per_module.get(path, self)


def _settings(stated: Mapping[str, Any]) -> Quantisation:
    groups = _group_weights(stated)
    same = len({first_size(weights, ("num_bits",)) for weights in groups}) == 1
    weights = groups[0] if same else {}
    method = stated.get("quant_method", stated.get("format"))
    out, given = first_size(stated, ("out_features",)), first_size(stated, ("in_features",))
    return Quantisation(
        method[:40] if isinstance(method, str) else "",
        first_size(stated, _BITS) or first_size(weights, _BITS),
        first_size(stated, _GROUP_SIZES) or first_size(weights, _GROUP_SIZES),
        (out, given) if out and given else None,
    )


def _group_weights(stated: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    groups = stated.get("config_groups")
    return [
        weights
        for group in (groups.values() if isinstance(groups, Mapping) else ())
        if isinstance(group, Mapping) and isinstance(weights := group.get("weights"), Mapping)
    ]


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
    quantised: bool = False
    """Whether it is stored in a quantised format."""


def bytes_by_dtype(stored: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of several mappings of dtype → bytes."""
    total: Counter[str] = Counter()
    for each in stored:
        total.update(each)
    return dict(total)


class Module(Struct, frozen=True):
    """The stored tensors of one module by their names in it, and its quantisation."""

    path: str
    tensors: Mapping[str, TensorInfo]
    quantisation: Quantisation

    def weight(
        self, main: str, used: set[str], shape: Shape | None, name: str = "weight", *, count: int | None = None
    ) -> ModelTensor:
        """The model's tensor that is stored as `main`, together with the other tensors in `used`.

        If only the number of its values is known, a bias or the configuration may give the shape.
        """
        tensors = [self.tensors[each] for each in sorted({*used, main})]
        dtype = self.tensors[main].dtype
        shape = shape or self._shape_of_count(count)
        method = f" ({self.quantisation.method})" if self.quantisation.method else ""
        reason = f"stored as {dtype} in a packing that is not known here{method}"
        if count is not None:
            reason = "its packed values are in a row: the headers hold their number, not the shape"
        return ModelTensor(
            join(self.path, name),
            shape,
            "" if shape else reason,
            count=count,
            dtype=dtype,
            stored=bytes_by_dtype({tensor.dtype: tensor.bytes} for tensor in tensors),
            quantised=True,
        )

    def shape(self, name: str, dimensions: int = MATRIX) -> Shape | None:
        """The shape of a tensor with so many dimensions, or None."""
        tensor = self.tensors.get(name)
        return tensor.shape if tensor is not None and len(tensor.shape) == dimensions else None

    def _shape_of_count(self, count: int | None) -> Shape | None:
        if self.quantisation.sizes and count in (None, math.prod(self.quantisation.sizes)):
            return self.quantisation.sizes
        bias = self.shape("bias", 1)
        return (bias[0], count // bias[0]) if count and bias and bias[0] and count % bias[0] == 0 else None

    def all_but_bias(self) -> set[str]:
        """The names of all tensors except the bias, for packings with a module of their own."""
        return set(self.tensors) - {"bias"}


Unpacked = Iterator[tuple[ModelTensor, set[str]]]
"""Tensors of the model, each with the names of the stored tensors that it replaces."""


def _group_wise(module: Module) -> Unpacked:
    """GPTQ and AWQ: `qweight` in 32-bit integers, `scales` and `qzeros` for each group; FP-Quant: in bytes."""
    packed, scales = module.tensors.get("qweight"), module.tensors.get("scales")
    if packed is None:
        return
    used = {"qweight", "qzeros", "scales", "g_idx"} & module.tensors.keys()
    shape = None
    if scales is not None and len(packed.shape) == len(scales.shape) == MATRIX:
        index, bits = module.tensors.get("g_idx"), module.quantisation.bits
        shape = _gptq(packed.shape, scales.shape, index, bits) or _awq(packed.shape, scales.shape, bits)
        if packed.dtype == "U8":
            shape = _two_in_a_byte(packed, scales)
            used = module.all_but_bias()
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


def _exllama(module: Module) -> Unpacked:
    """EXL2: `q_weight` and the order of its inputs; EXL3: `trellis` between the signs of inputs and outputs."""
    packed, order = module.shape("q_weight"), module.tensors.get("q_invperm", module.tensors.get("q_perm"))
    inputs, outputs = module.shape("suh", 1), module.shape("svh", 1)
    if packed is not None and order is not None:
        yield module.weight("q_weight", used := module.all_but_bias(), (packed[1], math.prod(order.shape))), used
    elif "trellis" in module.tensors and inputs and outputs:
        yield module.weight("trellis", used := module.all_but_bias(), (outputs[0], inputs[0])), used


def _codebooks(module: Module) -> Unpacked:
    """AQLM: `codes` [out / g, in / h, books] of `codebooks` [books, entries, g, h]; VPTQ: by the configuration."""
    codes, books = module.shape("codes", 3), module.shape("codebooks", 4)
    if codes and books:
        yield module.weight("codes", used := module.all_but_bias(), (codes[0] * books[2], codes[1] * books[3])), used
    elif "indices" in module.tensors and module.quantisation.sizes:
        yield module.weight("indices", used := module.all_but_bias(), module.quantisation.sizes), used


def _half_quadratic(module: Module) -> Unpacked:
    """HQQ and SINQ: groups of `W_q` in rows (axis 1) or columns, and a scale for each. The shape is a value."""
    packed, scale = module.tensors.get("W_q"), module.shape("scale")
    if packed is None:
        return
    count, bits = None, module.quantisation.bits
    if scale and len(packed.shape) == MATRIX and scale[1] == 1:
        count = scale[0] * packed.shape[1]
    elif bits and _BYTE % bits == 0 and packed.dtype == "U8":  # three bits are padded
        count = packed.bytes * _BYTE // bits
    yield module.weight("W_q", used := module.all_but_bias(), None, count=count), used


def _lookup(module: Module) -> Unpacked:
    """HIGGS: `weight` [out x bits / 16, in] of 16-bit integers, with its tables and `scales` [out, groups]."""
    packed, scales = module.shape("weight"), module.shape("scales")
    if packed and scales and {"tables", "tables2"} & module.tensors.keys():
        yield module.weight("weight", used := module.all_but_bias(), (scales[0], packed[1])), used


def _compressed(module: Module) -> Unpacked:
    """compressed-tensors: `weight_packed` [out, in x bits / 32], or two 4-bit floats to a byte."""
    packed = module.tensors.get("weight_packed")
    if packed is None:
        return
    used = {name for name in module.tensors if name.startswith("weight_") or ACTIVATION_SCALES.search(name)}
    shape = None
    if packed.dtype == "U8" and packed.shape:
        shape = (*packed.shape[:-1], packed.shape[-1] * _NIBBLES)
    elif packed.shape:
        inputs = _unpacked_inputs(packed, module.tensors.get("weight_scale"), module.quantisation)
        shape = (*packed.shape[:-1], inputs) if inputs else None
    yield module.weight("weight_packed", used, shape), used


def _unpacked_inputs(packed: TensorInfo, scales: TensorInfo | None, quantisation: Quantisation) -> int | None:
    """The inputs in a row of 32-bit integers, of which the last may be padded.

    Of groups of modules with other bits, those count whose scales fit.
    """
    if quantisation.bits:
        return _unpadded(packed, scales, quantisation.bits, quantisation.group_size)
    fitting = {
        _unpadded(packed, scales, each.bits, each.group_size)
        for each in quantisation.groups
        if each.bits and _fits(packed, scales, each.bits, each.group_size)
    }
    return fitting.pop() if len(fitting) == 1 else None


def _fits(packed: TensorInfo, scales: TensorInfo | None, bits: int, group: int | None) -> bool:
    full = packed.shape[-1] * _BITS_PER_INT32 // bits
    groups = scales.shape[-1] if scales is not None and scales.shape else 1
    return 0 <= full - groups * group < _BITS_PER_INT32 // bits if group else groups == 1


def _unpadded(packed: TensorInfo, scales: TensorInfo | None, bits: int, group: int | None) -> int:
    full = packed.shape[-1] * _BITS_PER_INT32 // bits
    if not _fits(packed, scales, bits, group):
        return full
    return scales.shape[-1] * group if scales is not None and scales.shape and group else full


def _four_bits(module: Module) -> Unpacked:
    """bitsandbytes: two values to a byte in one column; the shape is in the value of `quant_state`."""
    packed = module.tensors.get("weight")
    used = {name for name in module.tensors if name.startswith("weight.")}
    if packed is None or "weight.absmax" not in used:
        return
    # the bytes may be stored as another dtype
    yield module.weight("weight", used | {"weight"}, None, count=packed.bytes * _NIBBLES), used | {"weight"}


def _torchao(module: Module) -> Unpacked:
    """torchao: `_weight_qdata` [out, in], of half the bytes for 4 bits, or in tiles with its scales [groups, out]."""
    packed = module.tensors.get("_weight_qdata")
    if packed is None:
        return
    used = {name for name in module.tensors if name.startswith("_weight_")}
    tiles = module.shape("_weight_scale_and_zero", 3)
    if _UNPACKED_DTYPES.search(packed.dtype):
        yield module.weight("_weight_qdata", used, packed.shape), used
    elif packed.dtype == "U8":
        yield module.weight("_weight_qdata", used, (*packed.shape[:-1], packed.shape[-1] * _NIBBLES)), used
    else:
        count = packed.bytes * _NIBBLES
        shape = (tiles[1], count // tiles[1]) if tiles and tiles[1] and count % tiles[1] == 0 else None
        yield module.weight("_weight_qdata", used, shape, count=count), used


def _quanto(module: Module) -> Unpacked:
    """quanto: `weight._data` as it is, or groups of two 4-bit or four 2-bit values in a byte."""
    packed, scales = module.tensors.get("weight._data._data"), module.shape("weight._scale")
    if packed is None:
        return
    used = {name for name in module.tensors if name.startswith("weight.") or ACTIVATION_SCALES.search(name)}
    bits = module.quantisation.bits or _BYTE // _NIBBLES
    count = packed.bytes * _BYTE // bits if scales is not None else None
    yield module.weight("weight._data._data", used, None, count=count), used


def _mlx(module: Module) -> Unpacked:
    """MLX and Metal: `weight` [out, in x bits / 32], with `scales` and biases [out, in / group size]."""
    packed, scales = module.tensors.get("weight"), module.tensors.get("scales")
    if packed is None or scales is None or packed.dtype != "U32":
        return
    used = {"weight", "scales", "biases", "qbiases"} & module.tensors.keys()
    inputs = set()
    if module.quantisation.group_size and scales.shape:
        inputs.add(scales.shape[-1] * module.quantisation.group_size)
    if module.quantisation.bits:
        inputs.add(packed.shape[-1] * _BITS_PER_INT32 // module.quantisation.bits)
    yield module.weight("weight", used, (*packed.shape[:-1], *inputs) if len(inputs) == 1 else None), used


def _blocks(module: Module) -> Unpacked:
    """MXFP4: `X_blocks` [..., groups, 16] of two values to a byte, and a scale for each group."""
    for name, tensor in module.tensors.items():
        base = name.removesuffix("_blocks")
        own = {name, f"{base}_scales"}
        if base == name or not own <= module.tensors.keys() or not tensor.shape:
            continue
        *outer, groups, half = tensor.shape if len(tensor.shape) > MATRIX else (*tensor.shape, 0)
        shape = (*outer, groups * half * _NIBBLES) if half * _NIBBLES in _BLOCKS else None
        yield module.weight(name, own, shape, base), own


def _in_bytes(module: Module) -> Unpacked:
    """Several values to a byte, with scales: NVFP4, MXFP4 and int4 of ModelOpt and Quark, BitNet, Gemma."""
    for name, tensor in module.tensors.items():
        main = name.removesuffix("_quantized")
        scales = (f"{main}{suffix}" for suffix in ("_scale", "_weight_scale", "_scale_inv"))
        scale = next((each for each in scales if each in module.tensors), None)
        if scale is None or tensor.dtype not in {"U8", "I8"} or _SCALES.search(name) or len(tensor.shape) < MATRIX:
            continue
        shape = _two_in_a_byte(tensor, module.tensors[scale]) or _of_rows(tensor, module.tensors[scale], module)
        if shape is not None:
            extras = {each for each in module.tensors if each.startswith(f"{main}_") and _SCALES.search(each)}
            if main == "weight":
                extras |= {each for each in module.tensors if ACTIVATION_SCALES.search(each)}
            yield (
                module.weight(name, extras | {name}, shape, "weight" if main == "embedding" else main),
                extras | {name},
            )


def _two_in_a_byte(packed: TensorInfo, scales: TensorInfo) -> Shape | None:
    """The shape of 4-bit values with a scale of 8 bits for each 16 or 32."""
    *outer, last = packed.shape
    *groups, count = scales.shape or (0,)
    in_blocks = outer == groups and count and last * _NIBBLES // count in _BLOCKS and last * _NIBBLES % count == 0
    is_scale = scales.dtype.startswith("F8_") or scales.dtype == "U8"
    return (*outer, last * _NIBBLES) if in_blocks and is_scale else None


def _of_rows(packed: TensorInfo, scales: TensorInfo, module: Module) -> Shape | None:
    """The shape of values that are packed along the outputs, or with one scale for each output."""
    if packed.dtype != "U8" or len(packed.shape) != MATRIX:
        return None
    out, given = packed.shape
    groups, bits = scales.shape, module.quantisation.bits
    if len(groups) == MATRIX and groups[0] == out * _NIBBLES:
        return groups[0], given
    if math.prod(groups) == 1 and module.quantisation.method == "bitnet":
        return out * _TERNARY, given
    if groups[:1] == (out,) and math.prod(groups) == out and bits and _BYTE % bits == 0:
        return out, given * _BYTE // bits
    return None


def _one_value_per_element(module: Module) -> Unpacked:
    """FP8 and int8, with their scales: `weight_scale_inv`, `SCB`. EETQ stores them transposed."""
    for name, tensor in module.tensors.items():
        if not _UNPACKED_DTYPES.search(tensor.dtype) or _SCALES.search(name) or name in _INT8_EXTRAS:
            continue
        base, own = name.removesuffix("._data"), {name}
        for other in module.tensors:
            is_scale = other.startswith(base) and _SCALES.search(other[len(base) :])
            of_weight = ACTIVATION_SCALES.search(other) or other in _INT8_EXTRAS
            if is_scale or (base == "weight" and of_weight):
                own.add(other)
        is_turned = module.quantisation.method == "eetq" and len(tensor.shape) == MATRIX
        shape = tensor.shape[::-1] if is_turned else tensor.shape
        yield module.weight(name, own, shape, base), own


def _unknown(module: Module) -> Unpacked:
    """Integers in place of a weight, in a packing that none of the others matches."""
    main = next((name for name in _UNKNOWN_PACKINGS if name in module.tensors), None)
    weight = module.tensors.get("weight")
    if main is None and weight is not None and weight.dtype in PACKED_DTYPES and len(weight.shape) > 1:
        main = "weight"
    if main is not None:
        used = module.all_but_bias()
        yield module.weight(main, used, None), used


PACKINGS = (
    *(_group_wise, _exllama, _codebooks, _half_quadratic, _lookup, _compressed, _four_bits, _torchao, _quanto, _mlx),
    *(_blocks, _in_bytes, _one_value_per_element, _unknown),
)
"""The packings, in the order in which they are tried."""
