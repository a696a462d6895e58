"""Class names from source that is read and never run."""

import ast
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from tests.builders import phi3_v
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.builders.source import machine
from vlm_inspect.builders.source.read import read
from vlm_inspect.builders.source.values import Instance, Unknown
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders, TensorInfo
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.cells import Row, plain_text
from vlm_inspect.render.table import build_table

IDENTITY = ModelIdentity("microsoft/Phi-3-vision-128k-instruct")
SHARED = Path(__file__).parents[3] / "shared" / "hub"


def header_tree(code, config=phi3_v.CONFIG, headers=phi3_v.HEADERS):
    return build_header_tree(Checkpoint(IDENTITY, config), headers, code)


@pytest.fixture(scope="module")
def tree():
    return header_tree(phi3_v.CODE)


def test_row_of_phi_3_vision_is_complete(tree):
    record = describe(tree, IDENTITY, "header")
    row = build_table("architectures", [Row("Phi-3-vision", architecture=record)]).rows[0]
    assert [plain_text(cell) for cell in row] == [
        "Phi-3-vision",
        "Phi3VForCausalLM",
        "CLIPVisionModel",
        "24 layers",
        "Conv2d(3, 1024) + Embedding(577)",
        "CLIPAttention",
        "CLIPMLP (1024 -> 4096 -> 1024)",
        "LayerNorm((1024,), eps=1e-05)",
        "Linear(4096 -> 3072) + GELU + Linear",
        "Phi3VModel",
        "32 layers",
        "Phi3FlashAttention2",
        "Phi3MLP (3072 -> 8192 -> 3072)",
        "Phi3RMSNorm",
        "Linear(3072 -> 32064)",
    ]
    assert record.parameters.total == 4_146_621_440
    assert record.attention_backends == ("flash_attention",)
    # the 2024 wrapper inside the tower, which the installed class no longer has
    assert not record.unknown
    assert record.unnamed_modules


def test_phi_3_vision_has_the_tensors_of_the_published_index():
    index = SHARED / "microsoft__Phi-3-vision-128k-instruct" / "model.safetensors.index.json"
    assert phi3_v.HEADERS.total_bytes == 8_293_242_880
    if index.exists():
        published = json.loads(index.read_text())
        assert set(published["weight_map"]) == set(phi3_v.SHAPES)
        assert published["metadata"]["total_size"] == phi3_v.HEADERS.total_bytes


def test_heads_and_eps_are_read_from_the_source(tree):
    vision = tree.find("model.vision_embed_tokens.img_processor.vision_model.encoder.layers.0.self_attn")
    language = tree.find("model.layers.0.self_attn")
    norm = tree.find("model.norm")
    assert [vision.attribute("num_heads"), language.attribute("num_heads")] == [16, 32]
    assert norm.attribute("variance_epsilon") == 1e-05


def test_module_that_the_installed_class_no_longer_has_is_unknown(tree):
    wrapper = tree.find("model.vision_embed_tokens.img_processor.vision_model")
    assert wrapper.inferred
    assert wrapper.child("encoder").class_name == "CLIPEncoder"


def test_equal_layers_are_one_node(tree):
    layers = tree.find("model.layers").children
    assert len(layers) == 32
    assert len({id(node) for _, node in layers}) == 1


@pytest.mark.parametrize(
    ("selected", "expected"),
    [("eager", "Phi3Attention"), ("sdpa", "Phi3SdpaAttention"), ("flash_attention_2", "Phi3FlashAttention2")],
)
def test_configuration_selects_the_attention_class(selected, expected):
    tree = header_tree(phi3_v.CODE, {**phi3_v.CONFIG, "_attn_implementation": selected})
    assert tree.find("model.layers.31.self_attn").class_name == expected


def test_attention_class_that_is_not_selected_is_unknown_with_its_options():
    config = {key: value for key, value in phi3_v.CONFIG.items() if key != "_attn_implementation"}
    tree = header_tree(phi3_v.CODE, config)
    record = describe(tree, IDENTITY, "header")
    attention = record.by_role(Role.LANGUAGE_MODEL)[0].layers[0].attention
    assert attention.class_name is None
    expected = "chosen when it runs: Phi3Attention or Phi3FlashAttention2 or Phi3SdpaAttention"
    assert attention.unknown["class_name"] == expected
    assert tree.find("model.layers.0.mlp").class_name == "Phi3MLP"


def test_without_source_only_shapes_prove_classes():
    record = describe(header_tree(None), IDENTITY, "header")
    assert record.model_class == "Phi3VForCausalLM"  # the configuration states it
    assert record.parameters.total == 4_146_621_440
    assert [part.class_name for part in record.components] == ["Linear", None, None, None]
    assert [part.layer_count for part in record.components] == [None, 32, 24, None]


# --- nothing runs ------------------------------------------------------------------------------------


def test_source_is_not_run_or_imported(tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    monkeypatch.setenv("CANARY", str(canary))
    before = set(sys.modules)
    header_tree(phi3_v.CODE)
    assert not canary.exists()
    assert not any("phi3_v" in name for name in set(sys.modules) - before)


def test_source_would_write_a_file_if_it_was_run(tmp_path, monkeypatch):
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    lines = [line for line in phi3_v.CODE["modeling_phi3_v.py"].splitlines() if "CANARY" in line]
    subprocess.run([sys.executable, "-c", "import os, pathlib\n" + "\n".join(lines)], check=True)
    assert (tmp_path / "canary").read_text() == "imported"


def test_neither_torch_nor_transformers_is_imported():
    script = (
        "import sys\n"
        "from tests.builders import phi3_v\n"
        "from vlm_inspect.builders.order import build_header_tree\n"
        "from vlm_inspect.core.checkpoint import Checkpoint\n"
        "from vlm_inspect.core.model_ref import ModelIdentity\n"
        "build_header_tree(Checkpoint(ModelIdentity('a/b'), phi3_v.CONFIG), phi3_v.HEADERS, phi3_v.CODE)\n"
        "print(sorted({'torch', 'transformers', 'accelerate'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


# --- what the source does not prove -------------------------------------------------------------------

LAYER_NORM = "self.input_layernorm = Phi3RMSNorm"
UNPROVEN = {
    "a class that is defined in two ways": (
        r"class Phi3MLP\(nn\.Module\)",
        (
            "try:\n    from fused import Phi3MLP\nexcept ImportError:\n    pass\n\n\n"
            "if logger:\n  class Phi3MLP(nn.Module): pass\n\n\nclass Other(nn.Module)"
        ),
    ),
    "a class of a package that is not read": (
        r"self\.mlp = Phi3MLP\(config\)",
        "import fused; self.mlp = fused.MLP(config)",
    ),
    "a class that a decorator of its own may replace": (
        r"class Phi3MLP\(",
        "def swap(kind): return nn.Linear\n\n\n@swap\nclass Phi3MLP(",
    ),
    "a class that is changed afterwards": (r"\Z", "\nPhi3MLP.__init__ = lambda self, config: None\n"),
    "a class with a metaclass": (r"class Phi3MLP\(nn\.Module\)", "class Phi3MLP(nn.Module, metaclass=Meta)"),
    "a condition that nothing tells": (
        r"self\.mlp = Phi3MLP\(config\)",
        "self.mlp = Phi3MLP(config) if torch.cuda.is_available() else Other(config)",
    ),
    "a module that is replaced afterwards": (
        r"(?m)^        self\.norm = .*$",
        ("        for layer in self.layers:\n            layer.mlp = make(layer)\n        self.norm = make(config)"),
    ),
    "a loop without a known end": (
        r"self\.mlp = Phi3MLP\(config\)",
        "while next(config): self.mlp = next(self)(config)",
    ),
    "a name from a text": (r"self\.mlp = Phi3MLP\(config\)", "self.mlp = eval('Phi3MLP')(config)"),
    "a table that is changed": (
        r"self\.mlp = Phi3MLP\(config\)",
        (
            "self.mlp = MLPS['a'](config)\nMLPS = {'a': Phi3MLP}\n"
            "MLPS['a'] = Phi3RMSNorm\nclass Rest:\n    def __init__(self, config):\n"
            "        pass"
        ),
    ),
}


@pytest.mark.parametrize(("pattern", "replacement"), UNPROVEN.values(), ids=UNPROVEN)
def test_class_that_the_source_does_not_prove_is_unknown_with_a_reason(pattern, replacement):
    tree = header_tree(phi3_v.changed(pattern, replacement))
    record = describe(tree, IDENTITY, "header")
    mlp = record.by_role(Role.LANGUAGE_MODEL)[0].layers[0].mlp
    assert (mlp.class_name, bool(mlp.unknown["class_name"])) == (None, True)
    assert (mlp.input_width, mlp.hidden_width, mlp.output_width) == (3072, 8192, 3072)
    assert record.parameters.total == 4_146_621_440


def test_source_of_another_model_names_no_class():
    code = {
        "modeling_phi3_v.py": (
            "from torch import nn\nclass Phi3VForCausalLM(nn.Module):\n"
            " def __init__(self, c):\n  self.model = nn.Linear(3, 4)\n"
        )
    }
    tree = header_tree(code)
    assert tree.find("model").inferred
    assert tree.unknowns.classes["model"] == "its tensors are not those of the class in the code"


def test_class_of_other_sizes_is_not_used():
    tree = header_tree(
        phi3_v.changed(r"self\.lm_head = nn\.Linear\(config\.hidden_size", "self.lm_head = nn.Linear(7")
    )
    assert tree.find("lm_head").inferred is False  # its shape says that it is a Linear
    assert tree.unknowns.classes["lm_head"] == "its tensors are not those of the class in the code"


@pytest.mark.parametrize(
    "reference",
    [
        "other/repo--modeling.Model",
        "..evil.Model",
        "/etc/passwd.Model",
        "a/../b.Model",
        "x" * 10_000,
        "",
        ".",
    ],
)
def test_reference_outside_the_repository_is_not_read(reference):
    config = {**phi3_v.CONFIG, "auto_map": {"AutoModelForCausalLM": reference}}
    assert isinstance(read(config, phi3_v.CODE).model, Unknown)


@pytest.mark.parametrize("module", ["....transformers.models.clip.modeling_clip", "..x", ".x.....y"])
def test_import_outside_the_repository_is_not_read(module):
    code = {"modeling_phi3_v.py": f"from {module} import Phi3VForCausalLM\n"}
    assert isinstance(read(phi3_v.CONFIG, code).model, Unknown)


# --- malicious source ---------------------------------------------------------------------------------

BAD_TEXT = {
    "nothing": "",
    "a NUL": "class A:\0 pass",
    "no Python": "class A(:",
    "brackets without end": "(" * 100_000,
    "a tower of brackets": "x = " + "[" * 5_000 + "]" * 5_000,
    "a long chain of names": "x = a" + ".b" * 100_000,
    "a long sum": "x = 1" + " + 1" * 20_000,
    "a tower of calls": "x = " + "f(" * 150 + ")" * 150,
    "too long": "#" * (2 * 1024 * 1024 + 1),
    "a lone surrogate": "x = '\ud800'",
    "an escape that is none": "x = '\\d'\nclass A: pass",
}


@pytest.mark.parametrize("text", BAD_TEXT.values(), ids=BAD_TEXT)
def test_text_that_is_no_model_gives_no_class(text):
    reading = read(phi3_v.CONFIG, {"modeling_phi3_v.py": text})
    assert isinstance(reading.model, Unknown)
    assert reading.model.reason


MALICIOUS = {
    "a loop without end": "while True: pass",
    "a loop over very much": "for i in range(10**18): x = i",
    "loops in loops": "for a in range(4000):\n   for b in range(4000):\n    for c in range(4000): x = a",
    "a function that calls itself": "f(self)",
    "two that call each other": "g(self)",
    "a class that holds itself": "self.model = Phi3VForCausalLM(config)",
    "a list that doubles": "x = [0]\n  for i in range(4000): x = x + x",
    "a list times very much": "x = [0] * 10**18",
    "a text times very much": "x = 'a' * 10**18",
    "a power": "x = 9**9**9**9",
    "a number that grows": "x = 2\n  for i in range(4000): x = x * x",
    "a table that grows": "x = {}\n  for i in range(4000): x = {**x, i: x}",
    "a list that grows by copies": "x = []\n  for i in range(4000):\n   for j in range(4000): x = x + [0]",
    "a list that is appended to": "x = []\n  for i in range(4000):\n   for j in range(4000): x.append(x)",
    "a list that extends itself": "x = [0]\n  for i in range(4000):\n   for j in range(4000): x.extend([0])",
    "a text that grows": (
        "x = ''\n  for i in range(4000):\n   for j in range(4000): x = x + 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'"
    ),
    "copies of a configuration": (
        "import copy\n  x = [config]\n  for i in range(4000): x = [copy.deepcopy(x), copy.deepcopy(x)]"
    ),
    "a module that is its own part": "super().__init__()\n  self.model = self",
    "a maze of modules": (
        "super().__init__()\n  m = nn.GELU()\n  for i in range(60): m = nn.Sequential(m, m)\n  self.x = m"
    ),
    "two mazes": (
        "super().__init__()\n  if a:\n   m = [0] * 100\n"
        "   for i in range(20): m = [m] * 100\n  else:\n   m = [0] * 100\n"
        "   for i in range(20): m = [m] * 100"
    ),
    "classes that are nowhere": "from transformers import "
    + ", ".join(f"A{n}" for n in range(100))
    + "\n  ["
    + ", ".join(f"A{n}" for n in range(100))
    + "]",
    "ways without number": "\n  ".join(f"if a{i}: x = {i}\n  else: y = {i}" for i in range(300)),
    "forks in forks": "".join(" " * i + f"  if a{i}:\n" for i in range(60)).lstrip() + " " * 62 + "x = 1",
    "loops of unknown length in loops": "".join(" " * i + f"  while a{i}:\n" for i in range(60)).lstrip()
    + " " * 62
    + "x = 1",
    "a loop that never ends, in others": "while True:\n   while True:\n    while True: x = 1",
    "a loop that may end": "while True:\n   if a: break",
    "a width": "x = f'{1:999999999}' + '%999999999d' % 1 + '{:999999999}'.format(1)",
    "a name that grows": "x = str(a)\n  for i in range(4000):\n   for j in range(4000): x = x + 'aaaaaaaa' + x",
    "names without number": (
        "x = nn.Module()\n  for i in range(4000):\n   for j in range(4000): setattr(x, f'{i}{a}{j}', nn.GELU())"
    ),
    "a list of unknown length that grows": (
        "x = nn.ModuleList()\n  for i in a:\n   x.append(nn.Linear(i, i))\n"
        "  for i in range(4000):\n   for j in range(4000): x.extend(x)"
    ),
    "a part of a list that grows": "x = [0] * 90000\n  for i in range(4000):\n   for j in range(4000): x = x[1:]",
    "a map of maps": "x = [0]\n  for i in range(4000): x = map(lambda y: map(f, x), x)",
    "a comprehension of comprehensions": (
        "x = [[[[0 for a in range(4000)] for b in range(4000)] for c in range(4000)] for d in range(4000)]"
    ),
}
HEAD_OF_A_MODEL = "class Phi3VForCausalLM(nn.Module):\n def __init__(self, config):\n"
HELPERS = "def f(x): return f(x)\ndef g(x): return h(x)\ndef h(x): return g(x)\n"


def malicious(body):
    code = f"from torch import nn\n{HELPERS}{HEAD_OF_A_MODEL}  {body}\n"
    ast.parse(code)
    return {"modeling_phi3_v.py": code}


@pytest.fixture
def fewer_steps(monkeypatch):
    """A fifth of the steps: what needs all of them takes a fifth of the time, and a fifth of the memory."""
    monkeypatch.setattr(machine, "MOST_STEPS", machine.MOST_STEPS // 5)


@pytest.mark.slow
@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize("body", MALICIOUS.values(), ids=MALICIOUS)
def test_endless_source_ends(body):
    assert header_tree(malicious(body)).total == 4_146_621_440


@pytest.mark.slow
@pytest.mark.usefixtures("fewer_steps")
@pytest.mark.parametrize(
    "body",
    [body for name, body in MALICIOUS.items() if "grows" in name or "list" in name or "copies" in name],
)
def test_memory_is_limited(body):
    tracemalloc.start()
    read(phi3_v.CONFIG, malicious(body))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60 * 2**20


def test_circular_bases_end():
    code = "from .b import B\nclass Phi3VForCausalLM(B): pass\n"
    other = "from .modeling_phi3_v import Phi3VForCausalLM\nclass B(Phi3VForCausalLM): pass\n"
    reading = read(phi3_v.CONFIG, {"modeling_phi3_v.py": code, "b.py": other})
    assert isinstance(reading.model, (Instance, Unknown))


def test_number_of_files_is_limited():
    code = {f"m{n}.py": f"from .m{n + 1} import Model\n" for n in range(1000)}
    config = {"auto_map": {"AutoModel": "m0.Model"}}
    assert isinstance(read(config, code).model, Unknown)


# --- ways to construct layers -------------------------------------------------------------------------


def names_of(body, tensors, config=None, head="", extra=None):
    """Class names by path of a model with this constructor, and its tree."""
    code = (
        "import torch\nfrom torch import nn\nfrom functools import partial\n"
        "from transformers import AutoModel\n"
        f"{head}\nclass Model(nn.Module):\n    def __init__(self, config):\n        super().__init__()\n"
        + "".join(f"        {line}\n" for line in body.splitlines())
    )
    config = {"auto_map": {"AutoModel": "modeling.Model"}, **(config or {})}
    headers = TensorHeaders(tuple(TensorInfo(name, "F32", shape, 4) for name, shape in tensors.items()))
    tree = build_header_tree(Checkpoint(IDENTITY, config), headers, {"modeling.py": code, **(extra or {})})
    return {path: node.class_name for path, node in tree.root.walk() if not node.inferred}, tree


LINEAR = {"weight": (4, 4), "bias": (4,)}
BLOCK = (
    "class Block(nn.Module):\n    def __init__(self, *a, **k):\n"
    "        super().__init__()\n        self.fc = nn.Linear(4, 4)\n"
)


def blocks(count, name="blocks"):
    return {f"{name}.{n}.fc.{part}": shape for n in range(count) for part, shape in LINEAR.items()}


WAYS = {
    "a list that is filled": ("self.blocks = nn.ModuleList()\nfor i in range(3):\n    self.blocks.append(Block(i))"),
    "a list that was filled before": (
        "layers = []\nfor i in range(config.depth):\n    layers += [Block()]\nself.blocks = nn.Sequential(*layers)"
    ),
    "a list of unknown length": "self.blocks = nn.ModuleList([Block() for _ in range(torch.load('n'))])",
    "a table of names": "self.blocks = nn.ModuleDict({str(i): Block() for i in range(3)})",
    "a partial": "make = partial(Block, 1)\nself.blocks = nn.ModuleList([make() for _ in range(3)])",
    "a function": "self.blocks = build(config)",
    "names that are computed": (
        "self.blocks = nn.Module()\nfor i in range(3):\n    self.blocks.add_module(f'{i}', Block())"
    ),
    "setattr": "setattr(self, 'blo' + 'cks', nn.ModuleList([Block()] * 3))",
    "a table of classes": "self.blocks = nn.ModuleList([KINDS[config.kind]() for i in range(3)])",
    "a condition that is told": (
        "if config.kind == 'other':\n    self.blocks = None\n"
        "elif hasattr(config, 'depth'):\n"
        "    self.blocks = nn.ModuleList([Block() for i in range(3)])"
    ),
    "a branch that only one way takes": (
        "if torch.cuda.is_available():\n    self.blocks = nn.ModuleList([Block() for i in range(3)])"
    ),
    "a list that is filled in a loop of unknown length": (
        "self.blocks = nn.ModuleList()\nfor i in range(torch.load('n')):\n    self.blocks.append(Block(i))"
    ),
    "an attempt": (
        "try:\n    self.blocks = nn.ModuleList([Block() for i in range(3)])\n"
        "except ImportError:\n    raise ValueError('no')"
    ),
}
HEAD = BLOCK + (
    "KINDS = dict(block=Block, other=nn.Linear)\ndef build(config):\n"
    "    if not config.depth:\n        raise ValueError\n"
    "    return nn.Sequential(*[Block() for _ in range(config.depth)])\n"
)


@pytest.mark.parametrize("body", WAYS.values(), ids=WAYS)
def test_layers_are_named_in_all_ways_to_construct_them(body):
    named, tree = names_of(body, blocks(3), {"kind": "block", "depth": 3}, HEAD)
    assert [named.get(f"blocks.{n}") for n in range(3)] == ["Block"] * 3
    assert tree.total == 60


def test_class_in_another_file_with_a_base_is_found():
    extra = {
        "parts/blocks.py": "from torch import nn\nfrom ..base import Base\nclass Block(Base):\n    pass\n",
        "base.py": (
            "from torch import nn\nclass Base(nn.Module):\n    def __init__(self):\n"
            "        super().__init__()\n        self.fc = nn.Linear(4, 4)\n"
        ),
    }
    head = "from .parts.blocks import Block\n"
    named, _ = names_of("self.blocks = nn.ModuleList([Block()])", blocks(1), head=head, extra=extra)
    assert (named["blocks.0"], named["blocks.0.fc"]) == ("Block", "Linear")


BASES = (
    "class Base(nn.Module):\n    def __init__(self, width):\n        super(Base, self).__init__()\n"
    "        self.fc = nn.Linear(width, width)\n"
    "class Parent(Base):\n    def __init__(self):\n        super(Parent, self).__init__(3)\n"
    "        self.gone = nn.Linear(7, 7)\n"
)


@pytest.mark.parametrize(("base", "behind"), [("Base", "Block"), ("Parent", "Parent")])
def test_super_with_arguments_starts_at_its_class(base, behind):
    """`super(Parent, self)` in a class below Parent leaves Parent's own constructor out."""
    head = f"{BASES}class Block({base}):\n    def __init__(self):\n        super({behind}, self).__init__(4)\n"
    named, tree = names_of("self.blocks = nn.ModuleList([Block()])", blocks(1), head=head)
    assert (named["blocks.0"], named["blocks.0.fc"]) == ("Block", "Linear")
    assert set(tree.unknowns.classes) == {""}  # what holds for paths that are not listed


CONTAINERS = {
    "ModuleDict": "nn.ModuleDict(modules)",
    "Sequential": "nn.Sequential(OrderedDict(modules))",
    "Module": "filled(nn.Module(), modules)",
}


@pytest.mark.parametrize(("name", "made"), CONTAINERS.items(), ids=CONTAINERS)
def test_layers_in_plain_containers_stay_layers(name, made):
    """As in Moondream: their tensors are more specific than the class name ModuleDict."""

    def block(path, width):
        sizes = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        sizes |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
        norms = {f"{path}.{norm}.{part}": (width,) for norm in ("ln1", "ln2") for part in ("weight", "bias")}
        return {**norms, **{f"{path}.{name}.weight": shape for name, shape in sizes.items()}}

    tensors = {
        "vision.patch.weight": (32, 588),
        "projector.weight": (64, 32),
        "text.embed_tokens.weight": (1000, 64),
        "lm_head.weight": (1000, 64),
    }
    for path, width, count in (("vision.blocks", 32, 3), ("text.blocks", 64, 4)):
        for n in range(count):
            tensors |= block(f"{path}.{n}", width)
    head = (
        "def linear(a, b):\n    return nn.Linear(a, b, bias=False)\n"
        "from collections import OrderedDict\n"
        "def filled(module, modules):\n    for key, value in modules.items():\n"
        "        module.add_module(key, value)\n    return module\n"
        f"def container(modules):\n    return {made}\n"
        "def attention(w):\n    return container({'qkv': linear(w, 3 * w), 'proj': linear(w, w)})\n"
        "def mlp(w):\n    return container({'fc1': linear(w, 4 * w), 'fc2': linear(4 * w, w)})\n"
        "def block(w):\n    return container({'ln1': nn.LayerNorm(w), 'attn': attention(w),\n"
        "        'ln2': nn.LayerNorm(w), 'mlp': mlp(w)})\n"
        "def stack(count, w):\n    return nn.ModuleList([block(w) for _ in range(count)])\n"
    )
    body = (
        "self.vision = nn.ModuleDict({'patch': linear(588, 32), 'blocks': stack(3, 32)})\n"
        "self.projector = linear(32, 64)\n"
        "self.text = nn.ModuleDict({'embed_tokens': nn.Embedding(1000, 64), 'blocks': stack(4, 64)})\n"
        "self.lm_head = linear(64, 1000)"
    )
    config = {"vocab_size": 1000, "hidden_size": 64, "num_attention_heads": 4}
    _, tree = names_of(body, tensors, config, head)
    record = describe(tree, IDENTITY, "header")
    parts = {part.role: (part.paths, part.layer_count) for part in record.components}
    assert parts == {
        Role.VISION_ENCODER: (("vision",), 3),
        Role.PROJECTOR: (("projector",), None),
        Role.LANGUAGE_MODEL: (("text",), 4),
        Role.LM_HEAD: (("lm_head",), None),
    }
    assert name in tree.unknowns.classes["text.blocks.0.attn"]


def test_auto_class_is_resolved_by_model_type():
    tensors = {
        "tower.embeddings.patch_embedding.weight": (64, 3, 8, 8),
        **{f"tower.encoder.layers.{n}.mlp.fc1.{part}": shape for n in range(2) for part, shape in LINEAR.items()},
    }
    part = {"model_type": "siglip_vision_model", "hidden_size": 64, "num_hidden_layers": 2, "patch_size": 8}
    named, _ = names_of("self.tower = AutoModel.from_config(config.vision_config)", tensors, {"vision_config": part})
    assert named["tower"] == "SiglipVisionModel"
    assert named["tower.encoder.layers.1"] == "SiglipEncoderLayer"


def test_configuration_selects_the_norm():
    """As in InternVL's tower, whose other norm may come from a package."""
    head = (
        "class OwnNorm(nn.Module):\n    def __init__(self, width, eps=1e-6):\n        super().__init__()\n"
        "        self.weight = nn.Parameter(torch.ones(width))\n"
        "try:\n    from apex.normalization import FusedRMSNorm\n    OwnNorm = FusedRMSNorm\n"
        "except ImportError:\n    pass\n"
        "NORMS = {'rms_norm': OwnNorm, 'layer_norm': nn.LayerNorm}\n"
    )
    body = "self.norm = NORMS[config.norm_type](4, eps=1e-6)"
    by_layer, _ = names_of(body, {"norm.weight": (4,), "norm.bias": (4,)}, {"norm_type": "layer_norm"}, head)
    by_own, tree = names_of(body, {"norm.weight": (4,)}, {"norm_type": "rms_norm"}, head)
    assert by_layer["norm"] == "LayerNorm"
    assert "norm" not in by_own
    assert tree.unknowns.classes["norm"]
