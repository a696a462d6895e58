"""Published repositories with code of their own, from headers and source: no part that the headers show is lost."""

import re

import pytest

from tests.builders import phi3_v
from tests.builders.repositories import LAYOUTS
from tests.builders.repositories.code import code_of
from tests.builders.repositories.layout import described, flat, headers, linear, norm, sizes, stack
from vlm_inspect.anatomy.roles.assign_roles import find_roles
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import ancestors

WITH_CODE = {name: (layout, code) for name, layout in LAYOUTS.items() if (code := code_of(name))}
REPOSITORIES = {
    **{name: (layout.CONFIG, layout.SHAPES, code) for name, (layout, code) in WITH_CODE.items()},
    "phi3_v": (phi3_v.CONFIG, phi3_v.SHAPES, phi3_v.CODE),
}


def tree_of(config, shapes, code=None):
    return build_header_tree(Checkpoint(ModelIdentity("org/name"), config), headers(shapes), code)


def roles_of(tree):
    """The role and its evidence by the path of each parameter."""
    parts = {path: each for each in find_roles(tree) for path in each.paths}
    owners = {
        path: next((parts[at] for at in ancestors(path) if at in parts), None)
        for path, _ in tree.root.parameter_paths()
    }
    return {path: (owner.role, owner.detail) for path, owner in owners.items() if owner is not None}


def lost_parameters(without_code, with_code):
    """Parameters of a part by the headers that have no role, or another one that no name proves, with the code."""
    before, after = roles_of(without_code), roles_of(with_code)
    lost = set()
    for path, (role, _) in before.items():
        new, detail = after.get(path, (None, ""))
        is_improved = detail.startswith(("the class name", "the name", "behind the layers")) and new is Role.PROJECTOR
        if role is not Role.OTHER and new is not role and not is_improved:
            lost.add(path)
    return lost


def counts_by_role(record):
    found = {}
    for role, count in sizes(record):
        found.setdefault(role, []).append(count)
    return found


@pytest.mark.parametrize("name", WITH_CODE)
def test_parts_of_a_repository_by_its_code(name):
    layout, code = WITH_CODE[name]
    record = described(layout.CONFIG, layout.SHAPES, code)
    by_headers, by_code = counts_by_role(described(layout.CONFIG, layout.SHAPES)), counts_by_role(record)
    for role, expected in layout.PARTS.items():
        if by_headers.get(role) == list(expected):
            assert by_code[role] == list(expected)
    assert record.parameters.total == layout.TOTAL == sum(count for _, count in sizes(record))


@pytest.mark.parametrize("name", REPOSITORIES)
def test_code_loses_no_part_that_the_headers_show(name):
    config, shapes, code = REPOSITORIES[name]
    assert not lost_parameters(tree_of(config, shapes), tree_of(config, shapes, code))


@pytest.mark.parametrize("name", REPOSITORIES)
def test_code_whose_class_names_say_nothing_loses_no_part(name):
    config, shapes, code = REPOSITORIES[name]
    classes = sorted({each for text in code.values() for each in re.findall(r"^class (\w+)", text, re.MULTILINE)})
    renamed = {each: f"Part{number}" for number, each in enumerate(classes)}
    pattern = re.compile(rf"\b({'|'.join(classes)})\b")
    opaque = {path: pattern.sub(lambda found: renamed[found[1]], text) for path, text in code.items()}
    references = {key: pattern.sub(lambda found: renamed[found[1]], text) for key, text in config["auto_map"].items()}
    config = {**config, "auto_map": references}
    tree = tree_of(config, shapes, opaque)
    assert not lost_parameters(tree_of(config, shapes), tree)
    assert any(node.class_name.startswith("Part") for _, node in tree.root.walk())


@pytest.mark.parametrize("name", REPOSITORIES)
def test_code_names_more_modules_and_changes_no_parameter(name):
    config, shapes, code = REPOSITORIES[name]
    without, tree = tree_of(config, shapes), tree_of(config, shapes, code)
    assert dict(tree.root.parameter_paths()) == dict(without.root.parameter_paths())
    unnamed, still = ({path for path, node in each.root.walk() if node.inferred} for each in (without, tree))
    assert still < unnamed


@pytest.mark.parametrize("name", REPOSITORIES)
def test_equal_layers_have_one_class(name):
    """No list has a first layer with a name and others without."""
    config, shapes, code = REPOSITORIES[name]
    without, tree = tree_of(config, shapes), tree_of(config, shapes, code)
    for path, node in without.root.walk():
        if node.children and all(key.isdigit() for key, _ in node.children):
            equal = {}
            for key, child in node.children:
                equal.setdefault(id(child), set()).add(tree.find(f"{path}.{key}").class_name)
            assert all(len(classes) == 1 for classes in equal.values()), path


# --- names and orders that would hide a part ----------------------------------------------------------


def block(width):
    return {
        "norm": norm(width),
        "attn": {"qkv": linear(width, 3 * width), "out": linear(width, width)},
        "mlp": {"up": linear(width, 4 * width), "down": linear(4 * width, width)},
    }


SMALL_CONFIG = {
    "architectures": ["Model"],
    "auto_map": {"AutoModel": "modeling.Model"},
    "vocab_size": 1000,
    "hidden_size": 64,
    "num_attention_heads": 4,
}
SMALL = {
    "vision_tower": {"patch": linear(588, 32), "blocks": stack(3, block(32))},
    "projector": linear(32, 64),
    "text": {"embed_tokens": {"weight": (1000, 64)}, "blocks": stack(4, block(64)), "norm": norm(64)},
    "lm_head": linear(64, 1000),
}
SMALL_CODE = """
import torch
from torch import nn
class Core(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.qkv = nn.Linear(w, 3 * w)
        self.out = nn.Linear(w, w)
class Two(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.up = nn.Linear(w, 4 * w)
        self.down = nn.Linear(4 * w, w)
class Unit(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.norm = nn.LayerNorm(w)
        self.attn = Core(w)
        self.mlp = Two(w)
class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Linear(588, 32)
        self.blocks = nn.ModuleList([Unit(32) for _ in range(3)])
class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(1000, 64)
        self.blocks = nn.ModuleList([Unit(64) for _ in range(4)])
        self.norm = nn.LayerNorm(64)
class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.projection = nn.Linear(32, 64)
        self.latents = nn.Parameter(torch.zeros(8, 32))
        self.blocks = nn.ModuleList([Unit(32) for _ in range(2)])
        self.norm = nn.LayerNorm(32)
class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.vision_tower = Tower()
        self.projector = nn.Linear(32, 64)
        self.text = Text()
        self.lm_head = nn.Linear(64, 1000)
"""


def small(code, modules=SMALL):
    shapes = flat(modules)
    return tree_of(SMALL_CONFIG, shapes), tree_of(SMALL_CONFIG, shapes, {"modeling.py": code})


def test_class_names_that_would_hide_a_tower_are_left_out():
    without, tree = small(SMALL_CODE)
    assert {path: role for path, (role, _) in roles_of(tree).items()} == {
        path: role for path, (role, _) in roles_of(without).items()
    }
    assert tree.find("vision_tower").inferred
    assert (
        tree.unknowns.classes["vision_tower"] == "the class in the code contradicts the purpose that its tensors show"
    )
    assert tree.root.class_name == "Model"


def test_class_names_that_hide_no_part_are_used():
    _, tree = small(SMALL_CODE.replace("Core", "Attention").replace("Unit", "Block"))
    assert tree.find("vision_tower").class_name == "Tower"
    assert tree.find("text.blocks.3.attn").class_name == "Attention"
    assert set(tree.unknowns.classes) == {""}


def test_order_that_would_hide_a_resampler_is_that_of_the_headers():
    reader = {
        "latents": (8, 32),
        "blocks": stack(2, block(32)),
        "norm": norm(32),
        "projection": linear(32, 64),
    }
    code = SMALL_CODE.replace("Core", "Attention").replace("Unit", "Block")
    code = code.replace("self.projector = nn.Linear(32, 64)", "self.image_reader = Reader()")
    modules = {name: held for name, held in SMALL.items() if name != "projector"} | {"image_reader": reader}
    without, tree = small(code, modules)
    assert not lost_parameters(without, tree)
    assert tree.find("image_reader").class_name == "Reader"


@pytest.mark.parametrize(
    "loop",
    [
        "for i in range(int(torch.load('depth'))): self.blocks.append(Block(64))",
        "for i in range(config.unknown): self.blocks.append(Block(64))",
        "for i, rate in enumerate(torch.load('rates')): self.blocks.append(Block(64))",
        "while len(self.blocks) < torch.load('depth'): self.blocks.append(Block(64))",
        "self.blocks.extend([Block(64) for _ in range(torch.load('depth'))])",
    ],
)
def test_layers_of_unknown_number_are_one_kind(loop):
    code = SMALL_CODE.replace("Core", "Attention").replace("Unit", "Block")
    made = "self.blocks = nn.ModuleList([Block(64) for _ in range(4)])"
    assert made in code
    code = code.replace(made, f"self.blocks = nn.ModuleList()\n        {loop}")
    record = described(SMALL_CONFIG, flat(SMALL), {"modeling.py": code})
    (text,) = record.by_role(Role.LANGUAGE_MODEL)
    assert (text.layer_count, [layer.class_name for layer in text.layers]) == (4, ["Block"])


@pytest.mark.parametrize(
    "container", ["nn.ModuleDict(modules)", "nn.Sequential(OrderedDict(modules))", "filled(modules)"]
)
def test_functions_that_return_containers_lose_no_part(container):
    code = (
        "import torch\nfrom torch import nn\nfrom collections import OrderedDict\n"
        "def filled(modules):\n    made = nn.Module()\n"
        "    for name, each in modules.items(): made.add_module(name, each)\n    return made\n"
        f"def container(modules): return {container}\n"
        "def block(w):\n    return container({'norm': nn.LayerNorm(w),\n"
        "        'attn': container({'qkv': nn.Linear(w, 3 * w), 'out': nn.Linear(w, w)}),\n"
        "        'mlp': container({'up': nn.Linear(w, 4 * w), 'down': nn.Linear(4 * w, w)})})\n"
        "def stack(count, w): return nn.ModuleList([block(w) for _ in range(count)])\n"
        "class Model(nn.Module):\n    def __init__(self, config):\n        super().__init__()\n"
        "        self.vision_tower = container({'patch': nn.Linear(588, 32), 'blocks': stack(3, 32)})\n"
        "        self.projector = nn.Linear(32, 64)\n"
        "        self.text = container({'embed_tokens': nn.Embedding(1000, 64), 'blocks': stack(4, 64),\n"
        "            'norm': nn.LayerNorm(64)})\n"
        "        self.lm_head = nn.Linear(64, 1000)\n"
    )
    without, tree = small(code)
    assert not lost_parameters(without, tree)
    record = described(SMALL_CONFIG, flat(SMALL), {"modeling.py": code})
    assert {part.role.value: (part.paths, part.layer_count) for part in record.components} == {
        "vision_encoder": (("vision_tower",), 3),
        "projector": (("projector",), None),
        "language_model": (("text",), 4),
        "lm_head": (("lm_head",), None),
    }
