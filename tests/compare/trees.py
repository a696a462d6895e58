"""Trees to compare: generated ones, and edits of any tree."""

from dataclasses import replace

from hypothesis import strategies as st

from vlm_inspect.architecture import Architecture, Parameters
from vlm_inspect.compare.patterns import folded_path
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.snapshot import Snapshot
from vlm_inspect.tree import ModuleNode, NodePool

NAMES = ["a", "b", "c", "model", "layers", "norm", "0", "1"]
SHAPES = [(2,), (2, 3), (3, 2), ()]

_POOL = NodePool()


def node(class_name, parameters=(), **children):
    """A node; what Python cannot spell as a keyword is given as `children`."""
    return _POOL.node(class_name, parameters=tuple(parameters), children=tuple(children.items()))


def with_children(parent, children):
    return _POOL.node(parent.class_name, parameters=parent.parameters, children=tuple(children))


def _unique(pairs):
    return tuple(dict(pairs).items())


def trees():
    parameters = st.lists(st.tuples(st.sampled_from(["weight", "bias"]), st.sampled_from(SHAPES)), max_size=2)
    leaves = st.builds(
        lambda name, own: _POOL.node(name, parameters=_unique(own)), st.sampled_from(["L", "N"]), parameters
    )
    return st.recursive(
        leaves,
        lambda below: st.builds(
            lambda name, own, children: _POOL.node(name, parameters=_unique(own), children=_unique(children)),
            st.sampled_from(["M", "W"]),
            parameters,
            st.lists(st.tuples(st.sampled_from(NAMES), below), max_size=4),
        ),
        max_leaves=12,
    )


def snapshot(root, **fields):
    """A model of which nothing is known but its modules."""
    record = Architecture(ModelIdentity("m"), "t", "M", "transformers", (), Parameters(root.total))
    return Snapshot(replace(record, **fields), root)


def edited(root, pattern, edit):
    """The tree with `edit` made to the children of every module at a pattern."""
    return _edited(root, "", pattern, edit)


def _edited(tree: ModuleNode, path, pattern, edit):
    if path == pattern:
        return with_children(tree, edit(tree.children))
    children = [
        (name, _edited(child, folded_path(f"{path}.{name}" if path else name), pattern, edit))
        for name, child in tree.children
    ]
    return with_children(tree, children)


def renamed(root, pattern, name):
    """The tree with the modules at a pattern called otherwise."""
    parent, _, old = pattern.rpartition(".")
    return edited(
        root, parent, lambda children: [(name if key == old else key, child) for key, child in children]
    )


def wrapped(root, pattern, name):
    """The tree with another module around what the modules at a pattern hold."""
    return edited(root, pattern, lambda children: [(name, _POOL.node("Wrapper", children=children))])


def subtrees(root):
    """The patterns of modules with parameters below, numbered ones and the root left out."""
    return sorted(
        {
            folded_path(path)
            for path, module in root.walk()
            if path and module.total and not path.rpartition(".")[2].isdigit()
        }
    )


def below(root, pattern):
    """The parameters below a pattern."""
    prefix = f"{pattern}." if pattern else ""
    return [path for path, _ in root.parameter_paths() if folded_path(path).startswith(prefix)]
