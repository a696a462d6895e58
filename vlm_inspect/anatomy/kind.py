"""What kind of model it is: a vision-language model, a dual encoder, a detector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from vlm_inspect.anatomy.roles import name_patterns
from vlm_inspect.anatomy.roles.anchors import is_text_section
from vlm_inspect.anatomy.roles.task_heads import contrastive_parameters
from vlm_inspect.core.architecture import ENCODERS, Architecture, Kind, Role
from vlm_inspect.core.module_tree import ModuleNode, ModuleTree, last_name

# by the words of transformers' tasks and class names: `object-detection`, `BlipForImageTextRetrieval`
_TASK_KINDS: Mapping[Kind, re.Pattern[str]] = {
    "retrieval": re.compile(r"retriev"),
    "detector": re.compile(r"object-detection"),
    "segmenter": re.compile(r"segmentation|mask-generation"),
    "image-classifier": re.compile(r"(?<!zero-shot-)image-classification"),
}
# of a class without a task: by the names of its heads
_HEAD_KINDS: Mapping[Kind, re.Pattern[str]] = {
    "segmenter": re.compile(r"^masks?_(decoder|head)|segment"),
    "detector": re.compile(r"(^|_)b?box(es)?_"),
}
_SOUND_TASK = re.compile(r"^text-to-|speech|audio")
_EMBEDDINGS = re.compile(r"(^|-)embeddings?(-|$)")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NO_TREE = ModuleTree(ModuleNode(""))


def with_kind(architecture: Architecture, tree: ModuleTree = _NO_TREE) -> Architecture:
    """Return the record with its kind, or with the reason why the kind is unknown.

    Args:
        architecture: The record with its components, inputs and unknown roles.
        tree: The tree that it describes; without one, the record alone decides.

    """
    reasons = architecture.unknown
    missing = [role for role in (Role.LANGUAGE_MODEL, Role.LM_HEAD) if not architecture.by_role(role)]
    kind = next(_kinds(architecture, tree, has_head=not missing))
    reason = next((reasons[role.value] for role in missing if role.value in reasons), None)
    if reason is not None and kind not in _TASK_KINDS:
        return replace(architecture, unknown={**reasons, "kind": reason})
    return replace(architecture, kind=kind)


def _kinds(record: Architecture, tree: ModuleTree, *, has_head: bool) -> Iterator[Kind]:
    """The kinds that the record shows, the surest first."""
    words = _task_words(record.model_class or "")
    reads_more = any(part.role in ENCODERS for part in record.components)
    if _TASK_KINDS["retrieval"].search(words) or (reads_more and _EMBEDDINGS.search(words)):
        yield "retrieval"
    if has_head and not (contrastive_parameters(tree) and _is_dual_encoder(record, tree)):
        yield _generative_kind(record, tree)
        return
    for kind, pattern in _TASK_KINDS.items():
        if any(map(pattern.search, (words, *tree.tasks))):
            yield kind
    paths = [path for part in record.by_role(Role.TASK_HEAD) for path in part.paths]
    for kind, pattern in _HEAD_KINDS.items():
        if any(pattern.search(last_name(path)) for path in paths):
            yield kind
    if any(task.startswith("text-to-") for task in tree.tasks):
        yield "other"  # speech or images
    if _is_dual_encoder(record, tree):
        yield "dual-encoder"
    is_whole = record.by_role(Role.LANGUAGE_MODEL) and not record.by_role(Role.GENERATOR)
    generative = _generative_kind(record, tree) if is_whole else "other"
    # behind images, a head for scores or classes replaces the text that a language model generates
    yield "other" if record.by_role(Role.TASK_HEAD) and generative != "text" else generative


def _task_words(class_name: str) -> str:
    """The words of a class name: of `ViTForImageClassification` those of the task, `image-classification`."""
    return "-".join(_WORD.findall(re.split(r"For(?=[A-Z])", class_name)[-1])).lower()


def _is_dual_encoder(record: Architecture, tree: ModuleTree) -> bool:
    """Whether a text tower stands next to another one, and neither it nor other layers read that one's features."""
    encoders = any(part.role in ENCODERS for part in record.components)
    if not (encoders and record.by_role(Role.LANGUAGE_MODEL)) or record.inputs or record.by_role(Role.PROJECTOR):
        return False
    if contrastive_parameters(tree):
        return True
    has_more = any(part.stacks for part in record.by_role(Role.OTHER))
    return not has_more and name_patterns.TASK_CLASS.search(tree.root.class_name) is None


def _generative_kind(record: Architecture, tree: ModuleTree) -> Kind:
    modalities: set[str] = {each.modality for each in record.inputs}
    # a class with a section per modality can be built without any of them
    has_sections = any(key.endswith("_config") for key in tree.config)
    is_text = has_sections or is_text_section(tree, "") or "causal-lm" in _task_words(record.model_class or "")
    declared = set() if is_text else set(tree.modalities) - {"text"}
    if record.by_role(Role.PROJECTOR):
        modalities |= declared
    takes_images = bool(record.by_role(Role.VISION_ENCODER) or modalities & {"image", "video"})
    takes_audio = bool(record.by_role(Role.AUDIO_ENCODER) or "audio" in modalities)
    if takes_images:
        return "omni" if takes_audio else "vision-language"
    if takes_audio:
        return "audio-language"
    # a projector without image or audio input projects another modality
    is_of_sound = any(map(_SOUND_TASK.search, tree.tasks))
    return "other" if declared or is_of_sound or record.by_role(Role.PROJECTOR) else "text"
