"""How images, videos and audio get into the language model: the inputs of a model and their fusion steps.

Modules show which part reads the pixels and which layers have cross-attention. Only the model's source shows
where features are inserted into the text embeddings. Each step has its evidence. If nothing shows how a
modality reaches the text, its steps are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import replace

from vlm_inspect.anatomy.module_kinds import as_int, embedding_sizes
from vlm_inspect.core.architecture import (
    ENCODER_MODALITIES,
    Component,
    Evidence,
    FusionStep,
    Modality,
    ModalityInput,
    Role,
    Rule,
)
from vlm_inspect.core.module_tree import ForwardInfo, FusionOp, ModuleTree, TokenRead, is_below, last_name

# names of the text's own sequence in models' source
_TEXT_SEQUENCE = re.compile(
    r"^((new|final|llm|output|text|cur|current|merged)_)*"
    r"(input_ids|inputs?_embeds|embeddings?|embedding_output|hidden_states|input_embeddings?)$"
)
_TEXT_TOKENS = frozenset({"input_ids", "inputs_embeds", "get_input_embeddings", "embed_tokens"})
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
ENCODER_ROLES = dict(ENCODER_MODALITIES)
_STEPS_WITH_TOKEN = frozenset({"placeholders", "added placeholders", "layers"})
_PIXEL_CHANNELS = 3
_FEATURES = "the features, which no statement inserts into the text"
_WHY_UNKNOWN = "neither code nor modules show how features reach the text"

Step = tuple[FusionStep, Rule, str]
"""A step, the kind of rule that found it, and the detail of its evidence."""


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

    def encoders_of(self, modality: Modality) -> list[Component]:
        return [part for part in self.components if part.role is ENCODER_ROLES[modality]]

    def projectors_of(self, modality: Modality) -> list[Component]:
        """The projectors of a modality: by their names, or because no other encoder exists."""
        wanted = {modality, _encoder_modality(modality)}
        takes_unnamed = modality != "audio" or not self.encoders_of("image")
        projectors = (part for part in self.components if part.role is Role.PROJECTOR)
        named = ((part, modalities_of(names_in(part))) for part in projectors)
        return [part for part, found in named if found & wanted or (takes_unnamed and not found)]


def modality_inputs(tree: ModuleTree, components: Sequence[Component]) -> tuple[ModalityInput, ...]:
    """The non-text inputs of a model, each with its fusion steps, its placeholder token and its evidence."""
    generators = [path for part in components if part.role is Role.GENERATOR for path in part.paths]
    forwards = [each for each in tree.forward_info if not any(is_below(each.path, path) for path in generators)]
    model = _Model(tree, components, forwards, fusion_statements(forwards))
    return tuple(_modality_input(model, name) for name in _MODALITY_NAMES if _takes(model, name))


def _takes(model: _Model, modality: Modality) -> bool:
    """Whether the built model takes a modality. The source alone is no proof: a part may be left out."""
    in_source = {statement.modality for statement in model.statements if statement.step != "layers"}
    if model.encoders_of(modality):
        return modality in in_source or (modality != "video" and "video" not in in_source)
    as_codes = {statement.modality for statement in model.statements if statement.step == "codes"}
    has_part = model.projectors_of(modality) or _encoder_modality(modality) in as_codes
    return modality in in_source and bool(has_part)


def _modality_input(model: _Model, modality: Modality) -> ModalityInput:
    statements = model.statements_of(modality)
    token = _placeholder_token(modality, [*(statement.forward for statement in statements), *model.forwards])
    found = [*_steps_in_source(statements, token), *_cross_attention_step(model, modality)]
    if found:
        found = [*_steps_before_text(model, modality), *found]
    steps = tuple(dict.fromkeys(step for step, _, _ in found))
    evidence = [Evidence(f"{modality}: {step}", rule, detail) for step, rule, detail in found]
    unknown = {} if steps else {"steps": _WHY_UNKNOWN}
    if token is None or not _STEPS_WITH_TOKEN & set(steps):
        return ModalityInput(modality, steps, unknown=unknown, evidence=tuple(evidence))
    if token.number is None:
        unknown = {"token_id": f"the source reads {token.key}, which the configuration does not set"}
    else:
        finding = f"placeholder token of {'audio' if modality == 'audio' else f'{modality}s'}"
        evidence.append(Evidence(finding, "config", f"{token.key} is {token.number}"))
    return ModalityInput(modality, steps, token.key, token.number, unknown=unknown, evidence=tuple(evidence))


def _placeholder_token(modality: Modality, forwards: Iterable[ForwardInfo]) -> TokenRead | None:
    """The first placeholder token in the source that the configuration sets, else the first one."""
    tokens = [
        token
        for forward in forwards
        for token in forward.tokens
        if not _NOT_A_PLACEHOLDER.search(token.name) and modality in modalities_of([token.name])
    ]
    return next((token for token in tokens if token.number is not None), tokens[0] if tokens else None)


def modalities_of(names: Iterable[str]) -> set[Modality]:
    """The modalities that names are about. `visual` counts as an image."""
    names = list(names)
    found = {modality for modality, pattern in _MODALITY_NAMES.items() if any(map(pattern.search, names))}
    return found or ({"image"} if any(map(_PIXELS.search, names)) else set())


def names_in(part: Component) -> list[str]:
    """The names in a component's paths and the words of its class name."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part.class_name or "").lower().split("_")
    return [*".".join(part.paths).split("."), *words]


def _encoder_modality(modality: Modality) -> Modality:
    """Videos go through the image encoder."""
    return "image" if modality == "video" else modality


def _steps_in_source(statements: Sequence[FusionStatement], token: TokenRead | None) -> Iterator[Step]:
    """The first statement of each step, in the order of the record.

    Source with two ways (a prefix for older models, placeholders for newer ones) takes the one that the
    configuration has a token for.
    """
    first: dict[FusionStep, FusionStatement] = {}
    for statement in statements:
        first.setdefault(statement.step, statement)
    if "prefix" in first and "placeholders" in first:
        del first["prefix" if token is not None and token.number is not None else "placeholders"]
    for step in sorted(first, key=get_args(FusionStep).index):
        operation = first[step].operation
        yield step, "code", f"{operation.where}: {operation.statement}"


def fusion_statements(forwards: Iterable[ForwardInfo]) -> tuple[FusionStatement, ...]:
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
    named = modalities_of(operation.values)
    if named or operation.operation == "add":  # other sums are residuals and positions
        return named
    by_source = modalities_of(operation.sources)
    return by_source if len(by_source) == 1 else modalities_of(operation.mask) or by_source


def _steps(forward: ForwardInfo, operation: FusionOp) -> tuple[FusionStep, ...]:
    if operation.operation == "embed":  # codes from a quantizer, unless the text's own tokens are embedded
        return () if any(map(_TEXT_SEQUENCE.search, operation.values)) else ("codes",)
    if not _is_text(operation):
        return ()
    if operation.target.endswith("input_ids"):
        return ("codes", "placeholders") if operation.operation == "scatter" else ("codes",)
    step = _embedding_step(forward, operation)
    return (step,) if step is not None else ()


def _is_text(operation: FusionOp) -> bool:
    """Whether a sequence is the text's, by its name, or because it is computed from embedded tokens."""
    if _TEXT_SEQUENCE.search(operation.target):
        return True
    is_embedded = not _TEXT_TOKENS.isdisjoint(operation.target_sources)
    return is_embedded and operation.operation != "add" and not modalities_of(operation.target_sources)


def _embedding_step(forward: ForwardInfo, operation: FusionOp) -> FusionStep | None:
    """How an operation changes embeddings; None for a sum that is part of a scatter."""
    adds = operation.operation == "add" or _adds_to_itself(forward, operation)
    if operation.target.endswith("hidden_states") and adds:
        return "layers"
    if operation.operation == "scatter":
        return "added placeholders" if adds else "placeholders"
    if operation.operation == "add":
        scatters = (other for other in forward.joins if other.operation == "scatter")
        is_in_scatter = any(other.statement == operation.statement for other in scatters)
        return None if is_in_scatter else "addition"
    return "prefix" if operation.operation == "prepend" else "suffix"


def _adds_to_itself(forward: ForwardInfo, operation: FusionOp) -> bool:
    """Whether the new value is a sum with the old one: `x[mask] = x[mask] + features`."""
    sums = (other for other in forward.joins if other.operation == "add" and other.where == operation.where)
    return any(other.target == operation.target and set(other.values) <= set(operation.sources) for other in sums)


def _videos_as_images(found: Sequence[FusionStatement]) -> Iterator[FusionStatement]:
    """The statements for images that insert videos, too."""
    has_videos = any(statement.modality == "video" for statement in found)
    for image in found:
        operation = image.operation
        if any(map(_VISUAL.search, (*operation.values, *operation.mask))):
            named = modalities_of(token.name for token in image.forward.tokens)
            inserts_videos = has_videos or "video" in named
        else:
            inserts_videos = not has_videos and "video" in modalities_of(operation.sources)
        if image.modality == "image" and inserts_videos:
            yield replace(image, modality="video")


def _steps_before_text(model: _Model, modality: Modality) -> Iterator[Step]:
    """The steps before the features meet the text: raw patches and learned queries."""
    encoders, projectors = model.encoders_of(modality), model.projectors_of(modality)
    for part in () if encoders else projectors:
        patch = _raw_patch(model.tree, part)
        if patch is not None:
            encoder = f"{_encoder_modality(modality)} encoder"
            yield "patches", "structure", f"no {encoder}: {part.paths[0]} reads {patch}"
    for part in (*encoders, *projectors):
        queries = next(_learned_queries(model.tree, part), None)
        if queries is not None:
            yield "queries", "structure", queries


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


def _learned_queries(tree: ModuleTree, part: Component) -> Iterator[str]:
    """The parameters and embeddings that are named for queries."""
    for path in part.paths:
        node = tree.find(path)
        shapes = node.parameter_paths(path) if node is not None else tree.shapes_of({path}).items()
        for at, shape in shapes:
            holder = at.removesuffix(".weight")
            is_table = holder == at or any(embedding_sizes(table) for _, table in tree.modules_at([holder]))
            if len(shape) > 1 and is_table and _QUERIES.search(last_name(holder)):
                yield f"{shape[-2]} learned queries: {at}"


def _cross_attention_step(model: _Model, modality: Modality) -> Iterator[Step]:
    """Cross-attention of the language model, if it reads this modality.

    It does if no statement inserts the features into the text, or if an encoder-decoder's encoder has them.
    """
    is_inserted = bool(model.statements_of(modality))
    source = "the encoder with the inserted features" if is_inserted else _FEATURES
    for part in model.components:
        found = _cross_attention(model.tree, part) if part.role is Role.LANGUAGE_MODEL else None
        if found is None:
            continue
        path, class_name = found
        configs = (model.tree.config_at(path), model.tree.config)
        if not is_inserted or any(config.get("is_encoder_decoder") is True for config in configs):
            yield "cross-attention", "structure", f"{path} ({class_name}) reads {source}"
            return


def _cross_attention(tree: ModuleTree, part: Component) -> tuple[str, str] | None:
    """The path and class of the first cross-attention in a component's layers."""
    for top, node in tree.modules_at(stack.path for stack in part.stacks):
        for path, below in node.walk(top):
            is_named = _CROSS_ATTENTION.search(last_name(path))
            if below.total and (is_named or _CROSS_ATTENTION_CLASS.search(below.class_name)):
                return path, below.class_name
    return None
