"""Whether a module that the code makes can be the one that the headers hold."""

from __future__ import annotations

from vlm_inspect.build.source.torch_kinds import holds_no_parameters
from vlm_inspect.build.source.values import Choice, Foreign, Instance, Parameter, Unknown, Value
from vlm_inspect.tree import ModuleNode

_LARGEST_BARE = 20


_DEEPEST_BARE = 3


# what shapes prove, whatever the code says
PROVEN = frozenset(
    {
        *("in_features", "out_features", "num_embeddings", "embedding_dim", "in_channels", "out_channels"),
        *("kernel_size", "normalized_shape", "nf", "nx", "num_features", "num_channels"),
    }
)


def modules_of(made: Instance) -> list[tuple[str, Value]]:
    """What an instance holds that is a module, or may be one."""
    return [
        (name, value)
        for name, value in made.attributes.items()
        if name != "*"
        and (isinstance(value, (Unknown, Choice)) or (isinstance(value, Instance) and value.is_module))
    ]


def is_bare(value: Value) -> bool:
    """Whether a module is known to hold no parameters, and no more modules than an activation may."""
    return isinstance(value, Instance) and _bare_size(value, 0) <= _LARGEST_BARE


def _bare_size(value: Value, depth: int) -> int:
    """Modules in a module without parameters; beyond the limit where it may have some, or is a maze."""
    beyond = _LARGEST_BARE + 1
    if (
        not isinstance(value, Instance)
        or value.open_reason
        or "*" in value.attributes
        or depth > _DEEPEST_BARE
    ):
        return beyond
    held = modules_of(value)
    if isinstance(value.made_by, Foreign) and not held:
        return 1 if holds_no_parameters(value.class_name) else beyond
    if len(held) > _LARGEST_BARE or any(isinstance(each, Parameter) for each in value.attributes.values()):
        return beyond
    return 1 + sum(_bare_size(each, depth + 1) for _, each in held)


def the_fitting(node: ModuleNode, choice: Choice) -> Value:
    """The one option whose modules are those of the node; the choice itself where several are."""
    fitting = [
        each for each in choice.options if isinstance(each, Instance) and fits(node, each, exactly=True)
    ]
    return fitting[0] if len(fitting) == 1 else choice


def fits(node: ModuleNode, made: Instance, *, exactly: bool = False) -> bool:
    """Whether the code's module can be the one that the headers hold."""
    if isinstance(made.made_by, Foreign) and made.class_name in _LEAVES:
        return not node.children and _same_sizes(node, made)
    known = {name for name, value in modules_of(made) if not is_bare(value)}
    held = {name for name, child in node.children if child.total}
    if exactly:
        return known == held
    return (
        not held
        or not known
        or bool(held & known)
        or "*" in made.attributes
        or bool(made.open_reason)
        or _deeper(node, known)
    )


def _deeper(node: ModuleNode, known: set[str]) -> bool:
    return any({name for name, _ in child.children} & known for _, child in node.children)


_LEAVES = frozenset(
    {"Linear", "Embedding", "LayerNorm", "RMSNorm", "GroupNorm", "Conv1d", "Conv2d", "Conv3d"}
)


def _same_sizes(node: ModuleNode, made: Instance) -> bool:
    """Whether sizes that both know agree."""
    stated = dict(node.attributes)
    for name in PROVEN & set(stated) & set(made.attributes):
        value = made.attributes[name]
        if type(value) is int and type(stated[name]) is int and value != stated[name]:
            return False
    return True
