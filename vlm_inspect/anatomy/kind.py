"""The kind of a model (vision-language, audio-language, omni, text), from its roles and inputs."""

from __future__ import annotations

from msgspec.structs import replace

from vlm_inspect.core.architecture import Architecture, Kind, Role


def with_kind(architecture: Architecture) -> Architecture:
    """The record with its kind, or with the reason why the kind is unknown."""
    required = (Role.LANGUAGE_MODEL, Role.LM_HEAD)
    missing = [role.value for role in required if not architecture.by_role(role)]
    if not missing:
        return replace(architecture, kind=_generative_kind(architecture))
    reasons = architecture.unknown
    reason = next((reasons[role] for role in missing if role in reasons), None)
    if reason is None:
        return replace(architecture, kind="other")
    return replace(architecture, unknown={**reasons, "kind": reason})


def _generative_kind(architecture: Architecture) -> Kind:
    modalities = {each.modality for each in architecture.inputs}
    takes_images = bool(architecture.by_role(Role.VISION_ENCODER) or modalities & {"image", "video"})
    takes_audio = bool(architecture.by_role(Role.AUDIO_ENCODER) or "audio" in modalities)
    if takes_images:
        return "omni" if takes_audio else "vision-language"
    if takes_audio:
        return "audio-language"
    # a projector without image or audio input projects another modality
    return "other" if architecture.by_role(Role.PROJECTOR) else "text"
