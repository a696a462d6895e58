"""How an attention encodes positions (rotary, relative, ALiBi, none), and its windows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vlm_inspect.anatomy.layers.stacks import ROTARY_CLASS, LayerContext
from vlm_inspect.anatomy.leaves import as_float, as_int, breadth_first
from vlm_inspect.core.architecture import Latent, Positions, Role, Rotary
from vlm_inspect.core.module_tree import ModuleNode, last_name

_ROTARY_CALL = re.compile(r"(rotary|rope|rot_embed)", re.IGNORECASE)
_RELATIVE = re.compile(r"(^|_)(rel_pos|relative|rel_logits|rel_attn)", re.IGNORECASE)
_BIAS_TABLE = "relative_attention_num_buckets"
_IMAGE_ROTARY_CLASS = re.compile(r"(Vision|2D|2d|Pixtral|ViT)")
_SECTION_KEY = re.compile(r"_section$")
_SECTION_ATTRIBUTES = ("mrope_section", "xdrope_section")
_SLIDING, _FULL = "sliding_attention", "full_attention"
_LOCAL_FLAGS = ("is_sliding", "is_local_attention")


# --- positions ---


def read_positions(
    node: ModuleNode, context: LayerContext, *, cross: bool, sliding: bool
) -> tuple[Positions | None, ModuleNode | None]:
    """How an attention encodes positions, and its rotary embedding if it has one.

    None if its code rotates queries and keys but no module that computes the angles was found.
    """
    if _has_relative_positions(node, shared=not cross) or (context.relative and not cross):
        return "relative", None
    if cross or _is_off(node.attribute("use_rope")) or context.declared.theta == 0:
        return "none", None
    module = _rotary_module(node, context, sliding=sliding)
    rotates = _applies_rotary(node)
    if module is not None:
        return ("none" if rotates is False else "rotary"), module
    if _uses_alibi(node, context):
        return "alibi", None
    return (None if rotates else "none"), None


def read_rotary(  # noqa: PLR0913 - the embedding, the attention that uses it and their context
    module: ModuleNode | None,
    node: ModuleNode,
    context: LayerContext,
    head_width: int | None,
    latent: Latent | None,
    *,
    sliding: bool,
) -> Rotary:
    """A rotary embedding: its module, and the configuration's parameters for this type of layer."""
    layer_type = node.attribute("layer_type", "attention_type") or context.declared.layer_type
    parameters = _rope_parameters(context.config, str(layer_type or (_SLIDING if sliding else _FULL)))
    kind = _rotary_kind(module, parameters, context)
    return Rotary(
        class_name=module.class_name if module is not None else None,
        kind=kind,
        width=_rotary_width(node, parameters, context.config, head_width, latent),
        sections=_sections(module, parameters),
        theta=context.declared.theta or _theta(parameters, context.config, sliding=sliding),
        # the configuration's factor is for another embedding if this one is not scaled
        factor=as_float(parameters.get("factor")) if kind != "default" else None,
    )


def _has_relative_positions(node: ModuleNode, *, shared: bool) -> bool:
    """By a table or projection of relative positions; T5's layers may share the first layer's table."""
    if shared and node.attribute(_BIAS_TABLE) is not None:
        return True
    modules = (last_name(path) for path, _ in breadth_first(node))
    parameters = (last_name(path) for path, _ in node.parameter_paths())
    return any(_RELATIVE.search(name) for name in (*modules, *parameters))


def _is_off(flag: object) -> bool:
    """False or 0: some classes store the flag as a number."""
    return isinstance(flag, int) and not flag


def _applies_rotary(node: ModuleNode) -> bool | None:
    """Whether the attention's code rotates queries and keys; None if there is no code."""
    if not node.forward_order:
        return None
    return any(_ROTARY_CALL.search(name) for _, module in node.walk() for name in module.forward_order)


def _uses_alibi(node: ModuleNode, context: LayerContext) -> bool:
    """Whether the configuration turns ALiBi on, or the code takes it and the configuration is silent."""
    declared = context.config.get("alibi")
    in_code = any("alibi" in module.forward_order for _, module in node.walk())
    return declared is True or (in_code and declared is None)


def _rotary_module(node: ModuleNode, context: LayerContext, *, sliding: bool) -> ModuleNode | None:
    """The attention's own embedding or the nearest shared one; a local one serves sliding attention only."""
    own = [(path, child) for path, child in breadth_first(node) if ROTARY_CLASS.search(child.class_name)]
    modules = own or list(context.rotary)
    local = [child for name, child in modules if "local" in name]
    others = [child for name, child in modules if "local" not in name]
    chosen = (local if sliding and local else others) or local
    return chosen[0] if chosen else None


def _rope_parameters(config: Mapping[str, Any], layer_type: str) -> Mapping[str, Any]:
    """The rotary parameters for a type of layer; some configurations have a set per type."""
    for key in ("rope_parameters", "rope_scaling"):
        parameters = config.get(key)
        if not isinstance(parameters, Mapping) or not parameters:
            continue
        if all(isinstance(value, Mapping) for value in parameters.values()):
            return parameters.get(layer_type) or {}
        return parameters
    return {}


def _rotary_kind(module: ModuleNode | None, parameters: Mapping[str, Any], context: LayerContext) -> str:
    own = module.attribute("rope_type") if module is not None else None
    if isinstance(own, str):
        return own
    is_vision = context.role is Role.VISION_ENCODER
    if is_vision and module is not None and _IMAGE_ROTARY_CLASS.search(module.class_name):
        return "axial"
    declared = parameters.get("rope_type") or parameters.get("type")
    return declared if isinstance(declared, str) and declared != "mrope" else "default"


def _sections(module: ModuleNode | None, parameters: Mapping[str, Any]) -> tuple[int, ...]:
    own = module.attribute(*_SECTION_ATTRIBUTES) if module is not None else None
    if isinstance(own, tuple):
        return own
    declared = next((value for key, value in parameters.items() if _SECTION_KEY.search(key)), None)
    return tuple(declared) if isinstance(declared, (list, tuple)) else ()


def _theta(parameters: Mapping[str, Any], config: Mapping[str, Any], *, sliding: bool) -> float | None:
    if sliding and (local := as_float(config.get("rope_local_base_freq"))):
        return local
    return as_float(parameters.get("rope_theta")) or as_float(config.get("rope_theta"))


def _rotary_width(
    node: ModuleNode,
    parameters: Mapping[str, Any],
    config: Mapping[str, Any],
    head_width: int | None,
    latent: Latent | None,
) -> int | None:
    if latent is not None:
        return latent.rotary_width
    own = as_int(node.attribute("rotary_ndims", "rotary_dim"))
    if own or not head_width:
        return own
    factor = as_float(parameters.get("partial_rotary_factor"))
    factor = factor or as_float(config.get("partial_rotary_factor")) or as_float(config.get("rotary_pct"))
    return int(head_width * factor) if factor else head_width


# --- windows ---


def sliding_window(node: ModuleNode, context: LayerContext) -> int | None:
    """The size of an attention's sliding window in tokens; None if it has none."""
    layer_type = _layer_type(node, context)
    if any(node.attribute(name) is False for name in _LOCAL_FLAGS):
        return None
    if layer_type and "sliding" not in layer_type:
        return None
    own = as_int(node.attribute("sliding_window"))
    if own:
        return own
    # in models without layer types, the configuration's window applies to all layers
    is_used = context.config.get("use_sliding_window") is not False
    return (as_int(context.config.get("sliding_window")) or None) if is_used else None


def attention_chunk(node: ModuleNode, context: LayerContext) -> int | None:
    """The size of the chunks that attention is limited to, in tokens; None if there are none."""
    own = as_int(node.attribute("chunk_size", "context_size", "attention_chunk_size"))
    if own and own > 0:
        return own
    layer_type = _layer_type(node, context)
    is_chunked = layer_type and "chunk" in layer_type
    return as_int(context.config.get("attention_chunk_size")) if is_chunked else None


def image_window(layer: ModuleNode, node: ModuleNode, context: LayerContext) -> int | None:
    """The side of an attention's image windows in patches; None if it is global."""
    modules = (node, *(child for _, child in breadth_first(node)), layer)
    own = next((size for each in modules if (size := each.attribute("window_size")) is not None), None)
    side = max(own) if isinstance(own, tuple) and own else as_int(own)
    if side is not None:
        return side or None
    return context.window if context.declared.layer_type == "window_attention" else None


def _layer_type(node: ModuleNode, context: LayerContext) -> str | None:
    layer_type = node.attribute("layer_type", "attention_type")
    return layer_type if isinstance(layer_type, str) else context.declared.layer_type
