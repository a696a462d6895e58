"""How images, videos and sounds get into the language model.

Modules say what reads the pixels and what cross-attends; where features are put among the text's
embeddings is written in the model's code alone. Whatever takes part is a step, with its evidence; where
nothing tells the way in, it is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from vlm_inspect.anatomy.leaves import embedding_sizes
from vlm_inspect.core.architecture import Component, Evidence, FusionStep, Modality, ModalityInput, Role
from vlm_inspect.core.module_tree import ForwardInfo, FusionOp, ModuleTree, TokenRead, is_below

# the text's own sequence, by the names that its variables have in every model's code
_TEXT = re.compile(
    r"^(new_|final_|llm_|output_|text_)?"
    r"(input_ids|inputs?_embeds|embeddings?|embedding_output|hidden_states|input_embeddings?)$"
)
_NAMED: dict[Modality, re.Pattern[str]] = {
    "image": re.compile(r"(?<!non)(^|_)(images?|img|vision|visuals?|patch(es)?|vit)(?=_|$)"),
    "video": re.compile(r"(?<!non)(^|_)(videos?|frames?)(?=_|$)"),
    "audio": re.compile(r"(?<!non)(^|_)(audios?|speech|sound|input_features)(?=_|$)"),
}
# pixels are an image's, where nothing says that they are a video's
_PIXELS = re.compile(r"(^|_)pixels?(_|$)")
# images and videos alike
_VISUAL = re.compile(r"(^|_)visuals?(_|$)")
_TOKEN = re.compile(r"token_(id|index)$")


class Joined(Struct, frozen=True):
    """One statement that brings a modality in: how, and where it stands."""

    modality: Modality
    step: FusionStep
    statement: FusionOp
    forward: ForwardInfo


def joined(forwards: Iterable[ForwardInfo]) -> tuple[Joined, ...]:
    """Every statement that brings a modality in, in the order of the tree."""
    found = [each for forward in forwards for join in forward.joins for each in _read(forward, join)]
    return (*found, *_videos_as_images(found))


def modality_of(names: Iterable[str]) -> set[Modality]:
    """What these names are about. What is `visual` is an image, and a video too where the model takes any."""
    told = list(names)
    found = {modality for modality, named in _NAMED.items() if any(map(named.search, told))}
    return found or ({"image"} if any(map(_PIXELS.search, told)) else set())


def _read(forward: ForwardInfo, join: FusionOp) -> Iterator[Joined]:
    steps = tuple(_steps(forward, join))
    for modality in sorted(_modalities(join)) if steps else ():
        for step in steps:
            yield Joined(modality, step, join, forward)


def _modalities(join: FusionOp) -> set[Modality]:
    """By the names of what is put there, or what that was made from, or else by where it is put."""
    moves_text = any("text" in name for name in join.mask)  # to its places between the images
    if moves_text or any(map(_TOKEN.search, join.values)):
        return set()
    named = modality_of(join.values)
    if named or join.operation == "add":  # positions, residuals: only what is called a feature is one
        return named
    made = modality_of(join.sources)
    return made if len(made) == 1 else modality_of(join.mask) or made


def _steps(forward: ForwardInfo, join: FusionOp) -> Iterator[FusionStep]:
    if join.operation == "embed":  # not the text's own tokens: those that something was quantised into
        if not any(map(_TEXT.search, join.values)):
            yield "codes"
        return
    if not _TEXT.search(join.target):
        return
    if join.target.endswith("input_ids"):
        yield "codes"
        if join.operation == "scatter":
            yield "placeholders"
        return
    step = _way(forward, join)
    if step is not None:
        yield step


def _way(forward: ForwardInfo, join: FusionOp) -> FusionStep | None:
    adds = join.operation == "add" or _adds_to_itself(forward, join)
    if join.target.endswith("hidden_states") and adds:
        return "layers"
    if join.operation == "scatter":
        return "added placeholders" if adds else "placeholders"
    if join.operation == "add":
        return None if _is_scattered(forward, join) else "addition"
    return "prefix" if join.operation == "prepend" else "suffix"


def _adds_to_itself(forward: ForwardInfo, join: FusionOp) -> bool:
    """Whether what is written there is a sum with what stood there: `x[mask] = x[mask] + features`."""
    sums = [other for other in forward.joins if other.operation == "add" and other.where == join.where]
    return any(other.target == join.target and set(other.values) <= set(join.sources) for other in sums)


def _is_scattered(forward: ForwardInfo, join: FusionOp) -> bool:
    """Whether the sum is part of a scatter, which says more."""
    return any(other.operation == "scatter" and other.statement == join.statement for other in forward.joins)


def _videos_as_images(found: Sequence[Joined]) -> Iterator[Joined]:
    """Videos that take the images' way under their name: made of videos too, or visual, whichever it is."""
    has_videos = any(each.modality == "video" for each in found)
    for each in found:
        if each.modality == "image" and _is_videos_too(each, has_videos=has_videos):
            yield Joined("video", each.step, each.statement, each.forward)


def _is_videos_too(image: Joined, *, has_videos: bool) -> bool:
    join = image.statement
    if any(map(_VISUAL.search, (*join.values, *join.mask))):
        return has_videos or "video" in modality_of(token.name for token in image.forward.tokens)
    return not has_videos and "video" in modality_of(join.sources)


Step = tuple[FusionStep, Evidence]

_TOWERS: Mapping[Role, Modality] = {Role.VISION_ENCODER: "image", Role.AUDIO_ENCODER: "audio"}
_MERGED = re.compile(r"(pooling_kernel|merge)_size$")
_QUERIES = re.compile(r"(^|_)(query|queries|latents?)(_|$)")
_CHANNELS = 3


def steps_before(tree: ModuleTree, components: Sequence[Component], modality: Modality) -> Iterator[Step]:
    """What is done with the features before they meet the text."""
    towers = towers_of(components, modality)
    serving = [part for part in components if is_projector_of(part, modality, components)]
    for part in () if towers else serving:
        patch = _patch(tree, part)
        if patch is not None:
            detail = f"no {sense(modality)} encoder: {part.paths[0]} reads {patch}"
            yield "patches", Evidence(f"{modality}: patches", "structure", detail)
    for part in (*towers, *serving):
        queries = next(_queries(tree, part), None)
        if queries is not None:
            path, count = queries
            yield "queries", Evidence(f"{modality}: queries", "structure", f"{count} learned queries: {path}")


def _queries(tree: ModuleTree, part: Component) -> Iterator[tuple[str, int]]:
    """The learned query tokens of a part, as many as there are: a parameter or a table of that name."""
    for path in part.paths:
        node = tree.find(path)
        shapes = node.parameter_paths(path) if node is not None else tree.shapes_of({path}).items()
        for at, shape in shapes:
            name = at.removesuffix(".weight").rpartition(".")[2]
            is_table = not at.endswith(".weight") or _is_embedding(tree, at.removesuffix(".weight"))
            if len(shape) > 1 and is_table and _QUERIES.search(name):
                yield at, shape[-2]


def _is_embedding(tree: ModuleTree, path: str) -> bool:
    node = tree.find(path)
    return node is not None and embedding_sizes(node) is not None


def towers_of(components: Sequence[Component], modality: Modality) -> list[Component]:
    """The encoders of a modality."""
    return [part for part in components if _TOWERS.get(part.role) == sense(modality)]


def _patch(tree: ModuleTree, projector: Component) -> str | None:
    """The raw patches that a projector reads: its input is as wide as one has values."""
    given = next((stage.input_width for stage in projector.stages if stage.input_width), None)
    for config in (tree.config, *(part for part in tree.config.values() if isinstance(part, Mapping))):
        for side in _patch_sides(config):
            if given == side * side * _CHANNELS:
                return f"patches of {side} x {side} pixels, {given} values each"
    return None


def _patch_sides(config: Mapping[str, Any]) -> Iterator[int]:
    """A patch's side in pixels: alone, and as many together as are merged to one."""
    sides = [value for key, value in config.items() if "patch_size" in str(key) and _is_whole(value)]
    merged = [value for key, value in config.items() if _MERGED.search(str(key)) and _is_whole(value)]
    yield from (side * factor for side in sides for factor in (1, *merged))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def sense(modality: Modality) -> Modality:
    """Videos go through the images' modules."""
    return "image" if modality == "video" else modality


def is_projector_of(part: Component, modality: Modality, components: Sequence[Component]) -> bool:
    """Whether a part is a projector, and this modality's: by its name, or because there is no other."""
    if part.role is not Role.PROJECTOR:
        return False
    named = modality_of([*".".join(part.paths).split("."), *_words(part.class_name or "")])
    if named:
        return sense(modality) in named or modality in named
    others = {_TOWERS[each.role] for each in components if each.role in _TOWERS} - {sense(modality)}
    return not others or sense(modality) == "image"


def _words(class_name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower().split("_")


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
