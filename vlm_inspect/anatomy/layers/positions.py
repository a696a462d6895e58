"""How an attention encodes positions (rotary, relative, ALiBi, none), and its windows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vlm_inspect.anatomy.layers.stacks import ROTARY_CLASS, LayerContext
from vlm_inspect.anatomy.module_kinds import as_float, as_int, breadth_first
from vlm_inspect.core.architecture import Latent, Positions, Role, Rotary
from vlm_inspect.core.module_tree import POSITION_ARGUMENT, ModuleNode, last_name

_ROTARY_CALL = re.compile(r"(rotary|rope|rot_embed)", re.IGNORECASE)
_RELATIVE = re.compile(r"(^|_)(rel_pos|relative|rel_logits|rel_attn)", re.IGNORECASE)
_BIAS_TABLE = "relative_attention_num_buckets"
_IMAGE_ROTARY_CLASS = re.compile(r"(Vision|2D|2d|Pixtral|ViT)")
_SLIDING, _FULL = "sliding_attention", "full_attention"


def read_positions(
    node: ModuleNode, context: LayerContext, *, cross: bool, sliding: bool
) -> tuple[Positions | None, ModuleNode | None]:
    """How an attention encodes positions, and its rotary embedding if it has one.

    None if its code rotates queries and keys but no module that computes the angles was found, or if it was not
    built and its code is not known, or takes arguments that may hold positions.
    """
    positions, module = _positions(node, context, cross=cross, sliding=sliding)
    is_read = bool(node.forward_order) and not any(map(POSITION_ARGUMENT.search, node.forward_order))
    is_known = context.built or is_read or positions != "none"
    return (positions if is_known else None), module


def _positions(
    node: ModuleNode, context: LayerContext, *, cross: bool, sliding: bool
) -> tuple[Positions | None, ModuleNode | None]:
    # T5's layers may share the first layer's table
    if not cross and (context.relative or node.attribute(_BIAS_TABLE) is not None):
        return "relative", None
    below = (*breadth_first(node), *node.parameter_paths())
    if any(_RELATIVE.search(last_name(path)) for path, _ in below):
        return "relative", None
    # some classes store the flag as a number
    if cross or node.attribute("use_rope") == 0 or context.declared.theta == 0:
        return "none", None
    calls = [name for _, module in node.walk() for name in module.forward_order]
    rotates = bool(node.forward_order) and any(_ROTARY_CALL.search(name) for name in calls)
    module = _rotary_module(node, context, sliding=sliding)
    if module is not None:
        return ("none", None) if node.forward_order and not rotates else ("rotary", module)
    alibi = context.config.get("alibi")
    if alibi is True or (alibi is None and "alibi" in calls):
        return "alibi", None
    return (None if rotates else "none"), None


def read_rotary(  # noqa: PLR0913 - the embedding, the attention that uses it and their context
    module: ModuleNode,
    node: ModuleNode,
    context: LayerContext,
    head_width: int | None,
    latent: Latent | None,
    *,
    sliding: bool,
) -> Rotary:
    """A rotary embedding: its module, and the configuration's parameters for this type of layer."""
    config = context.config
    parameters = _rope_parameters(config, _layer_type(node, context) or (_SLIDING if sliding else _FULL))
    kind = _rotary_kind(module, parameters, context)
    declared = next((value for key, value in parameters.items() if key.endswith("_section")), None)
    sections = module.attribute("mrope_section", "xdrope_section")
    sections = sections if isinstance(sections, tuple) else declared
    return Rotary(
        class_name=module.class_name,
        kind=kind,
        width=latent.rotary_width if latent else _rotary_width(node, parameters, config, head_width),
        sections=tuple(sections) if isinstance(sections, (list, tuple)) else (),
        theta=context.declared.theta
        or as_float(config.get("rope_local_base_freq") if sliding else None)
        or as_float(parameters.get("rope_theta"))
        or as_float(config.get("rope_theta")),
        # the configuration's factor is for another embedding if this one is not scaled
        factor=as_float(parameters.get("factor")) if kind != "default" else None,
    )


def _rotary_module(node: ModuleNode, context: LayerContext, *, sliding: bool) -> ModuleNode | None:
    """The attention's own embedding or the nearest shared one; a local one serves sliding attention only."""
    own = [(path, child) for path, child in breadth_first(node) if ROTARY_CLASS.search(child.class_name)]
    # the sort is stable: the nearest of its kind stays first
    modules = sorted(own or context.rotary, key=lambda pair: ("local" in pair[0]) != sliding)
    return modules[0][1] if modules else None


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


def _rotary_kind(module: ModuleNode, parameters: Mapping[str, Any], context: LayerContext) -> str:
    own = module.attribute("rope_type")
    if isinstance(own, str):
        return own
    if context.role is Role.VISION_ENCODER and _IMAGE_ROTARY_CLASS.search(module.class_name):
        return "axial"
    declared = parameters.get("rope_type") or parameters.get("type")
    return declared if isinstance(declared, str) and declared != "mrope" else "default"


def _rotary_width(
    node: ModuleNode, parameters: Mapping[str, Any], config: Mapping[str, Any], head_width: int | None
) -> int | None:
    own = as_int(node.attribute("rotary_ndims", "rotary_dim"))
    if own or not head_width:
        return own
    factor = as_float(parameters.get("partial_rotary_factor"))
    factor = factor or as_float(config.get("partial_rotary_factor")) or as_float(config.get("rotary_pct"))
    return int(head_width * factor) if factor else head_width


def sliding_window(node: ModuleNode, context: LayerContext) -> int | None:
    """The size of an attention's sliding window in tokens; None if it has none."""
    layer_type = _layer_type(node, context)
    if any(node.attribute(name) is False for name in ("is_sliding", "is_local_attention")):
        return None
    if layer_type and "sliding" not in layer_type:
        return None
    window = as_int(node.attribute("sliding_window"))
    # in models without layer types, the configuration's window applies to all layers
    if not window and context.config.get("use_sliding_window") is not False:
        window = as_int(context.config.get("sliding_window"))
    return window or None


def attention_chunk(node: ModuleNode, context: LayerContext) -> int | None:
    """The size of the chunks that attention is limited to, in tokens; None if there are none."""
    own = as_int(node.attribute("chunk_size", "context_size", "attention_chunk_size"))
    if own and own > 0:
        return own
    is_chunked = "chunk" in (_layer_type(node, context) or "")
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
