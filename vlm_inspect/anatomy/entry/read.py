"""How images, videos and sounds get into the language model.

Modules say what reads the pixels and what cross-attends; where features are put among the text's
embeddings is written in the model's code alone. Whatever takes part is a step, with its evidence; where
nothing tells the way in, it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from vlm_inspect.anatomy.entry.joined import Joined, joined, modality_of
from vlm_inspect.anatomy.entry.parts import Step, is_projector_of, sense, steps_before, towers_of
from vlm_inspect.architecture import Component, Evidence, FusionStep, Modality, ModalityInput, Role
from vlm_inspect.tree import ForwardInfo, ModuleTree, TokenRead, is_below

_NAMES: Mapping[Modality, str] = {"image": "images", "video": "videos", "audio": "sounds"}
_CROSS = re.compile(
    r"^(\w*cross_?att\w*|encoder_attn|encoder_decoder_attention|EncDecAttention)$", re.IGNORECASE
)
_CROSS_CLASS = re.compile(r"(CrossAttention|CrossAttn|MergedAttention)")
# a token that only begins or ends an image is no place for its features
_NO_PLACE = re.compile(r"(start|begin|end|bos|eos|boi|eoi|row|newline|break)(?=_)")
# ways into the sequence itself, in the order in which they are told
_WAYS: tuple[FusionStep, ...] = (
    "codes",
    "placeholders",
    "added placeholders",
    "addition",
    "prefix",
    "suffix",
    "layers",
)
_INTO_TOKENS = frozenset({"placeholders", "added placeholders", "layers"})
_WHY_UNKNOWN = "neither its code nor its modules were seen to bring them to the text"


class _Model(Struct, frozen=True):
    """What the steps are read from; generators' code, which speaks of their own sequences, is left out."""

    tree: ModuleTree
    components: Sequence[Component]
    forwards: Sequence[ForwardInfo]
    ways: Sequence[Joined]

    @classmethod
    def of(cls, tree: ModuleTree, components: Sequence[Component]) -> _Model:
        outside = [path for part in components if part.role is Role.GENERATOR for path in part.paths]
        forwards = [
            each for each in tree.forward_info if not any(is_below(each.path, path) for path in outside)
        ]
        return cls(tree, components, forwards, joined(forwards))

    def ways_of(self, modality: Modality) -> list[Joined]:
        return [way for way in self.ways if way.modality == modality]


def read_entries(tree: ModuleTree, components: Sequence[Component]) -> tuple[ModalityInput, ...]:
    """The way in of each modality that the model takes beside text."""
    model = _Model.of(tree, components)
    return tuple(_entry(model, modality) for modality in _NAMES if _is_taken(model, modality))


def _is_taken(model: _Model, modality: Modality) -> bool:
    """Whether the model as it is built takes a modality: its code may, where a part was left out."""
    brought = {way.modality for way in model.ways if way.step != "layers"}
    if towers_of(model.components, modality):
        return modality in brought or (modality != "video" and "video" not in brought)
    has_projector = any(is_projector_of(part, modality, model.components) for part in model.components)
    coded = {way.modality for way in model.ways if way.step == "codes"}
    return modality in brought and (has_projector or sense(modality) in coded)


def _entry(model: _Model, modality: Modality) -> ModalityInput:
    ways = model.ways_of(modality)
    token = _placeholder_token(modality, [*(way.forward for way in ways), *model.forwards])
    found = [*_by_code(ways, token), *_by_cross_attention(model, modality)]
    steps = [*steps_before(model.tree, model.components, modality), *found] if found else []
    told = tuple(dict.fromkeys(step for step, _ in steps))
    if token is None or not _INTO_TOKENS & set(told):
        return ModalityInput(
            modality, told, unknown=_unknown(told, None), evidence=tuple(why for _, why in steps)
        )
    return ModalityInput(
        modality,
        told,
        token_key=token.key,
        token_id=token.number,
        unknown=_unknown(told, token),
        evidence=(*(why for _, why in steps), *_of_token(modality, token)),
    )


def _unknown(steps: Sequence[FusionStep], token: TokenRead | None) -> dict[str, str]:
    if not steps:
        return {"steps": _WHY_UNKNOWN}
    if token is not None and token.number is None:
        return {"token_id": f"its code reads {token.key}, and the configuration names none"}
    return {}


def _of_token(modality: Modality, token: TokenRead) -> Iterator[Evidence]:
    if token.number is not None:
        finding = f"placeholder token of {_NAMES[modality]}"
        yield Evidence(finding, "config", f"{token.key} is {token.number}")


def _by_code(ways: Sequence[Joined], token: TokenRead | None) -> Iterator[Step]:
    """The statements that put features among the text, the first of each kind.

    Code that has two ways (a prefix in older models, placeholders in newer ones) takes the one that the
    configuration provides for.
    """
    first: dict[FusionStep, Joined] = {}
    for way in ways:
        first.setdefault(way.step, way)
    if "prefix" in first and "placeholders" in first:
        del first["prefix" if token is not None and token.number is not None else "placeholders"]
    for step in sorted(first, key=_WAYS.index):
        join = first[step].statement
        yield step, Evidence(f"{first[step].modality}: {step}", "code", f"{join.where}: {join.statement}")


def _by_cross_attention(model: _Model, modality: Modality) -> Iterator[Step]:
    """Cross-attention of the language model, and why what it reads is this modality.

    It reads what no statement put into the text; or, in an encoder-decoder, the encoder's text, into
    which the features were put.
    """
    ways = model.ways_of(modality)
    for part in model.components:
        found = _cross_attention(model.tree, part) if part.role is Role.LANGUAGE_MODEL else None
        if found is None:
            continue
        path, class_name = found
        read = "the encoder that they were put into" if ways else "them: nothing puts them into the text"
        if not ways or _is_encoder_decoder(model.tree, path):
            detail = f"{path} ({class_name}) reads {read}"
            yield "cross-attention", Evidence(f"{modality}: cross-attention", "structure", detail)
            return


def _cross_attention(tree: ModuleTree, part: Component) -> tuple[str, str] | None:
    """The first cross-attention in a component's layers."""
    for stack in part.stacks:
        node = tree.find(stack.path)
        for path, below in node.walk(stack.path) if node is not None else ():
            name = path.rpartition(".")[2]
            if below.total and (_CROSS.search(name) or _CROSS_CLASS.search(below.class_name)):
                return path, below.class_name
    return None


def _is_encoder_decoder(tree: ModuleTree, path: str) -> bool:
    return any(config.get("is_encoder_decoder") is True for config in (tree.config_at(path), tree.config))


def _placeholder_token(modality: Modality, forwards: Iterable[ForwardInfo]) -> TokenRead | None:
    """The placeholder token that the code reads; one with a number before one that was left empty."""
    read = [
        token
        for forward in forwards
        for token in forward.tokens
        if not _NO_PLACE.search(token.name) and modality in modality_of([token.name])
    ]
    return next((token for token in read if token.number is not None), read[0] if read else None)
