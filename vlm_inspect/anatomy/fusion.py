"""How images, videos and audio get into the language model: the inputs of a model and their fusion steps.

Modules show which part reads the pixels and which layers have cross-attention. Only the model's source shows
where features are inserted into the text embeddings. Each step has its evidence. If nothing shows how a
modality reaches the text, its steps are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.leaves import as_int, embedding_sizes
from vlm_inspect.core.architecture import Component, Evidence, FusionStep, Modality, ModalityInput, Role
from vlm_inspect.core.module_tree import ForwardInfo, FusionOp, ModuleTree, TokenRead, is_below

# names of the text's own sequence in models' source
_TEXT_SEQUENCE = re.compile(
    r"^(new_|final_|llm_|output_|text_)?"
    r"(input_ids|inputs?_embeds|embeddings?|embedding_output|hidden_states|input_embeddings?)$"
)
_MODALITY_NAMES: Mapping[Modality, re.Pattern[str]] = {
    "image": re.compile(r"(?<!non)(^|_)(images?|img|vision|visuals?|patch(es)?|vit)(?=_|$)"),
    "video": re.compile(r"(?<!non)(^|_)(videos?|frames?)(?=_|$)"),
    "audio": re.compile(r"(?<!non)(^|_)(audios?|speech|sound|input_features)(?=_|$)"),
}
_PIXELS = re.compile(r"(^|_)pixels?(_|$)")  # an image's, unless another name in the statement is a video's
_VISUAL = re.compile(r"(^|_)visuals?(_|$)")  # images and videos alike
_TOKEN = re.compile(r"token_(id|index)$")
# a token that only marks the start or the end of an image is not a placeholder
_NOT_A_PLACEHOLDER = re.compile(r"(start|begin|end|bos|eos|boi|eoi|row|newline|break)(?=_)")
_MERGED = re.compile(r"(pooling_kernel|merge)_size$")
_QUERIES = re.compile(r"(^|_)(query|queries|latents?)(_|$)")
_CROSS_ATTENTION = re.compile(
    r"^(\w*cross_?att\w*|encoder_attn|encoder_decoder_attention|EncDecAttention)$", re.IGNORECASE
)
_CROSS_ATTENTION_CLASS = re.compile(r"(CrossAttention|CrossAttn|MergedAttention)")
_ENCODER_MODALITIES: Mapping[Role, Modality] = {Role.VISION_ENCODER: "image", Role.AUDIO_ENCODER: "audio"}
# the steps that put features into the text's sequence, in the order of the record
_SEQUENCE_STEPS: tuple[FusionStep, ...] = (
    "codes",
    "placeholders",
    "added placeholders",
    "addition",
    "prefix",
    "suffix",
    "layers",
)
_STEPS_WITH_TOKEN = frozenset({"placeholders", "added placeholders", "layers"})
_PIXEL_CHANNELS = 3
_FEATURES = "the features, which no statement inserts into the text"
_WHY_UNKNOWN = "neither the source nor the modules show how the features reach the text"

Step = tuple[FusionStep, Evidence]


class FusionStatement(Struct, frozen=True):
    """A statement in the source that brings a modality into the text."""

    modality: Modality
    step: FusionStep
    operation: FusionOp
    forward: ForwardInfo


class _Model(Struct, frozen=True):
    """What the inputs are derived from. Generators are left out: they have sequences of their own."""

    tree: ModuleTree
    components: Sequence[Component]
    forwards: Sequence[ForwardInfo]
    statements: Sequence[FusionStatement]

    def statements_of(self, modality: Modality) -> list[FusionStatement]:
        return [statement for statement in self.statements if statement.modality == modality]


def modality_inputs(tree: ModuleTree, components: Sequence[Component]) -> tuple[ModalityInput, ...]:
    """The non-text inputs of a model, each with its fusion steps, its placeholder token and its evidence."""
    generators = [path for part in components if part.role is Role.GENERATOR for path in part.paths]
    forwards = [
        each for each in tree.forward_info if not any(is_below(each.path, path) for path in generators)
    ]
    model = _Model(tree, components, forwards, _fusion_statements(forwards))
    return tuple(_modality_input(model, name) for name in _MODALITY_NAMES if _takes(model, name))


def _takes(model: _Model, modality: Modality) -> bool:
    """Whether the built model takes a modality. The source alone is no proof: a part may be left out."""
    in_source = {statement.modality for statement in model.statements if statement.step != "layers"}
    if _encoders_of(model.components, modality):
        return modality in in_source or (modality != "video" and "video" not in in_source)
    has_projector = any(_is_projector_of(part, modality, model.components) for part in model.components)
    as_codes = {statement.modality for statement in model.statements if statement.step == "codes"}
    return modality in in_source and (has_projector or _encoder_modality(modality) in as_codes)


def _modality_input(model: _Model, modality: Modality) -> ModalityInput:
    statements = model.statements_of(modality)
    token = _placeholder_token(modality, [*(statement.forward for statement in statements), *model.forwards])
    found = [*_steps_in_source(statements, token), *_cross_attention_step(model, modality)]
    if found:
        found = [*_steps_before_text(model.tree, model.components, modality), *found]
    steps = tuple(dict.fromkeys(step for step, _ in found))
    if not _STEPS_WITH_TOKEN & set(steps):
        token = None
    return ModalityInput(
        modality,
        steps,
        token_key=token.key if token else None,
        token_id=token.number if token else None,
        unknown=_unknown(steps, token),
        evidence=(*(evidence for _, evidence in found), *_token_evidence(modality, token)),
    )


def _unknown(steps: Sequence[FusionStep], token: TokenRead | None) -> dict[str, str]:
    if not steps:
        return {"steps": _WHY_UNKNOWN}
    if token is not None and token.number is None:
        return {"token_id": f"the source reads {token.key}, which the configuration does not set"}
    return {}


def _placeholder_token(modality: Modality, forwards: Iterable[ForwardInfo]) -> TokenRead | None:
    """The first placeholder token in the source that the configuration sets, else the first one."""
    tokens = [
        token
        for forward in forwards
        for token in forward.tokens
        if not _NOT_A_PLACEHOLDER.search(token.name) and modality in _modalities_of([token.name])
    ]
    return next((token for token in tokens if token.number is not None), tokens[0] if tokens else None)


def _token_evidence(modality: Modality, token: TokenRead | None) -> Iterator[Evidence]:
    if token is not None and token.number is not None:
        finding = f"placeholder token of {'audio' if modality == 'audio' else f'{modality}s'}"
        yield Evidence(finding, "config", f"{token.key} is {token.number}")


def _modalities_of(names: Iterable[str]) -> set[Modality]:
    """The modalities that names are about. `visual` counts as an image."""
    names = list(names)
    found = {modality for modality, pattern in _MODALITY_NAMES.items() if any(map(pattern.search, names))}
    return found or ({"image"} if any(map(_PIXELS.search, names)) else set())


def _encoder_modality(modality: Modality) -> Modality:
    """Videos go through the image encoder."""
    return "image" if modality == "video" else modality


# --- steps in the source


def _steps_in_source(statements: Sequence[FusionStatement], token: TokenRead | None) -> Iterator[Step]:
    """The first statement of each step.

    Source with two ways (a prefix for older models, placeholders for newer ones) takes the one that the
    configuration has a token for.
    """
    first: dict[FusionStep, FusionStatement] = {}
    for statement in statements:
        first.setdefault(statement.step, statement)
    if "prefix" in first and "placeholders" in first:
        del first["prefix" if token is not None and token.number is not None else "placeholders"]
    for step in sorted(first, key=_SEQUENCE_STEPS.index):
        modality, operation = first[step].modality, first[step].operation
        detail = f"{operation.where}: {operation.statement}"
        yield step, Evidence(f"{modality}: {step}", "code", detail)


def _fusion_statements(forwards: Iterable[ForwardInfo]) -> tuple[FusionStatement, ...]:
    """All statements that bring a modality into the text, in the order of the tree."""
    found = [
        FusionStatement(modality, step, operation, forward)
        for forward in forwards
        for operation in forward.joins
        for modality in sorted(_modalities(operation))
        for step in _steps(forward, operation)
    ]
    return (*found, *_videos_as_images(found))


def _modalities(operation: FusionOp) -> set[Modality]:
    """The modalities of the inserted values: by their names, by their sources, else by the mask's names."""
    moves_text = any("text" in name for name in operation.mask)  # to its places between the images
    if moves_text or any(map(_TOKEN.search, operation.values)):
        return set()
    named = _modalities_of(operation.values)
    if named or operation.operation == "add":  # other sums are residuals and positions
        return named
    by_source = _modalities_of(operation.sources)
    return by_source if len(by_source) == 1 else _modalities_of(operation.mask) or by_source


def _steps(forward: ForwardInfo, operation: FusionOp) -> tuple[FusionStep, ...]:
    if operation.operation == "embed":  # codes from a quantizer, unless the text's own tokens are embedded
        return () if any(map(_TEXT_SEQUENCE.search, operation.values)) else ("codes",)
    if not _TEXT_SEQUENCE.search(operation.target):
        return ()
    if operation.target.endswith("input_ids"):
        return ("codes", "placeholders") if operation.operation == "scatter" else ("codes",)
    step = _embedding_step(forward, operation)
    return (step,) if step is not None else ()


def _embedding_step(forward: ForwardInfo, operation: FusionOp) -> FusionStep | None:
    """How an operation changes embeddings; None for a sum that is part of a scatter."""
    adds = operation.operation == "add" or _adds_to_itself(forward, operation)
    if operation.target.endswith("hidden_states") and adds:
        return "layers"
    if operation.operation == "scatter":
        return "added placeholders" if adds else "placeholders"
    if operation.operation == "add":
        return None if _is_in_scatter(forward, operation) else "addition"
    return "prefix" if operation.operation == "prepend" else "suffix"


def _adds_to_itself(forward: ForwardInfo, operation: FusionOp) -> bool:
    """Whether the new value is a sum with the old one: `x[mask] = x[mask] + features`."""
    sums = (other for other in forward.joins if other.operation == "add" and other.where == operation.where)
    return any(
        other.target == operation.target and set(other.values) <= set(operation.sources) for other in sums
    )


def _is_in_scatter(forward: ForwardInfo, operation: FusionOp) -> bool:
    return any(
        other.operation == "scatter" and other.statement == operation.statement for other in forward.joins
    )


def _videos_as_images(found: Sequence[FusionStatement]) -> Iterator[FusionStatement]:
    """The statements for images that insert videos, too."""
    has_videos = any(statement.modality == "video" for statement in found)
    for image in found:
        if image.modality == "image" and _is_for_videos(image, has_videos=has_videos):
            yield replace(image, modality="video")


def _is_for_videos(image: FusionStatement, *, has_videos: bool) -> bool:
    operation = image.operation
    if any(map(_VISUAL.search, (*operation.values, *operation.mask))):
        return has_videos or "video" in _modalities_of(token.name for token in image.forward.tokens)
    return not has_videos and "video" in _modalities_of(operation.sources)


# --- steps in the modules


def _steps_before_text(
    tree: ModuleTree, components: Sequence[Component], modality: Modality
) -> Iterator[Step]:
    """The steps before the features meet the text: raw patches and learned queries."""
    encoders = _encoders_of(components, modality)
    projectors = [part for part in components if _is_projector_of(part, modality, components)]
    for part in () if encoders else projectors:
        patch = _raw_patch(tree, part)
        if patch is not None:
            detail = f"no {_encoder_modality(modality)} encoder: {part.paths[0]} reads {patch}"
            yield "patches", Evidence(f"{modality}: patches", "structure", detail)
    for part in (*encoders, *projectors):
        queries = next(_learned_queries(tree, part), None)
        if queries is not None:
            path, count = queries
            yield "queries", Evidence(f"{modality}: queries", "structure", f"{count} learned queries: {path}")


def _encoders_of(components: Sequence[Component], modality: Modality) -> list[Component]:
    """The encoders of a modality."""
    return [part for part in components if _ENCODER_MODALITIES.get(part.role) == _encoder_modality(modality)]


def _is_projector_of(part: Component, modality: Modality, components: Sequence[Component]) -> bool:
    """Whether a component is a projector of a modality: by its names, or because no other encoder exists."""
    if part.role is not Role.PROJECTOR:
        return False
    wanted = _encoder_modality(modality)
    named = _modalities_of([*".".join(part.paths).split("."), *_snake_case_words(part.class_name or "")])
    if named:
        return bool(named & {wanted, modality})
    encoded = {_ENCODER_MODALITIES[each.role] for each in components if each.role in _ENCODER_MODALITIES}
    return wanted == "image" or encoded <= {wanted}


def _snake_case_words(class_name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name).lower().split("_")


def _raw_patch(tree: ModuleTree, projector: Component) -> str | None:
    """The raw patches that a projector reads: its input has the size of a patch's pixels."""
    input_width = next((stage.input_width for stage in projector.stages if stage.input_width), None)
    for config in (tree.config, *(part for part in tree.config.values() if isinstance(part, Mapping))):
        for side in _patch_sides(config):
            if input_width == side * side * _PIXEL_CHANNELS:
                return f"patches of {side} x {side} pixels, {input_width} values each"
    return None


def _patch_sides(config: Mapping[str, Any]) -> Iterator[int]:
    """The sides of a patch in pixels, alone and merged with its neighbours."""
    numbers = {str(key): value for key, value in config.items() if as_int(value) is not None}
    merges = [value for key, value in numbers.items() if _MERGED.search(key)]
    for key, side in numbers.items():
        if "patch_size" in key:
            yield from (side * factor for factor in (1, *merges))


def _learned_queries(tree: ModuleTree, part: Component) -> Iterator[tuple[str, int]]:
    """The parameters and embeddings that are named for queries: path and number of queries."""
    for path in part.paths:
        node = tree.find(path)
        shapes = node.parameter_paths(path) if node is not None else tree.shapes_of({path}).items()
        for at, shape in shapes:
            holder = at.removesuffix(".weight")
            is_table = holder == at or _is_embedding(tree, holder)
            if len(shape) > 1 and is_table and _QUERIES.search(holder.rpartition(".")[2]):
                yield at, shape[-2]


def _is_embedding(tree: ModuleTree, path: str) -> bool:
    node = tree.find(path)
    return node is not None and embedding_sizes(node) is not None


def _cross_attention_step(model: _Model, modality: Modality) -> Iterator[Step]:
    """Cross-attention of the language model, if it reads this modality.

    It does if no statement inserts the features into the text, or if an encoder-decoder's encoder has them.
    """
    statements = model.statements_of(modality)
    for part in model.components:
        found = _cross_attention(model.tree, part) if part.role is Role.LANGUAGE_MODEL else None
        if found is None:
            continue
        path, class_name = found
        source = "the encoder with the inserted features" if statements else _FEATURES
        if not statements or _is_encoder_decoder(model.tree, path):
            detail = f"{path} ({class_name}) reads {source}"
            yield "cross-attention", Evidence(f"{modality}: cross-attention", "structure", detail)
            return


def _cross_attention(tree: ModuleTree, part: Component) -> tuple[str, str] | None:
    """The path and class of the first cross-attention in a component's layers."""
    for stack in part.stacks:
        node = tree.find(stack.path)
        for path, below in node.walk(stack.path) if node is not None else ():
            is_named = _CROSS_ATTENTION.search(path.rpartition(".")[2])
            if below.total and (is_named or _CROSS_ATTENTION_CLASS.search(below.class_name)):
                return path, below.class_name
    return None


def _is_encoder_decoder(tree: ModuleTree, path: str) -> bool:
    return any(config.get("is_encoder_decoder") is True for config in (tree.config_at(path), tree.config))
