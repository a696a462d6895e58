"""What sort of model it is, as far as its roles and inputs prove it."""

from __future__ import annotations

from msgspec.structs import replace

from vlm_inspect.core.architecture import Architecture, Kind, Role


def with_kind(architecture: Architecture) -> Architecture:
    """The record with its kind, or with the reason why nothing proves one."""
    modalities = {each.modality for each in architecture.inputs}
    sees = bool(architecture.by_role(Role.VISION_ENCODER)) or bool(modalities & {"image", "video"})
    hears = bool(architecture.by_role(Role.AUDIO_ENCODER)) or "audio" in modalities
    needed = (Role.LANGUAGE_MODEL, Role.LM_HEAD)
    if all(architecture.by_role(role) for role in needed):
        kind = _generative(sees=sees, hears=hears)
        if kind == "text" and architecture.by_role(Role.PROJECTOR):  # what it reads beside text has no role
            kind = "other"
        return replace(architecture, kind=kind)
    names = (role.value for role in needed if not architecture.by_role(role))
    reason = next((architecture.unknown[name] for name in names if name in architecture.unknown), None)
    if reason is None:
        return replace(architecture, kind="other")
    return replace(architecture, unknown={**architecture.unknown, "kind": reason})


def _generative(*, sees: bool, hears: bool) -> Kind:
    if sees and hears:
        return "omni"
    if sees:
        return "vision-language"
    return "audio-language" if hears else "text"
