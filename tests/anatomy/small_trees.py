"""Small module trees, written by hand, for tests of single rules."""

from vlm_inspect.anatomy.roles.assign_roles import find_roles
from vlm_inspect.core.module_tree import ModuleTree, NodePool

TEXT, VISION = 64, 32
WORDS = 1000
_POOL = NodePool()


def module(class_name, **children):
    """A module with these children in this order; a shape instead of a module is a bare parameter."""
    parameters = tuple((name, child) for name, child in children.items() if isinstance(child, tuple))
    modules = tuple((name, child) for name, child in children.items() if not isinstance(child, tuple))
    return _POOL.node(class_name, parameters=parameters, children=modules)


def linear(in_features, out_features):
    """A Linear without a bias."""
    sizes = (("in_features", in_features), ("out_features", out_features))
    return _POOL.node("Linear", attributes=sizes, parameters=(("weight", (out_features, in_features)),))


def norm(width):
    """A LayerNorm without a bias."""
    return _POOL.node("LayerNorm", parameters=(("weight", (width,)),))


def table(entries, width, class_name="Embedding"):
    """An embedding table."""
    sizes = (("embedding_dim", width), ("num_embeddings", entries))
    return _POOL.node(class_name, attributes=sizes, parameters=(("weight", (entries, width)),))


def convolution(in_channels, out_channels, *kernel):
    """A convolution with as many dimensions as its kernel."""
    sizes = (("in_channels", in_channels), ("kernel_size", kernel), ("out_channels", out_channels))
    return _POOL.node(
        f"Conv{len(kernel)}d",
        attributes=sizes,
        parameters=(("weight", (out_channels, in_channels, *kernel)),),
    )


def layers(width, count=2, name="Some"):
    """A ModuleList of layers with attention and an MLP."""
    attention = module(f"{name}Attention", q_proj=linear(width, width), o_proj=linear(width, width))
    layer = module(f"{name}Layer", attn=attention, fc1=linear(width, 4 * width), fc2=linear(4 * width, width))
    return module("ModuleList", **{str(index): layer for index in range(count)})


def tower(class_name="SomeModel", width=VISION, **more):
    """A vision encoder: layers behind a convolution over pixels."""
    return module(class_name, patches=convolution(3, width, 8, 8), layers=layers(width), **more)


def audio_encoder(class_name="SomeModel", width=VISION, **more):
    """An audio encoder: layers behind a convolution over a waveform."""
    return module(class_name, stem=convolution(1, width, 7), layers=layers(width), **more)


def text(class_name="TextModel", **more):
    """A language model without its head."""
    return module(class_name, embed_tokens=table(WORDS, TEXT), layers=layers(TEXT), norm=norm(TEXT), **more)


def model(accessors=None, ties=(), **children):
    """A tree with these children of the root, and with an LM head by default."""
    children.setdefault("lm_head", linear(TEXT, WORDS))
    return ModuleTree(module("SomeForConditionalGeneration", **children), ties=ties, accessors=accessors or {})


def roles(tree):
    """Role → the paths of its assignments, in the order of the tree."""
    found = {}
    for assignment in find_roles(tree):
        found.setdefault(assignment.role.value, []).append(assignment.paths)
    return found
