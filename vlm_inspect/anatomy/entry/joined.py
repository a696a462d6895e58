"""Which statements of a model's code put an image, a video or a sound into the text, and how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from vlm_inspect.architecture import FusionStep, Modality
from vlm_inspect.tree import ForwardInfo, FusionOp

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
