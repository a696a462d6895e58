"""Ways in which published code makes its modules. Each is run by torch, and read as text."""

# ruff: noqa: E501 - code in strings

HEAD = """
import copy, json, math, os
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

UNKNOWN = int(os.environ.get("A_VARIABLE_THAT_IS_NOT_SET", "6"))  # 6 when it runs, undecided in the text


class Block(nn.Module):
    def __init__(self, *args, **kwargs):
        super().__init__()
        self.fc = nn.Linear(4, 4)


class Twin(Block):
    pass


class Other(nn.Module):
    def __init__(self, index=0):
        super().__init__()
        self.index = index
        self.gate = nn.Linear(4, 8)


class Holder(nn.Module):
    def __init__(self, kind=Block, width=4):
        super().__init__()
        self.inner = kind()


class Config(PretrainedConfig):
    model_type = "example"

    def __init__(self, depth=6, kind="block", **kwargs):
        self.depth = depth
        self.kind = kind
        super().__init__(**kwargs)

    @property
    def shown(self):
        return self.kind + "!"


KINDS = {"block": Block, "other": Other, "twin": Twin, "block!": Other}
"""

# --- lists of unknown length: the class of each layer, whatever their number --------------------------

LISTS = {
    "append": "self.b = nn.ModuleList()\nfor i in range(UNKNOWN): self.b.append(Other(i))",
    "append to a list, then ModuleList": "b = []\nfor i in range(UNKNOWN): b.append(Block(i))\nself.b = nn.ModuleList(b)",
    "append to a list, then Sequential": "b = []\nfor i in range(UNKNOWN): b.append(Other(i))\nself.b = nn.Sequential(*b)",
    "add to a list": "b = []\nfor i in range(UNKNOWN): b += [Block(i)]\nself.b = nn.Sequential(*b)",
    "make a longer list": "b = []\nfor i in range(UNKNOWN): b = b + [Block(i)]\nself.b = nn.Sequential(*b)",
    "comprehension": "self.b = nn.ModuleList([Block(i) for i in range(UNKNOWN)])",
    "generator": "self.b = nn.ModuleList(Block(i) for i in range(UNKNOWN))",
    "Sequential of a comprehension": "self.b = nn.Sequential(*[Block(i) for i in range(UNKNOWN)])",
    "Sequential of a generator": "self.b = nn.Sequential(*(Block(i) for i in range(UNKNOWN)))",
    "enumerate": "self.b = nn.ModuleList([Other(n) for n, rate in enumerate([0.1] * UNKNOWN)])",
    "zip": "self.b = nn.ModuleList([Block(a) for a, b in zip([1] * UNKNOWN, [2] * UNKNOWN)])",
    "map": "self.b = nn.ModuleList(map(Block, range(UNKNOWN)))",
    "filter": "self.b = nn.Sequential(*filter(None, [Block(), None, Other()]))",
    "while": "self.b = nn.ModuleList()\ni = 0\nwhile i < UNKNOWN:\n    self.b.append(Other(i))\n    i += 1",
    "while, known": "self.b = nn.ModuleList()\ni = 0\nwhile i < config.depth:\n    self.b.append(Other(i))\n    i += 1",
    "while it is short": "b = []\nwhile len(b) < UNKNOWN: b.append(Block())\nself.b = nn.Sequential(*b)",
    "while True": "self.b = nn.ModuleList()\nwhile True:\n    if len(self.b) >= UNKNOWN: break\n    self.b.append(Block())",
    "break": "self.b = nn.ModuleList()\nfor i in range(10):\n    if i == UNKNOWN: break\n    self.b.append(Block())",
    "continue": "self.b = nn.ModuleList()\nfor i in range(10):\n    if i >= UNKNOWN: continue\n    self.b.append(Block())",
    "else": "self.b = nn.ModuleList()\nfor i in range(UNKNOWN): self.b.append(Block())\nelse: self.head = Other()",
    "every fourth layer is of another class": (
        "self.b = nn.ModuleList()\nfor i in range(UNKNOWN):\n    if (i + 1) % 4 == 0: self.b.append(Other(i))\n"
        "    else: self.b.append(Block(i))"
    ),
    "every fourth layer, in a list": (
        "b = []\nfor i in range(UNKNOWN):\n    if (i + 1) % 4 == 0: b.append(Other(i))\n"
        "    else: b.append(Block(i))\nself.b = nn.Sequential(*b)"
    ),
    "every fourth layer, in an expression": (
        "self.b = nn.ModuleList([Other(i) if (i + 1) % 4 == 0 else Block(i) for i in range(UNKNOWN)])"
    ),
    "every fourth layer, known": (
        "self.b = nn.ModuleList()\nfor i in range(config.depth):\n"
        "    kind = Other if (i + 1) % 4 == 0 else Block\n    self.b.append(kind(i))"
    ),
    "append under a condition": "self.b = nn.ModuleList()\nfor i in range(6):\n    if i < UNKNOWN: self.b.append(Block(i))",
    "one more behind them": "self.b = nn.ModuleList()\nfor i in range(UNKNOWN): self.b.append(Block())\nself.b.append(Other())",
    "one more before them": "self.b = nn.ModuleList([Other()])\nfor i in range(UNKNOWN): self.b.append(Block())",
    "extend": "self.b = nn.ModuleList([Other()])\nself.b.extend(Block(i) for i in range(UNKNOWN))",
    "extend in place": "self.b = nn.ModuleList([Other()])\nself.b += [Block() for _ in range(UNKNOWN)]",
    "a list times a number": "self.b = nn.ModuleList([Block()] * UNKNOWN)",
    "two lists": "self.b = nn.ModuleList([Other()] + [Block() for _ in range(UNKNOWN)])",
    "a list in a list": "self.b = nn.ModuleList([Other(), *[Block() for _ in range(UNKNOWN)]])",
    "copies": "b = Block()\nself.b = nn.ModuleList([copy.deepcopy(b) for _ in range(UNKNOWN)])",
    "lists of lists": (
        "self.b = nn.ModuleList()\nfor s in range(UNKNOWN):\n    stage = nn.ModuleList()\n"
        "    for d in range(UNKNOWN): stage.append(Block())\n    self.b.append(stage)"
    ),
    "stages": (
        "self.b = nn.ModuleList()\nfor s in range(2):\n    stage = []\n"
        "    for d in range(UNKNOWN): stage.append(Block())\n    stage.append(Other())\n"
        "    self.b.append(nn.Sequential(*stage))"
    ),
    "a part of a list": "b = [Block() for _ in range(10)]\nself.b = nn.ModuleList(b[:UNKNOWN])",
    "insert": "self.b = nn.ModuleList([Block()])\nself.b.insert(0, Other())",
    "a projector of unknown depth": (
        "m = [nn.Linear(5, 4)]\nfor _ in range(1, UNKNOWN):\n    m.append(nn.GELU())\n    m.append(nn.Linear(4, 4))\n"
        "self.b = nn.Sequential(*m)"
    ),
}

# --- names that the code computes -------------------------------------------------------------------

NAMES = {
    "f-string": "for i in range(UNKNOWN): setattr(self, f'layer{i}', Block(i))",
    "f-string, known": "for i in range(config.depth): setattr(self, f'layer{i:02d}', Block(i))",
    "format": "for i in range(config.depth): setattr(self, 'layer{}'.format(i), Block(i))",
    "percent": "for i in range(UNKNOWN): self.add_module('layer%d' % i, Block(i))",
    "sum": "for i in range(UNKNOWN): setattr(self, 'layer' + str(i), Block(i))",
    "add_module of a number": "self.b = nn.Sequential()\nfor i in range(UNKNOWN): self.b.add_module(str(i), Block(i))",
    "add_module by keyword": "self.add_module(name='b', module=Block())",
    "key of a ModuleDict": "self.b = nn.ModuleDict()\nfor i in range(UNKNOWN): self.b[f'layer{i}'] = Block(i)",
    "ModuleDict of a comprehension": "self.b = nn.ModuleDict({f'layer{i}': Block(i) for i in range(UNKNOWN)})",
    "ModuleDict of pairs": "self.b = nn.ModuleDict([['a', Block()], ['b', Other()]])",
    "ModuleDict that is updated": "self.b = nn.ModuleDict()\nself.b.update({'a': Block(), 'b': Other()})",
    "_modules": "self._modules['b'] = Block()",
    "pairs": "for name, width in (('a', 4), ('b', 5)): setattr(self, name + '_proj', nn.Linear(width, width))",
    "OrderedDict": "self.b = nn.Sequential(OrderedDict([('fc', nn.Linear(4, 8)), ('act', nn.GELU()), ('b', Block())]))",
    "assigned OrderedDict": "d = OrderedDict()\nd['fc'] = nn.Linear(4, 8)\nd['b'] = Block()\nself.b = nn.Sequential(d)",
    "plain Module": "self.b = nn.Module()\nself.b.a = Block()\nself.b.b = nn.Module()\nself.b.b.c = Other()",
    "parameters": (
        "self.p = nn.Parameter(torch.zeros(3, 4))\nself.l = nn.ParameterList([nn.Parameter(torch.zeros(4))])\n"
        "self.d = nn.ParameterDict({'a': nn.Parameter(torch.zeros(4))})\n"
        "self.register_parameter('q', nn.Parameter(torch.zeros(4)))\nself.register_parameter('none', None)\n"
        "self.register_buffer('b', torch.zeros(4))\nself.block = Block()"
    ),
    "walrus": "self.a = (b := Block())\nself.c = b.fc",
    "two targets": "self.a = self.b = Block()\nself.c, self.d = Block(), Other()",
}

# --- configurations and factories --------------------------------------------------------------------

_DATACLASSES = """
TABLE = {}
TABLE["block"] = Block
TABLE.update(twin=Twin)
REGISTRY = {}
def register(name):
    def add(kind):
        REGISTRY[name] = kind
        return kind
    return add
@register("one")
class One(Block): pass
@register("two")
class Two(Block): pass
def logged(function):
    def inner(*args, **kwargs): return function(*args, **kwargs)
    return inner
@logged
def two_of(kind): return nn.ModuleList([kind() for _ in range(2)])
@dataclass(frozen=True)
class Text:
    kind: str = "other"
    depth: int = 3
@dataclass(frozen=True)
class Whole:
    text: Text = Text()
    vision: Text = Text()
    kinds: list = field(default_factory=lambda: ["block", "other"])
    @classmethod
    def from_dict(cls, data):
        return cls(text=Text(**data.get("text", {})), vision=Text(**data.get("vision", {})))
class Pair(NamedTuple):
    kind: str
    depth: int = 3
def make(kind, depth, **kwargs): return nn.ModuleList([KINDS[kind]() for _ in range(depth)])
def chosen(config):
    if config.kind == "block": return Twin()
    elif config.kind == "other": return Other()
    raise NotImplementedError
"""
FACTORIES = {
    "fields of a dataclass": "c = Whole.from_dict({'text': {'kind': 'twin'}})\nself.t = KINDS[c.text.kind]()\nself.v = KINDS[c.vision.kind]()",
    "defaults of a dataclass": "self.l = nn.ModuleList([KINDS[kind]() for kind in Whole().kinds])",
    "positional fields": "c = Text('twin', 2)\nself.l = nn.ModuleList([KINDS[c.kind]() for _ in range(c.depth)])",
    "named tuple": "c = Pair('twin')\nself.a = KINDS[c.kind]()",
    "getattr with a default": "self.a = KINDS[getattr(config, 'missing', 'twin')]()",
    "hasattr": "self.a = Twin() if hasattr(config, 'flag') else Block()",
    "get": "self.a = KINDS[config.part.get('kind', 'twin')]()",
    "property": "self.a = KINDS[config.shown]()",
    "keywords of a dict": "c = dict(kind='block', depth=3)\nc.update(kind='twin')\nself.a = make(**c)",
    "factory": "self.a = chosen(config)",
    "table that is filled": "self.a = TABLE['twin']()",
    "registry": "self.a = REGISTRY['two']()\nself.b = One()",
    "decorated function": "self.a = two_of(Twin)",
    "match": "match config.kind:\n    case 'twin' | 'other': self.a = Block()\n    case 'block': self.a = Twin()\n    case _: self.a = Other()",
    "getattr of a module": "self.a = getattr(nn, 'Linear')(4, 4)",
    "partial": "norm = partial(nn.LayerNorm, eps=1e-6)\nself.a = norm(4)",
    "in": "self.a = Twin() if 'kind' in config.part else Block()",
    "string methods": "self.a = Twin() if config.kind.endswith('ock') else Block()",
    "zip of sizes": "self.l = nn.ModuleList([nn.Linear(a, b) for a, b in zip(config.dims[:-1], config.dims[1:])])",
    "environment": "self.a = Block() if os.environ.get('A_VARIABLE_THAT_IS_NOT_SET') else Other()",
}
CONFIG = {"part": {}, "dims": [4, 5, 6], "flag": 1}

# --- constructors of bases ---------------------------------------------------------------------------

_BASES = """
class Base(nn.Module):
    def __init__(self, width):
        super(Base, self).__init__()
        self.fc = nn.Linear(width, width)
class Parent(Base):
    def __init__(self, width):
        super(Parent, self).__init__(width)
        self.up = nn.Linear(width, 2 * width)
class Left(Base):
    def __init__(self, width, **kwargs):
        super().__init__(width, **kwargs)
        self.left = nn.Linear(4, 5)
class Right(Base):
    def __init__(self, width, right=1):
        super().__init__(width)
        self.right = nn.Linear(4, right)
class Mixin:
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mixed = nn.Linear(4, 9)
class Builder:
    def build(self): self.built = Twin()
class MetaForCausalLM:
    def get_tower(self): return self.get_model().tower
"""
BASES = {
    "super()": ("Parent", "super().__init__(4)"),
    "super(Class, self)": ("Parent", "super(Child, self).__init__(4)"),
    "super(Parent, self), which skips a class": ("Parent", "super(Parent, self).__init__(4)"),
    "Parent.__init__(self)": ("Parent", "Parent.__init__(self, 4)"),
    "Parent.__init__(self), by keyword": ("Parent", "Parent.__init__(self, width=4)"),
    "Base.__init__(self), which skips a class": ("Parent", "Base.__init__(self, 4)"),
    "nn.Module.__init__(self)": ("nn.Module", "nn.Module.__init__(self)"),
    "cooperative": ("Left, Right", "super().__init__(4, right=7)"),
    "super(Left, self)": ("Left, Right", "super(Left, self).__init__(4, right=7)"),
    "mixin first": ("Mixin, Base", "super().__init__(4)"),
    "mixin last": ("Base, MetaForCausalLM", "super(Base, self).__init__()"),
    "a method of a base": ("Builder, Base", "super().__init__(4)\n        self.build()"),
    "Linear": ("nn.Linear", "super().__init__(4, 5)"),
    "Sequential": ("nn.Sequential", "super().__init__(nn.Linear(4, 5), nn.GELU(), Block())"),
    "Sequential of a list": ("nn.Sequential", "super(Child, self).__init__(*[Block() for _ in range(UNKNOWN)])"),
    "ModuleList": ("nn.ModuleList", "super().__init__([Block() for _ in range(UNKNOWN)])"),
    "ModuleList that is filled": (
        "nn.ModuleList",
        "super().__init__()\n        for i in range(UNKNOWN): self.append(Block())",
    ),
    "ModuleDict": ("nn.ModuleDict", "super().__init__({'a': Block(), 'b': Other()})"),
}

NAMED = {
    **{
        f"{group}: {name}": body for group, cases in (("list", LISTS), ("name", NAMES)) for name, body in cases.items()
    },
    **{f"factory: {name}": (_DATACLASSES, body) for name, body in FACTORIES.items()},
    **{
        f"base: {name}": (
            f"{_BASES}class Child({bases}):\n    def __init__(self):\n        {call}\n        self.own = Twin()\n",
            "self.child = Child()",
        )
        for name, (bases, call) in BASES.items()
    },
}
"""Code whose modules all have the names that torch gives them."""

# --- what the text does not decide -------------------------------------------------------------------

_CHANGES = """
def nothing_or_twin(): return dict([("kind", Twin)] * (UNKNOWN - 5))
def twins(): return [Twin] * (UNKNOWN - 5)
def append(modules, kind=Block): modules.append(kind())
def swap(module): module.a.inner = Twin()
KNOWN = {}
def know(kind):
    KNOWN[kind.__name__.lower()] = kind
    return kind
for kind in (Twin,): know(kind)
def marked(kind): return Twin
@marked
class Marked(Block): pass
"""
UNDECIDED = {
    "a class that changes in the loop": "kind = Block\nfor i in range(UNKNOWN):\n    self.a = kind()\n    kind = Twin",
    "one before it, or not": "self.b = nn.ModuleList()\nif UNKNOWN > 99: self.b.append(Block())\nself.b.append(Twin())",
    "one before it in a list, or not": "b = []\nif UNKNOWN > 99: b.append(Block())\nb.append(Twin())\nself.b = nn.Sequential(*b)",
    "one behind an unknown number": "b = []\nfor i in range(UNKNOWN): b.append(Block())\nb.append(Twin())\nself.b = nn.Sequential(*b)",
    "a class by the index": "self.b = nn.ModuleList([Twin() if i == 2 else Block() for i in range(UNKNOWN)])",
    "a class by the index, in a list": (
        "b = []\nfor i in range(UNKNOWN):\n    if i == 2: b.append(Twin())\n    else: b.append(Block())\n"
        "self.b = nn.ModuleList(b)"
    ),
    "unknown keywords": "self.a = Holder(**nothing_or_twin())",
    "unknown positions": "self.a = Holder(*twins())",
    "replaced in all of unknown number": "self.b = nn.ModuleList([Holder() for _ in range(UNKNOWN)])\nfor m in self.b: m.inner = Twin()",
    "replaced in all": "self.b = nn.ModuleList([Holder() for _ in range(3)])\nfor m in self.b: m.inner = Twin()",
    "replaced in the first": "self.b = nn.ModuleList([Holder() for _ in range(UNKNOWN)])\nself.b[0].inner = Twin()",
    "the first replaced": "self.b = nn.ModuleList([Block() for _ in range(UNKNOWN)])\nself.b[0] = Twin()",
    "the last replaced": "self.b = nn.ModuleList([Block() for _ in range(3)])\nself.b[-1] = Twin()",
    "one of them replaced": "self.b = nn.ModuleList([Block() for _ in range(3)])\nself.b[UNKNOWN - 5] = Twin()",
    "a name that may be another's": "self.l0 = Block()\nfor i in range(UNKNOWN): setattr(self, f'l{i}', Twin())",
    "the first of a loop": (
        "i = 0\nwhile i < UNKNOWN:\n    self.add_module(f'l{i}', Block() if i < 1 else Twin())\n    i += 1"
    ),
    "a loop that ends early": "kind = Block\nfor i in range(UNKNOWN):\n    if i == 1: kind = Twin; break\nself.a = kind()",
    "an unknown key": "d = {'a': Block}\nd[os.environ.get('A_VARIABLE_THAT_IS_NOT_SET', 'a')] = Twin\nself.a = d['a']()",
    "inserted into a list": "b = [Block()]\nb.insert(0, Twin())\nself.b = nn.ModuleList(b)",
    "inserted somewhere": "self.b = nn.ModuleList([Block(), Block()])\nself.b.insert(UNKNOWN - 6, Twin())",
    "deleted": "b = [Block(), Twin()]\ndel b[0]\nself.b = nn.ModuleList(b)",
    "deleted from a ModuleList": "self.b = nn.ModuleList([Block(), Twin()])\ndel self.b[0]",
    "reversed": "b = [Block(), Twin()]\nb.reverse()\nself.b = nn.ModuleList(b)",
    "popped": "b = [Block(), Twin()]\nb.pop(0)\nself.b = nn.ModuleList(b)",
    "sorted": "b = [(1, Block()), (0, Twin())]\nb.sort(key=lambda pair: pair[0])\nself.b = nn.ModuleList([m for _, m in b])",
    "a part replaced": "b = [Block(), Block()]\nb[0:1] = [Twin()]\nself.b = nn.ModuleList(b)",
    "another name of a list": "b = [Block()]\nc = b\nc += [Twin()]\nself.b = nn.ModuleList(b)",
    "appended by a function": "self.b = nn.ModuleList()\nappend(self.b)\nappend(self.b, Twin)",
    "a variable of the function outside": "kind = Block\ndef change():\n    nonlocal kind\n    kind = Twin\nchange()\nself.a = kind()",
    "another match": "match UNKNOWN:\n    case 1: self.a = Block()\n    case _: self.a = Twin()",
    "a registry with a default": "self.a = KNOWN.get('twin', Block)()\nself.b = Marked()",
    "either import": "try:\n    import a_package_that_is_not_there\n    kind = Block\nexcept ImportError:\n    kind = Twin\nself.a = kind()",
    "a copy that is changed": "a = Holder()\nb = copy.deepcopy(a)\nb.inner = Twin()\nself.a, self.b = a, b",
    "two names of one": "self.a = Holder()\nself.b = self.a\nself.b.inner = Twin()",
    "replaced by a function": "self.a = Holder()\nswap(self)",
    "replaced by name": "self.a = Holder()\nfor name, m in self.named_modules():\n    if isinstance(m, Holder): m.inner = Twin()",
    "replaced in a child": "self.a = Holder()\nfor m in self.children(): m.inner = Twin()",
    "replaced by add_module": "self.a = Holder()\nself.a.add_module('inner', Twin())",
    "replaced in _modules": "self.a = Holder()\nself.a._modules['inner'] = Twin()",
}
"""Code in which another class could have the same tensors: its name is right, or unknown."""
UNDECIDED = {name: (_CHANGES, body) for name, body in UNDECIDED.items()}
