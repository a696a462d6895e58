"""The report on a PEFT adapter, against its base model: whether its tensors target existing modules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from vlm_inspect.core.architecture import Architecture, Component
from vlm_inspect.core.checkpoint import TensorHeaders
from vlm_inspect.core.load_report import ComponentLoad, Kind, LoadingInfo, LoadReport, Mismatch
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleNode, Shape, join
from vlm_inspect.verification.adapter_modules import TargetModules, lora_capable
from vlm_inspect.verification.causes import adapter_causes
from vlm_inspect.verification.keys import KeyMap, TensorMismatch, group_mismatches, owning_component

_MODEL_PREFIXES = ("base_model.model.", "base_model.")
_WRAPPER_SUFFIXES = (".base_layer", ".token_adapter")
# the prefixes of the tensor names of PEFT's methods
_PEFT_TENSOR = re.compile(
    r"(lora|adamss|beft|boft|bone|c3a|deft|delora|fourierft|frod|glora|gralora|hada|hira|hra|ia3|lily|ln_tuning"
    r"|lokr|miss|oft|osf|peanut|poly|psoft|pvera_lambda|randlora|road|shira|supertuning|tinylora"
    r"|trainable_tokens|unilora|vblora|vera_lambda|waveft)_\w+"
)
_LINEAR_PARTS = ("lora_A", "lora_B")
_EMBEDDING_PARTS = ("lora_embedding_A", "lora_embedding_B")
_PARTNERS = dict(pair for a, b in (_LINEAR_PARTS, _EMBEDDING_PARTS) for pair in ((a, b), (b, a)))
_MATRIX, _FUSED_EXPERTS = 2, 3
"""Dimensions of a weight."""


class AdapterKey(Struct, frozen=True):
    """One tensor of an adapter."""

    key: str
    module: str
    """The module that it modifies, as the adapter names it; empty if it replaces a whole parameter."""
    part: str
    """`lora_A`, `lora_B.bias`; the name of the parameter that it replaces."""

    @property
    def lookup(self) -> str:
        """The parameter of the base model whose path gives the path of this tensor."""
        return f"{self.module}.weight" if self.module else self.part


class Adapter(Struct, frozen=True):
    """A saved adapter."""

    identity: ModelIdentity
    config: Mapping[str, Any]
    """The content of adapter_config.json."""
    headers: TensorHeaders
    keys: tuple[AdapterKey, ...]

    @property
    def is_lora(self) -> bool:
        """Whether its tensors have the shapes of LoRA matrices."""
        return self.config.get("peft_type") in ("LORA", None)


class _Target(Struct, frozen=True):
    """A tensor of the adapter, and its target in the model."""

    key: AdapterKey
    shape: Shape
    path: str
    """The path of the module, or of the parameter that the tensor replaces."""
    exists: bool

    @property
    def tensor_path(self) -> str:
        return join(self.path, self.key.part) if self.key.module else self.path

    def mismatch(self, reason: str = "", expected: Shape | None = None) -> TensorMismatch:
        kind: Kind = "unexpected" if expected is None else "mismatched"
        return TensorMismatch(
            kind, self.tensor_path, self.key.key, expected=expected, stored=self.shape, reason=reason
        )


def adapter_keys(keys: Iterable[str]) -> list[AdapterKey]:
    """Split the keys of an adapter into module and part."""
    return [_adapter_key(key) for key in keys]


def adapter_report(
    adapter: Adapter, loading: LoadingInfo, targets: TargetModules, architecture: Architecture
) -> LoadReport:
    """Return whether an adapter's tensors target existing modules of its base model, in the right shapes.

    `loading` is the loader's result for the parameters that the keys refer to (`AdapterKey.lookup`).
    """
    components = architecture.components
    shapes = {tensor.name: tensor.shape for tensor in adapter.headers.tensors}
    tensors = [_target(key, shapes[key.key], loading) for key in adapter.keys if key.lookup not in loading.converted]
    wrong = list(_unexpected(tensors, targets))
    missing: list[TensorMismatch] = []
    if adapter.is_lora:
        wrong += _mismatched(tensors, adapter.config, loading)
        missing += [*_missing_partners(tensors), *_missing_targets(tensors, targets, loading)]
    wrong_keys = {tensor.key for tensor in wrong}
    loaded = [tensor for tensor in tensors if tensor.key.key not in wrong_keys]
    owners = Counter(id(owning_component(tensor.path, components)) for tensor in loaded)
    loads = (
        ComponentLoad(each.role, next(iter(each.paths), None), owners[id(each)])
        for each in components
        if owners[id(each)]
    )
    key_map = KeyMap({join(each.key.module, each.key.part): each.tensor_path for each in tensors if each.exists})
    return LoadReport(
        model=adapter.identity,
        model_class=architecture.model_class,
        subject="adapter",
        tensors=len(shapes),
        loaded=len(loaded),
        base=architecture.model,
        causes=tuple(adapter_causes(adapter.config, architecture, loading.tree, wrong, len(tensors))),
        mismatches=_grouped_by_module([*wrong, *missing], components),
        components=tuple(loads),
        renamings=key_map.renamings(),
        uncertain=tuple(_uncertain(adapter, loading, targets)),
        notes=(*adapter.headers.notes, *architecture.notes),
        versions=architecture.versions,
    )


def _adapter_key(key: str) -> AdapterKey:
    name = next((key.removeprefix(prefix) for prefix in _MODEL_PREFIXES if key.startswith(prefix)), key)
    parts = name.split(".")
    for index, part in enumerate(parts):
        if index and _PEFT_TENSOR.fullmatch(part):
            module = ".".join(parts[:index])
            for suffix in _WRAPPER_SUFFIXES:
                module = module.removesuffix(suffix)
            is_bias = index < len(parts) - 1 and parts[-1] == "bias"
            return AdapterKey(key, module, f"{part}.bias" if is_bias else part)
    return AdapterKey(key, "", name)


def _target(key: AdapterKey, shape: Shape, loading: LoadingInfo) -> _Target:
    path = loading.paths[key.lookup]
    if not key.module:
        return _Target(key, shape, path, path in loading.shapes)
    module = path.removesuffix(".weight")
    return _Target(key, shape, module, loading.tree.find(module) is not None)


def _unexpected(tensors: Sequence[_Target], targets: TargetModules) -> Iterator[TensorMismatch]:
    for each in tensors:
        if not each.exists:
            yield each.mismatch(f"the model has no such {'module' if each.key.module else 'parameter'}")
        elif each.key.module and targets.paths is not None and each.path not in targets.paths:
            yield each.mismatch("its target_modules does not name that module")


def _mismatched(
    tensors: Sequence[_Target], config: Mapping[str, Any], loading: LoadingInfo
) -> Iterator[TensorMismatch]:
    ranks = _ranks(tensors, config)
    for each in tensors:
        node = loading.tree.find(each.path) if each.exists else None
        if node is not None and each.key.module:
            expected = _lora_shape(each.key.part, node, ranks.get(each.path, 0), each.shape)
        else:
            expected = loading.shapes.get(each.path)
        if expected is not None and expected != each.shape:
            yield each.mismatch(expected=expected)


def _missing_partners(tensors: Sequence[_Target]) -> Iterator[TensorMismatch]:
    """The other matrix of each pair of which the adapter has only one."""
    existing = {(each.path, each.key.part) for each in tensors}
    for each in tensors:
        part = each.key.part
        partner = _PARTNERS.get(part)
        if each.key.module and partner and (each.path, partner) not in existing:
            key = each.key.key.replace(f".{part}", f".{partner}")
            yield TensorMismatch("missing", join(each.path, partner), key, reason=f"{part} is there alone")


def _missing_targets(
    tensors: Sequence[_Target], targets: TargetModules, loading: LoadingInfo
) -> Iterator[TensorMismatch]:
    """The matrices of modules that the configuration selects and the adapter has no tensor for."""
    if targets.paths is None:
        return
    selected = targets.paths & lora_capable(loading.tree.root) - {each.path for each in tensors}
    for path, node in loading.tree.root.walk():
        if path in selected:
            reason = "target_modules names it, and the file has nothing for it"
            for part in _EMBEDDING_PARTS if node.class_name.endswith("Embedding") else _LINEAR_PARTS:
                yield TensorMismatch("missing", join(path, part), reason=reason)


def _grouped_by_module(tensors: Sequence[TensorMismatch], components: Sequence[Component]) -> tuple[Mismatch, ...]:
    """Group the two matrices of a module, and nothing above it."""
    groups: list[Mismatch] = []
    for kind in ("unexpected", "mismatched", "missing"):
        of_kind = [tensor for tensor in tensors if tensor.kind == kind]
        groups += group_mismatches(of_kind, [_module_of(tensor.name) for tensor in of_kind], components)
    return tuple(groups)


def _module_of(name: str) -> str:
    """The module of a LoRA tensor; the name itself of any other."""
    part = next((part for part in reversed(name.split(".")) if part.startswith("lora_")), None)
    return (name.rpartition(f".{part}")[0] or name) if part else name


def _ranks(tensors: Sequence[_Target], config: Mapping[str, Any]) -> dict[str, int]:
    """The rank at each module: `r`, or, if it differs by module, that of the A matrix."""
    rank = config.get("r")
    if type(rank) is int and not config.get("rank_pattern"):
        return dict.fromkeys((each.path for each in tensors), rank)
    ranks: dict[str, int] = {}
    for each in tensors:
        if each.key.part in {"lora_A", "lora_embedding_A"} and each.shape:
            ranks.setdefault(each.path, each.shape[0])
        elif each.key.part in {"lora_B", "lora_embedding_B"} and len(each.shape) >= _MATRIX:
            ranks.setdefault(each.path, each.shape[1])
    return ranks


def _lora_shape(part: str, node: ModuleNode, rank: int, stored: Shape) -> Shape | None:
    """The expected shape; None if it is not known, or `stored` is one of several possible shapes."""
    weight = node.shape("weight")
    if weight is None:
        return _fused_experts_shape(part, node, stored)
    size_out, size_in = (weight[0], weight[0]) if len(weight) < _MATRIX else weight[:_MATRIX]
    if node.class_name == "Conv1D" or node.class_name.endswith("Embedding"):  # the weight is transposed
        size_in, size_out = size_out, size_in
    kernel = weight[_MATRIX:]
    ones = (1,) * len(kernel)
    return {
        "lora_A": (rank, size_in, *kernel),
        "lora_B": (size_out, rank, *ones),
        "lora_embedding_A": (rank, size_in),
        "lora_embedding_B": (size_out, rank),
        "lora_B.bias": (size_out,),
        "lora_magnitude_vector": (1, size_out, *ones) if kernel else (size_out,),
    }.get(part)


def _fused_experts_shape(part: str, node: ModuleNode, stored: Shape) -> Shape | None:
    """For fused experts [experts, a, b] the matrices of all experts are concatenated along the rank."""
    fused = [shape for _, shape in node.parameters if len(shape) == _FUSED_EXPERTS]
    for count, *sides in fused:
        if len(stored) == _MATRIX and (
            (part == "lora_A" and stored[0] % count == 0 and stored[1] in sides)
            or (part == "lora_B" and stored[1] % count == 0 and stored[0] in sides)
        ):
            return stored
    return fused[0] if fused else None


def _uncertain(adapter: Adapter, loading: LoadingInfo, targets: TargetModules) -> Iterator[str]:
    converted = [key.key for key in adapter.keys if key.lookup in loading.converted]
    if converted:
        yield (
            f"{len(converted)} tensors are for modules that are merged in this model ({converted[0]} …): "
            "whether they are merged too depends on PEFT."
        )
    renamed = [key.key for key in adapter.keys if _depends_on_loader(key, loading)]
    if renamed:
        yield (
            f"{len(renamed)} tensors have names of an older layout ({renamed[0]} …): transformers' own "
            "load_adapter renames them, and PEFT's PeftModel.from_pretrained ignores them."
        )
    if targets.paths is None:
        yield f"The modules that the adapter targets are unknown: {targets.unknown}."
    if not adapter.is_lora:
        kind = adapter.config.get("peft_type")
        yield f"The shapes of {kind} tensors are not checked, only which modules they target."


def _depends_on_loader(key: AdapterKey, loading: LoadingInfo) -> bool:
    """Whether transformers renames a key and PEFT does not. PEFT never renames a whole parameter."""
    if key.module:
        return key.lookup in loading.not_by_peft
    path = loading.paths[key.lookup]
    return path in loading.shapes and path != key.lookup
