"""How an attention knows where a token stands: rotary embedding, relative bias, or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vlm_inspect.anatomy.layers.stacks import Surroundings
from vlm_inspect.anatomy.leaves import breadth_first, number, whole
from vlm_inspect.core.architecture import Latent, Positions, Role, Rotary
from vlm_inspect.core.module_tree import ModuleNode

_ROTARY = re.compile(r"(Rotary|RoPE|Rope)")
_TURNS = re.compile(r"(rotary|rope|rot_embed)", re.IGNORECASE)
_RELATIVE = re.compile(r"(^|_)(rel_pos|relative|rel_logits|rel_attn)", re.IGNORECASE)
_BIAS_TABLE = "relative_attention_num_buckets"
_GRID = re.compile(r"(Vision|2D|2d|Pixtral|ViT)")
_SECTIONS = re.compile(r"_section$")
_SECTION_ATTRIBUTES = ("mrope_section", "xdrope_section")
_SLIDING, _FULL = "sliding_attention", "full_attention"


def read_positions(
    node: ModuleNode, around: Surroundings, *, cross: bool, sliding: bool
) -> tuple[Positions | None, ModuleNode | None]:
    """What gives an attention its positions, and the rotary embedding where that is it.

    None where its code turns what it is given angles for, and no module was seen that makes them.
    """
    if _is_relative(node, shared=not cross) or (around.relative and not cross):
        return "relative", None
    if cross or _is_off(node.attribute("use_rope")) or around.said.theta == 0:
        return "none", None
    module = _rotary_module(node, around, sliding=sliding)
    turned = _turns(node)
    if module is not None:
        return ("none" if turned is False else "rotary"), module
    if _is_biased_by_distance(node, around):
        return "alibi", None
    return (None if turned else "none"), None


def read_rotary(  # noqa: PLR0913 - what is turned, by what, in which surroundings
    module: ModuleNode | None,
    node: ModuleNode,
    around: Surroundings,
    head_width: int | None,
    latent: Latent | None,
    *,
    sliding: bool,
) -> Rotary:
    """A rotary embedding: from its own module, and the configuration's parameters for this kind of layer."""
    kind_of_layer = node.attribute("layer_type", "attention_type") or around.said.layer_type
    stated = _stated(around.config, str(kind_of_layer or (_SLIDING if sliding else _FULL)))
    theta = around.said.theta or _theta(stated, around.config, sliding=sliding)
    kind = _kind(module, stated, around)
    return Rotary(
        class_name=module.class_name if module is not None else None,
        kind=kind,
        width=_width(node, stated, around.config, head_width, latent),
        sections=_sections(module, stated),
        theta=theta,
        # what the configuration stretches, and this embedding is not
        factor=number(stated.get("factor")) if kind != "default" else None,
    )


def _is_relative(node: ModuleNode, *, shared: bool) -> bool:
    """A table or a projection of relative positions; T5's layers share that of the first."""
    if shared and node.attribute(_BIAS_TABLE) is not None:
        return True
    names = [name for name, _ in node.parameters] + [
        path.rpartition(".")[2] for path, _ in breadth_first(node)
    ]
    held = [name for _, child in breadth_first(node) for name, _ in child.parameters]
    return any(_RELATIVE.search(name) for name in (*names, *held))


def _is_off(flag: object) -> bool:
    """False or 0: some classes keep the flag as a number."""
    return isinstance(flag, int) and not flag


def _turns(node: ModuleNode) -> bool | None:
    """Whether the attention's own code turns anything; None where no code was seen."""
    seen = [child for child in (node, *(child for _, child in breadth_first(node))) if child.forward_order]
    if not node.forward_order:
        return None
    return any(_TURNS.search(name) for child in seen for name in child.forward_order)


def _is_biased_by_distance(node: ModuleNode, around: Surroundings) -> bool:
    """ALiBi: the attention's own code takes it, and no configuration says that it is off."""
    stated = around.config.get("alibi")
    takes = any(
        "alibi" in child.forward_order for child in (node, *(child for _, child in breadth_first(node)))
    )
    return stated is True or (takes and stated is None)


def _rotary_module(node: ModuleNode, around: Surroundings, *, sliding: bool) -> ModuleNode | None:
    """The attention's own, or the nearest that its stack shares; of two, the local one if it slides."""
    own = [(path, child) for path, child in breadth_first(node) if _ROTARY.search(child.class_name)]
    shared = own or list(around.rotary)
    local = [(name, child) for name, child in shared if "local" in name]
    rest = [(name, child) for name, child in shared if "local" not in name]
    chosen = (local if sliding and local else rest) or shared
    return chosen[0][1] if chosen else None


def _stated(config: Mapping[str, Any], layer_type: str) -> Mapping[str, Any]:
    """The rotary parameters for one type of layers: some configurations have a set for each type."""
    for name in ("rope_parameters", "rope_scaling"):
        stated = config.get(name)
        if not isinstance(stated, Mapping) or not stated:
            continue
        if all(isinstance(value, Mapping) for value in stated.values()):
            own = stated.get(layer_type)
            return own if isinstance(own, Mapping) else {}
        return stated
    return {}


def _kind(module: ModuleNode | None, stated: Mapping[str, Any], around: Surroundings) -> str:
    own = module.attribute("rope_type") if module is not None else None
    if isinstance(own, str):
        return own
    if around.role is Role.VISION_ENCODER and module is not None and _GRID.search(module.class_name):
        return "axial"
    named = stated.get("rope_type") or stated.get("type")
    return named if isinstance(named, str) and named != "mrope" else "default"


def _sections(module: ModuleNode | None, stated: Mapping[str, Any]) -> tuple[int, ...]:
    own = module.attribute(*_SECTION_ATTRIBUTES) if module is not None else None
    if isinstance(own, tuple):
        return own
    listed = next((value for name, value in stated.items() if _SECTIONS.search(name)), None)
    return tuple(listed) if isinstance(listed, (list, tuple)) else ()


def _theta(stated: Mapping[str, Any], config: Mapping[str, Any], *, sliding: bool) -> float | None:
    if sliding and (local := number(config.get("rope_local_base_freq"))):
        return local
    return number(stated.get("rope_theta")) or number(config.get("rope_theta"))


def _width(
    node: ModuleNode,
    stated: Mapping[str, Any],
    config: Mapping[str, Any],
    head_width: int | None,
    latent: Latent | None,
) -> int | None:
    if latent is not None:
        return latent.rotary_width
    own = whole(node.attribute("rotary_ndims", "rotary_dim"))
    part = number(stated.get("partial_rotary_factor")) or number(config.get("partial_rotary_factor"))
    part = part or number(config.get("rotary_pct"))
    if own or not head_width:
        return own
    return int(head_width * part) if part else head_width


_LOCAL = ("is_sliding", "is_local_attention")
_SIDES = ("window_size",)


def sliding_window(node: ModuleNode, around: Surroundings) -> int | None:
    """Tokens that it sees back; None where it sees all."""
    kind = _layer_type(node, around)
    if any(node.attribute(name) is False for name in _LOCAL) or (kind and "sliding" not in kind):
        return None
    own = whole(node.attribute("sliding_window"))
    if own:
        return own
    stated = whole(around.config.get("sliding_window"))
    # classes without types of layers mask all of them alike, by the configuration alone
    is_used = around.config.get("use_sliding_window") is not False
    return stated or None if is_used else None


def chunk(node: ModuleNode, around: Surroundings) -> int | None:
    """Tokens of a chunk that it does not look out of; None where there are no chunks."""
    kind = _layer_type(node, around)
    own = whole(node.attribute("chunk_size", "context_size", "attention_chunk_size"))
    if own and own > 0:
        return own
    return whole(around.config.get("attention_chunk_size")) if kind and "chunk" in kind else None


def image_window(layer: ModuleNode, node: ModuleNode, around: Surroundings) -> int | None:
    """The side of the windows of an image that attention stays in, in patches; None where it sees all."""
    holders = (node, *(child for _, child in breadth_first(node)), layer)
    own = next((size for each in holders if (size := each.attribute(*_SIDES)) is not None), None)
    side = max(own) if isinstance(own, tuple) and own else whole(own)
    if side is not None:
        return side or None
    return around.window if around.said.layer_type == "window_attention" else None


def _layer_type(node: ModuleNode, around: Surroundings) -> str | None:
    kind = node.attribute("layer_type", "attention_type")
    return kind if isinstance(kind, str) else around.said.layer_type
