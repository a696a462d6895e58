"""A PEFT adapter against the model that it is put on: what its tensors reach, and what reaches nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Component
from vlm_inspect.core.load_report import ComponentLoad, LoadingInfo, LoadReport, Mismatch
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleNode, Shape, join
from vlm_inspect.core.tensors import TensorHeaders
from vlm_inspect.verification.adapter_modules import Targets, carriers
from vlm_inspect.verification.keys import Names, Tensor, component_of, grouped

_WRAPPED = ("base_model.model.", "base_model.")
# how PEFT's methods name what they put into a module: what the names start with
_PART = re.compile(
    r"(lora|adamss|beft|boft|bone|c3a|deft|delora|fourierft|frod|glora|gralora|hada|hira|hra|ia3|lily|ln_tuning"
    r"|lokr|miss|oft|osf|peanut|poly|psoft|pvera_lambda|randlora|road|shira|supertuning|tinylora"
    r"|trainable_tokens|unilora|vblora|vera_lambda|waveft)_\w+"
)
_INNER = (".base_layer", ".token_adapter")


class AdapterKey(Struct, frozen=True):
    """One tensor of an adapter."""

    key: str
    module: str
    """The module that it is for, as the adapter names it; empty of a parameter that it replaces whole."""
    part: str
    """`lora_A`, `lora_B.bias`; of a parameter that it replaces whole the parameter's name."""

    @property
    def lookup(self) -> str:
        """The parameter whose place in the model tells the place of this one."""
        return f"{self.module}.weight" if self.module else self.part


def adapter_keys(keys: Iterable[str]) -> list[AdapterKey]:
    """The keys, taken apart."""
    return [_adapter_key(key) for key in keys]


def _adapter_key(key: str) -> AdapterKey:
    name = next((key.removeprefix(wrap) for wrap in _WRAPPED if key.startswith(wrap)), key)
    parts = name.split(".")
    for index, part in enumerate(parts):
        if index and _PART.fullmatch(part):
            module = ".".join(parts[:index])
            for inner in _INNER:
                module = module.removesuffix(inner)
            is_bias = index < len(parts) - 1 and parts[-1] == "bias"
            return AdapterKey(key, module, f"{part}.bias" if is_bias else part)
    return AdapterKey(key, "", name)


_MATRIX, _EXPERTS = 2, 3


def lora_shape(part: str, node: ModuleNode, rank: int, stored: Shape) -> Shape | None:
    """What a tensor's shape must be; None where it cannot be told, or any of several would do.

    A maps the module's input to the rank, B the rank to its output.
    """
    weight = node.shape("weight")
    if weight is None:
        return _on_experts(part, node, stored)
    size_out, size_in, kernel = _sizes(node, weight)
    ones = (1,) * len(kernel)
    if node.class_name.endswith("Embedding"):
        size_in, size_out = weight[0], weight[1]
    return {
        "lora_A": (rank, size_in, *kernel),
        "lora_B": (size_out, rank, *ones),
        "lora_embedding_A": (rank, size_in),
        "lora_embedding_B": (size_out, rank),
        "lora_B.bias": (size_out,),
        "lora_magnitude_vector": (1, size_out, *ones) if kernel else (size_out,),
    }.get(part)


def rank_of(part: str, stored: Shape) -> int | None:
    """The rank that a tensor's shape tells."""
    if part in {"lora_A", "lora_embedding_A"} and stored:
        return stored[0]
    return stored[1] if part in {"lora_B", "lora_embedding_B"} and len(stored) >= _MATRIX else None


def _sizes(node: ModuleNode, weight: Shape) -> tuple[int, int, Shape]:
    """Output, input, kernel. GPT-2's Conv1D has its weight the other way round."""
    if len(weight) < _MATRIX:
        return weight[0], weight[0], ()
    size_out, size_in = (weight[1], weight[0]) if node.class_name == "Conv1D" else weight[:2]
    return size_out, size_in, weight[2:]


def _on_experts(part: str, node: ModuleNode, stored: Shape) -> Shape | None:
    """On fused experts [experts, a, b] the ranks of all experts lie one after the other."""
    fused = [shape for _, shape in node.parameters if len(shape) == _EXPERTS]
    for count, *sides in fused:
        for side in sides:
            if part == "lora_A" and len(stored) == _MATRIX and stored[0] % count == 0 and stored[1] == side:
                return stored
            if part == "lora_B" and len(stored) == _MATRIX and stored[1] % count == 0 and stored[0] == side:
                return stored
    return fused[0] if fused else None


_PAIRS = {"lora_A": "lora_B", "lora_embedding_A": "lora_embedding_B"}
_EMBEDDING = ("lora_embedding_A", "lora_embedding_B")
_PARTNERS = {**_PAIRS, **{second: first for first, second in _PAIRS.items()}}


class _Placed(Struct, frozen=True):
    """A tensor of the adapter, and where it ends in the model."""

    key: AdapterKey
    shape: Shape
    place: str
    """The path of its module, or of the parameter that it replaces."""
    is_there: bool

    @property
    def own_name(self) -> str:
        """As the adapter names it, without what PEFT wraps around the model."""
        return join(self.key.module, self.key.part)

    @property
    def path(self) -> str:
        """As the model would name it."""
        return join(self.place, self.key.part) if self.key.module else self.place


class Adapter(Struct, frozen=True):
    """An adapter as it was saved."""

    identity: ModelIdentity
    config: Mapping[str, Any]
    """The content of adapter_config.json."""
    headers: TensorHeaders
    keys: tuple[AdapterKey, ...]
    """The names of its tensors, taken apart."""

    @property
    def is_lora(self) -> bool:
        """Whether its shapes are those of a LoRA."""
        return self.config.get("peft_type") in ("LORA", None)


def fit_adapter(
    adapter: Adapter, loading: LoadingInfo, targets: Targets, architecture: Architecture
) -> LoadReport:
    """Whether an adapter's tensors reach modules of its base model, in shapes that these can take.

    `loading` says where the loader would look for each key's parameter (`AdapterKey.lookup`).
    """
    config, keys, is_lora = adapter.config, adapter.keys, adapter.is_lora
    shapes = {tensor.name: tensor.shape for tensor in adapter.headers.tensors}
    placed = [_placed(key, shapes[key.key], loading) for key in keys if key.lookup not in loading.converted]
    wrong = [*_unreached(placed, targets), *(_wrong_shapes(placed, config, loading) if is_lora else ())]
    missing = [*_halves(placed), *_untouched(placed, targets, loading)] if is_lora else []
    lost = {tensor.key for tensor in wrong}
    reached = [each for each in placed if each.key.key not in lost]
    components = architecture.components
    misfits = [
        group
        for kind in ("unexpected", "mismatched", "missing")
        for group in _grouped([tensor for tensor in (*wrong, *missing) if tensor.kind == kind], components)
    ]
    return LoadReport(
        model=adapter.identity,
        model_class=architecture.model_class,
        subject="adapter",
        tensors=len(shapes),
        loaded=len(reached),
        base=architecture.model,
        mismatches=tuple(misfits),
        components=tuple(_components(reached, components)),
        renamings=Names({each.own_name: each.path for each in placed if each.is_there}).renamings(),
        uncertain=tuple(_uncertain(adapter, loading, targets)),
        notes=(*adapter.headers.notes, *architecture.notes),
        versions=architecture.versions,
    )


def _placed(key: AdapterKey, shape: Shape, loading: LoadingInfo) -> _Placed:
    path = loading.paths[key.lookup]
    if not key.module:
        return _Placed(key, shape, path, path in loading.shapes)
    place = path.removesuffix(".weight")
    return _Placed(key, shape, place, loading.tree.find(place) is not None)


def _grouped(tensors: Sequence[Tensor], components: Sequence[Component]) -> tuple[Mismatch, ...]:
    """Told by module: the two matrices of one as one, and nothing above it."""
    modules = {tensor.name: tensor.name.rpartition(f".{_part_of(tensor.name)}")[0] for tensor in tensors}
    return grouped(tensors, [module or name for name, module in modules.items()], components)


def _part_of(name: str) -> str:
    """The last part of a name that is PEFT's."""
    return next((part for part in reversed(name.split(".")) if part.startswith("lora_")), "\0")


def _unreached(placed: Sequence[_Placed], targets: Targets) -> Iterator[Tensor]:
    """What is for a module that the model has not, or that the configuration does not ask for."""
    for each in placed:
        if not each.is_there:
            reason = "the model has no such module" if each.key.module else "the model has no such parameter"
        elif each.key.module and targets.modules is not None and each.place not in targets.modules:
            reason = "its target_modules does not name that module"
        else:
            continue
        yield Tensor("unexpected", each.path, each.key.key, stored=each.shape, reason=reason)


def _wrong_shapes(
    placed: Sequence[_Placed], config: Mapping[str, Any], loading: LoadingInfo
) -> Iterator[Tensor]:
    ranks = _ranks(placed, config)
    for each in placed:
        node = loading.tree.find(each.place) if each.is_there else None
        if node is not None and each.key.module:
            expected = lora_shape(each.key.part, node, ranks.get(each.place, 0), each.shape)
        else:
            expected = loading.shapes.get(each.place)
        if expected is not None and expected != each.shape:
            yield Tensor("mismatched", each.path, each.key.key, expected=expected, stored=each.shape)


def _ranks(placed: Sequence[_Placed], config: Mapping[str, Any]) -> dict[str, int]:
    """The rank at each module: the configuration's, or, where it differs by module, that of the A matrix."""
    stated = config.get("r")
    if type(stated) is int and not config.get("rank_pattern"):
        return dict.fromkeys((each.place for each in placed), stated)
    ranks: dict[str, int] = {}
    for each in placed:
        rank = rank_of(each.key.part, each.shape)
        if rank is not None:
            ranks.setdefault(each.place, rank)
    return ranks


def _halves(placed: Sequence[_Placed]) -> Iterator[Tensor]:
    """Of a pair of matrices the one that is not there: without it the other does nothing."""
    there = {(each.place, each.key.part) for each in placed}
    for each in placed:
        partner = _PARTNERS.get(each.key.part)
        if each.key.module and partner and (each.place, partner) not in there:
            key = each.key.key.replace(f".{each.key.part}", f".{partner}")
            yield Tensor("missing", join(each.place, partner), key, reason=f"{each.key.part} is there alone")


def _untouched(placed: Sequence[_Placed], targets: Targets, loading: LoadingInfo) -> Iterator[Tensor]:
    """Modules that the configuration asks for, and that no tensor is for."""
    if targets.modules is None:
        return
    touched = {each.place for each in placed}
    able = carriers(loading.tree.root)
    for path, node in loading.tree.root.walk():
        if path in targets.modules and path in able and path not in touched:
            names = ("lora_A", "lora_B") if not node.class_name.endswith("Embedding") else _EMBEDDING
            for name in names:
                reason = "target_modules names it, and the file has nothing for it"
                yield Tensor("missing", join(path, name), reason=reason)


def _components(reached: Sequence[_Placed], components: Sequence[Component]) -> Iterator[ComponentLoad]:
    counts = Counter(id(component_of(each.place, components)) for each in reached)
    for component in components:
        if counts[id(component)]:
            path = component.paths[0] if component.paths else None
            yield ComponentLoad(component.role, path, counts[id(component)])


def _uncertain(adapter: Adapter, loading: LoadingInfo, targets: Targets) -> Iterator[str]:
    converted = [key.key for key in adapter.keys if key.lookup in loading.converted]
    if converted:
        yield (
            f"{len(converted)} tensors are for modules that are one parameter in this model "
            f"({converted[0]} …): whether they are put together is up to PEFT."
        )
    renamed = [key.key for key in adapter.keys if _depends_on_loader(key, loading)]
    if renamed:
        yield (
            f"{len(renamed)} tensors have names of an older layout ({renamed[0]} …): transformers' own "
            "load_adapter renames them, and PEFT's PeftModel.from_pretrained leaves them without effect."
        )
    if targets.modules is None:
        yield f"Which modules the adapter is put on cannot be told: {targets.unknown}."
    if not adapter.is_lora:
        kind = adapter.config.get("peft_type")
        yield f"The shapes of {kind} tensors are not checked, only which modules they reach."


def _depends_on_loader(key: AdapterKey, loading: LoadingInfo) -> bool:
    """Whether PEFT does not rename a key as the library does; it never does for a whole parameter."""
    path = loading.paths[key.lookup]
    if key.module:
        return key.lookup in loading.not_by_peft
    return path in loading.shapes and path != key.lookup
