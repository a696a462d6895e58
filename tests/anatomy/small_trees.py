"""Module trees by hand, as small as a rule needs them."""

from vlm_inspect.anatomy.roles.find import find_roles
from vlm_inspect.core.module_tree import ModuleTree, NodePool

TEXT, VISION = 64, 32
WORDS = 1000
_POOL = NodePool()


def module(class_name, **children):
    """A module that holds others, in this order; a shape instead of a module is a parameter of its own."""
    parameters = tuple((name, child) for name, child in children.items() if isinstance(child, tuple))
    modules = tuple((name, child) for name, child in children.items() if not isinstance(child, tuple))
    return _POOL.node(class_name, parameters=parameters, children=modules)


def linear(given, made):
    """A Linear without a bias."""
    sizes = (("in_features", given), ("out_features", made))
    return _POOL.node("Linear", attributes=sizes, parameters=(("weight", (made, given)),))


def norm(width):
    """A LayerNorm without a bias."""
    return _POOL.node("LayerNorm", parameters=(("weight", (width,)),))


def table(entries, width, class_name="Embedding"):
    """An embedding table."""
    sizes = (("embedding_dim", width), ("num_embeddings", entries))
    return _POOL.node(class_name, attributes=sizes, parameters=(("weight", (entries, width)),))


def convolution(given, made, *kernel):
    """A convolution over as many dimensions as its kernel has sides."""
    sizes = (("in_channels", given), ("kernel_size", kernel), ("out_channels", made))
    return _POOL.node(
        f"Conv{len(kernel)}d", attributes=sizes, parameters=(("weight", (made, given, *kernel)),)
    )


def layers(width, count=2, name="Some"):
    """A list of layers of attention and MLP."""
    attention = module(f"{name}Attention", q_proj=linear(width, width), o_proj=linear(width, width))
    layer = module(f"{name}Layer", attn=attention, fc1=linear(width, 4 * width), fc2=linear(4 * width, width))
    return module("ModuleList", **{str(index): layer for index in range(count)})


def tower(class_name="SomeModel", width=VISION, **more):
    """Layers behind a convolution over pixels."""
    return module(class_name, patches=convolution(3, width, 8, 8), layers=layers(width), **more)


def listener(class_name="SomeModel", width=VISION, **more):
    """Layers behind a convolution over a wave."""
    return module(class_name, stem=convolution(1, width, 7), layers=layers(width), **more)


def text(class_name="TextModel", **more):
    """A language model without its head."""
    return module(class_name, embed_tokens=table(WORDS, TEXT), layers=layers(TEXT), norm=norm(TEXT), **more)


def model(accessors=None, ties=(), **children):
    """A tree whose root holds these; a head where none is given."""
    children.setdefault("lm_head", linear(TEXT, WORDS))
    return ModuleTree(
        module("SomeForConditionalGeneration", **children), ties=ties, accessors=accessors or {}
    )


def roles(tree):
    """Role → the paths of its claims, in the order of the tree."""
    found = {}
    for claim in find_roles(tree):
        found.setdefault(claim.role.value, []).append(claim.paths)
    return found
