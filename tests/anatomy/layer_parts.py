"""Hand-written layers: attentions, MLPs and norms with the children that their classes have."""

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.read import read_layer, read_stack
from vlm_inspect.anatomy.layers.stacks import LayerContext
from vlm_inspect.core.module_tree import NodePool

_POOL = NodePool()


def part(class_name, parameters=(), attributes=(), uses=(), **children):
    """A module; `uses` is its forward order."""
    return _POOL.node(
        class_name,
        attributes=tuple(sorted(dict(attributes).items())),
        parameters=tuple(dict(parameters).items()),
        children=tuple(children.items()),
        forward_order=tuple(uses),
    )


def linear(in_features, out_features, *, bias=False):
    parameters = {"weight": (out_features, in_features), **({"bias": (out_features,)} if bias else {})}
    return part("Linear", parameters, {"in_features": in_features, "out_features": out_features})


def rms_norm(width):
    return part("SomeRMSNorm", {"weight": (width,)}, {"eps": 1e-6})


def attention(class_name="SomeAttention", uses=(), attributes=(("head_dim", 8),), bias=(), **more):
    """Four heads of width 8 with an input of 32; `more` replaces and adds children."""
    projections = {name: linear(32, 32, bias=name in bias) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
    return part(class_name, (), attributes, uses, **{**projections, **more})


def mlp(class_name="SomeMLP", width=32, hidden=96):
    return part(
        class_name,
        gate_proj=linear(width, hidden),
        up_proj=linear(width, hidden),
        down_proj=linear(hidden, width),
        act_fn=part("SiLU"),
    )


def fused_experts(count=4, *, transposed=False, **attributes):
    """Experts of 32 → 16 → 32 with fused gate and up projections, transposed or not."""
    up, down = ((count, 32, 32), (count, 16, 32)) if transposed else ((count, 32, 32), (count, 32, 16))
    return part("SomeExperts", {"gate_up_proj": up, "down_proj": down}, {"num_experts": count, **attributes})


def listed_experts(count=4):
    return part("ModuleList", **{str(index): mlp(hidden=16) for index in range(count)})


def layer(uses=(), class_name="SomeLayer", **children):
    return part(class_name, (), (), uses, **children)


def layers(*each):
    return part("ModuleList", **{str(index): child for index, child in enumerate(each)})


def read(node, config=None, **context):
    """The record of one layer."""
    return read_layer(node, replace(LayerContext(config or {}), **context))


def read_all(nodes, config=None, **context):
    """The record of a stack of layers."""
    return read_stack("layers", layers(*nodes), replace(LayerContext(config or {}), **context))
