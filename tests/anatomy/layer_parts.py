"""Parts of layers by hand: attentions, MLPs and norms as their classes hold them."""

from msgspec.structs import replace

from vlm_inspect.anatomy.layers.read import read_layer, read_stack
from vlm_inspect.anatomy.layers.stacks import Surroundings
from vlm_inspect.core.module_tree import NodePool

_POOL = NodePool()


def part(class_name, parameters=(), attributes=(), uses=(), **children):
    """A module: its own parameters, its attributes, what its code uses in which order, and what it holds."""
    return _POOL.node(
        class_name,
        attributes=tuple(sorted(dict(attributes).items())),
        parameters=tuple(dict(parameters).items()),
        children=tuple(children.items()),
        forward_order=tuple(uses),
    )


def linear(given, made, *, bias=False):
    parameters = {"weight": (made, given), **({"bias": (made,)} if bias else {})}
    return part("Linear", parameters, {"in_features": given, "out_features": made})


def rms_norm(width):
    return part("SomeRMSNorm", {"weight": (width,)}, {"eps": 1e-6})


def attention(class_name="SomeAttention", uses=(), attributes=(("head_dim", 8),), bias=(), **more):
    """Four heads of 8 over a stream of 32; `more` replaces and adds."""
    held = {name: linear(32, 32, bias=name in bias) for name in ("q_proj", "k_proj", "v_proj", "o_proj")}
    return part(class_name, (), attributes, uses, **{**held, **more})


def mlp(class_name="SomeMLP", width=32, hidden=96):
    return part(
        class_name,
        gate_proj=linear(width, hidden),
        up_proj=linear(width, hidden),
        down_proj=linear(hidden, width),
        act_fn=part("SiLU"),
    )


def fused_experts(count=4, *, transposed=False, **attributes):
    """Experts of 32 → 16 → 32, gate and up in one, either way around."""
    up, down = ((count, 32, 32), (count, 16, 32)) if transposed else ((count, 32, 32), (count, 32, 16))
    return part("SomeExperts", {"gate_up_proj": up, "down_proj": down}, {"num_experts": count, **attributes})


def listed_experts(count=4):
    return part("ModuleList", **{str(index): mlp(hidden=16) for index in range(count)})


def layer(uses=(), class_name="SomeLayer", **children):
    return part(class_name, (), (), uses, **children)


def layers(*each):
    return part("ModuleList", **{str(index): child for index, child in enumerate(each)})


def read(node, config=None, **around):
    """One layer, read."""
    return read_layer(node, replace(Surroundings(config or {}), **around))


def read_all(nodes, config=None, **around):
    """A stack of layers, read."""
    return read_stack("layers", layers(*nodes), replace(Surroundings(config or {}), **around))
