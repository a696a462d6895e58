"""Trees to compare: generated trees, and edits of them."""

from hypothesis import strategies as st
from msgspec.structs import replace

from vlm_inspect.core.architecture import Architecture, Component, Parameters, Role
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ModuleNode, NodePool, folded_path
from vlm_inspect.core.snapshot import Snapshot

NAMES = ["a", "b", "c", "model", "layers", "norm", "0", "1"]
SHAPES = [(2,), (2, 3), (3, 2), ()]

_POOL = NodePool()


def node(class_name, parameters=(), **children):
    """A node with its children as keyword arguments."""
    return _POOL.node(class_name, parameters=tuple(parameters), children=tuple(children.items()))


def with_children(parent, children):
    return _POOL.node(parent.class_name, parameters=parent.parameters, children=tuple(children))


def without_pairs(facts):
    """Changes or incomparable facts without the indices of their pairs."""
    return tuple(replace(fact, pairs=()) for fact in facts)


def _unique(pairs):
    return tuple(dict(pairs).items())


def trees(names=NAMES, shapes=SHAPES):
    parameters = st.lists(st.tuples(st.sampled_from(["weight", "bias"]), st.sampled_from(shapes)), max_size=2)
    leaves = st.builds(
        lambda name, own: _POOL.node(name, parameters=_unique(own)), st.sampled_from(["L", "N"]), parameters
    )
    return st.recursive(
        leaves,
        lambda below: st.builds(
            lambda name, own, children: _POOL.node(name, parameters=_unique(own), children=_unique(children)),
            st.sampled_from(["M", "W"]),
            parameters,
            st.lists(st.tuples(st.sampled_from(names), below), max_size=4),
        ),
        max_leaves=12,
    )


def edited_trees(roots):
    """A tree and an edited copy of it, most of which is the same."""
    edits = st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 30), st.sampled_from(NAMES)), max_size=5)
    return st.builds(lambda root, made: (root, _with_edits(root, made)), roots, edits)


def two_trees():
    # with few names and shapes, a path may have moved to several places
    alike = trees(["a", "b", "c"], SHAPES[:1])
    return st.one_of(st.tuples(trees(), trees()), edited_trees(trees()), st.tuples(alike, alike), edited_trees(alike))


def _with_edits(root, edits):
    for edit, number, name in edits:
        inside = [path for path, _ in root.walk() if path]
        if inside:
            root = _at(root, inside[number % len(inside)], edit, name)
    return root


def _at(tree, path, edit, name):
    """The tree with an edit made to the child at a path."""
    first, _, rest = path.partition(".")
    return with_children(
        tree,
        dict(
            made
            for key, child in tree.children
            for made in (
                [(key, child)]
                if key != first
                else [(key, _at(child, rest, edit, name))]
                if rest
                else edit(key, child, name)
            )
        ).items(),
    )


def _reclassed(key, child, _name):
    return [(key, _POOL.node("R", parameters=child.parameters, children=child.children))]


def _reshaped(key, child, _name):
    parameters = tuple((name, (*shape, 2)) for name, shape in child.parameters)
    return [(key, _POOL.node(child.class_name, parameters=parameters, children=child.children))]


EDITS = (
    lambda _key, child, name: [(name, child)],  # renamed
    lambda key, child, name: [(key, _POOL.node("Wrapper", children=((name, child),)))],
    lambda _key, child, _name: child.children,  # dissolved
    lambda key, child, name: [(key, child), (name, child)],  # doubled
    lambda _key, _child, _name: [],  # dropped
    lambda key, child, _name: [(key, with_children(child, child.children[::-1]))],
    _reclassed,
    _reshaped,
)


def models(root):
    """Models of these modules, with any of them as components."""
    inside = sorted({path for path, _ in root.walk()})
    claimed = st.lists(
        st.tuples(st.sampled_from(inside), st.sampled_from([Role.OTHER, Role.VISION_ENCODER, Role.PROJECTOR])),
        unique_by=lambda claim: claim[0],
        max_size=4,
    )
    return st.builds(
        lambda claims, class_name: snapshot(
            root,
            model_class=class_name,
            components=tuple(_component(root, path, role) for path, role in claims),
        ),
        claimed,
        st.sampled_from(["M", "M", "Other"]),
    )


def two_models():
    return two_trees().flatmap(lambda roots: st.tuples(*map(models, roots)))


def _component(root, path, role):
    found = dict(root.walk())[path]
    return Component(role, (path,) if path else (), found.class_name, found.total)


def snapshot(root, **fields):
    """A model with nothing but modules."""
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
    """The tree with another name for the modules at a pattern."""
    parent, _, old = pattern.rpartition(".")
    return edited(root, parent, lambda children: [(name if key == old else key, child) for key, child in children])


def wrapped(root, pattern, name):
    """The tree with the contents of the modules at a pattern in a wrapper."""
    return edited(root, pattern, lambda children: [(name, _POOL.node("Wrapper", children=children))])


def subtrees(root):
    """The patterns of modules with parameters, without numbered modules and the root."""
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


def replaced(root, pattern, name):
    """The tree with other modules of the same shapes at a pattern: other classes, and other names at every level."""
    parent, _, old = pattern.rpartition(".")

    def edit(children):
        return [(name, _other(child)) if key == old else (key, child) for key, child in children]

    return edited(root, parent, edit)


def _other(module):
    children = tuple((name if name.isdigit() else f"other_{name}", _other(child)) for name, child in module.children)
    return _POOL.node(f"Other{module.class_name}", parameters=module.parameters, children=children)
