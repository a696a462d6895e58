"""How a checkpoint stores a model's tensors, undone: packed weights to the shapes that the model has.

A quantised weight is stored packed, beside scales and zero points that are no parameters of the model.
Each packing that is known is one function; the first that knows a module's tensors answers. What none
knows is left without a shape, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vlm_inspect.build.headers.packings import ACTIVATION_SCALES, PACKINGS, Logical, Module
from vlm_inspect.build.headers.quantisation import Quantisation
from vlm_inspect.tensors import TensorHeaders, TensorInfo
from vlm_inspect.tree import join

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
