import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

from vlm_inspect.core.errors import InvalidReferenceError
from vlm_inspect.core.module_tree import ModuleTree, NodePool
from vlm_inspect.render.json import to_json
from vlm_inspect.render.terminal.tree import tree_terminal_text
from vlm_inspect.render.tree import fold, tree_data, tree_lines, tree_text

PRINTS = sorted((Path(__file__).parent / "trees").glob("*.txt"))
LINE = re.compile(
    r"^(?:\((?P<first>\w+)(?:-(?P<last>\d+))?\): )?(?:\d+ x )?(?P<name>\w+)\((?P<detail>.*?)(?P<end>\)?)$"
)
SIZES = re.compile(r"in_features=(\d+), out_features=(\d+), bias=(\w+)|^(\d+), (\d+)")


def read_print(text):
    """A tree from a PyTorch print; Linears and embeddings have parameters."""
    return ModuleTree(_node(NodePool(), iter(text.splitlines()))[1])


def _node(pool, lines):
    """The names and node of the module in the next line; None at a closing bracket."""
    line = next(lines).strip()
    if line == ")":
        return None
    match = LINE.match(line)
    children = []
    if not match["end"]:
        while (found := _node(pool, lines)) is not None:
            children += [(name, found[1]) for name in found[0]]
    first, last = match["first"], match["last"]
    names = [str(n) for n in range(int(first), int(last) + 1)] if last else [first]
    detail = match["detail"]
    node = pool.node(match["name"], detail=detail, parameters=_shapes(detail), children=tuple(children))
    return names, node


def _shapes(detail):
    found = SIZES.search(detail)
    if not found:
        return ()
    if found[1]:
        inner, outer = int(found[1]), int(found[2])
        bias = (("bias", (outer,)),) if found[3] == "True" else ()
        return (("weight", (outer, inner)), *bias)
    return (("weight", (int(found[4]), int(found[5]))),) if "kernel" not in detail else ()


def tied_tree():
    pool = NodePool()
    layer = pool.node("Layer", parameters=(("w", (2, 3)),), attributes=(("index", 1),))
    other = pool.node("Layer", parameters=(("w", (2, 3)),), attributes=(("index", 2),))
    odd = pool.node("Layer", parameters=(("w", (2, 4)),))
    stack = pool.node("ModuleList", children=(("0", layer), ("1", other), ("2", odd), ("4", odd), ("5", odd)))
    table = pool.node("Embedding", detail="5, 2", parameters=(("weight", (5, 2)),))
    body = pool.node("Body", parameters=(("token", (7,)),), children=(("embed", table), ("layers", stack)))
    head = pool.node("Linear", parameters=(("weight", (5, 2)),))
    root = pool.node("Model", children=(("body", body), ("lm_head", head)))
    return ModuleTree(root, ties=(("body.embed.weight", "lm_head.weight"),))


@pytest.mark.parametrize("path", PRINTS, ids=lambda path: path.stem)
def test_without_counts_it_is_pytorchs_own_print(path):
    text = path.read_text(encoding="utf-8")
    lines = [line.printed for line in tree_lines(read_print(text))]
    assert lines == text.splitlines()


@pytest.mark.parametrize("path", PRINTS, ids=lambda path: path.stem)
def test_prints(path, golden):
    tree = read_print(path.read_text(encoding="utf-8"))
    golden(f"tree.{path.stem}.txt", tree_text(tree))
    golden(f"tree.{path.stem}.80.txt", tree_terminal_text(tree, width=80))
    golden(f"tree.{path.stem}.depth-2.txt", tree_text(tree, depth=2))


def test_counts_ties_and_own_parameters(golden):
    text = tree_text(tied_tree())
    golden("tree.tied.txt", text)
    top = fold(tied_tree())
    assert top.parameters == tied_tree().total
    body, head = top.children
    assert head.tied_to == "body.embed.weight"
    assert [(run.name, run.count) for run in body.children[1].children] == [("0-1", 2), ("2", 1), ("4-5", 2)]


def check_sums(node):
    if node.children:
        own = sum(len(shape) and shape[0] for _, shape in node.own)
        assert node.parameters == own + sum(child.count * child.parameters for child in node.children)
    for child in node.children:
        check_sums(child)


def test_counts_add_up():
    for path in PRINTS:
        check_sums(fold(read_print(path.read_text(encoding="utf-8"))))


def test_depth_and_focus():
    tree = tied_tree()
    assert tree_text(tree, depth=0) == "Model(...)  53\n"
    assert tree_text(tree, focus="body.layers", depth=1).splitlines()[0] == "(body.layers): ModuleList(  36"
    assert tree_text(tree, focus="lm_head").startswith("(lm_head): Linear()")
    assert fold(tree, focus="body.layers.2").parameters == 8


@pytest.mark.parametrize(
    ("focus", "closest"),
    [
        ("layers", "body.layers"),
        ("body.layer", "body.layers"),
        ("lm_heed", "lm_head"),
        ("\x1b", "body, lm_head"),
    ],
)
def test_an_unknown_path_suggests_the_closest(focus, closest):
    with pytest.raises(InvalidReferenceError) as error:
        tree_text(tied_tree(), focus=focus)
    assert error.value.hint.startswith(f"Closest paths: {closest}")
    assert repr(focus) in error.value.message


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_a_tree_is_never_wider_than_the_terminal(width):
    for path in PRINTS:
        lines = tree_terminal_text(read_print(path.read_text(encoding="utf-8")), width=width).splitlines()
        assert max(cell_len(line) for line in lines) <= width
        assert not any("\x1b" in line for line in lines)


def test_tree_data(golden):
    data = tree_data(tied_tree())
    assert data["parameters"] == tied_tree().total
    golden("tree.tied.json", json.dumps(data, indent=1) + "\n")


def test_hostile_names_cannot_reach_the_terminal():
    pool = NodePool()
    leaf = pool.node("Evil\x1b[2J", detail="a\nb", parameters=(("w\r", (2,)),))
    tree = ModuleTree(pool.node("Root\n", parameters=(("p\x07", (1,)),), children=(("x\u202e", leaf),)))
    for text in (tree_text(tree), tree_terminal_text(tree), to_json(tree_data(tree))):
        assert text.replace("\n", "").isprintable()
    assert len(tree_text(tree).splitlines()) == 4


def test_many_layers_fold_quickly():
    pool = NodePool()
    layer = pool.node("Layer", children=tuple((f"m{i}", pool.node("Linear")) for i in range(50)))
    stack = pool.node("ModuleList", children=tuple((str(i), layer) for i in range(20_000)))
    assert len(tree_text(ModuleTree(stack)).splitlines()) == 54
