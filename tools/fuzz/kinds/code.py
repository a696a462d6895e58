"""Hostile code: a repo's Python files, which are read as text and never run."""

from __future__ import annotations

import json
import random
from functools import cache

from tools.fuzz.case import Case
from tools.fuzz.kinds.checkpoints import safetensors
from tools.fuzz.mutation import mutated
from tools.fuzz.outputs import FORMS
from tools.fuzz.seeds import ROOT, UNKNOWN, tensors

_CONFIG = {
    **UNKNOWN,
    "architectures": ["StrangeModel"],
    "auto_map": {"AutoModelForCausalLM": "modeling_strange.StrangeModel"},
}
_MODEL = b"""
import torch
from torch import nn
from transformers import PreTrainedModel
from .other import Layer, sizes

class StrangeAttention(nn.Module):
    def __init__(self, config, layer_idx=0):
        super().__init__()
        self.head_dim = config.hidden_size // config.num_heads if config.num_heads else 8
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(config.hidden_size, self.head_dim * 2, bias=False))

class StrangeModel(PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.width = int(config.hidden_size ** 0.5) ** 2 or 1 << 4
        self.model = nn.ModuleDict({"layers": nn.ModuleList([Layer(config) for _ in range(2)])})
        self.norm = nn.LayerNorm(sizes[0], eps=1e-6)
        while self.width > 1:
            self.width //= 2
        self.text = "x" * self.width + f"{config.hidden_size!r}"
        self.lm_head = nn.Linear(16, 64, bias=False) if config.get("tie", False) else None
"""
_OTHER = b"""
from torch import nn
sizes = [2 ** number for number in range(4, 8)]
def act(name): return {"gelu": nn.GELU(), "silu": nn.SiLU()}[name]
class Layer(nn.Module):
    def __init__(self, config, depth=3):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(16, 32), act("gelu"), nn.Linear(32, 16))
        if depth: self.inner = Layer(config, depth - 1)
"""
_BOMBS = (
    b"\nX = 10 ** 10 ** 10\n",
    b"\nX = 'x' * 10 ** 12\n",
    b"\nX = [0] * 10 ** 12\n",
    b"\nX = 1 << 10 ** 12\n",
    b"\nX = " + b"(" * 5_000 + b"1" + b")" * 5_000 + b"\n",
    b"\nX = " + b"-" * 20_000 + b"1\n",
    b"\nX = " + b"1+" * 20_000 + b"1\n",
    b"\nX = '%999999999d' % 1\nY = f'{1:999999999d}'\nZ = 'a'.ljust(10 ** 12)\n",
    b"\nimport os\nos.system('touch bait')\nopen('../bait', 'w')\n",
    b"\nclass StrangeModel(StrangeModel): pass\nclass A(B): pass\nclass B(A): pass\n",
    b"\ndef f(*a): return f(f, *a, *a)\nX = f(1)\n",
    b"\nwhile True: pass\nfor x in iter(int, 1): pass\nX = list(range(10 ** 12))\n",
    b"\nX = [[[[0] * 999] * 999] * 999] * 999\nY = str(X)\nZ = X == X\n",
    b"\nclass M(type):\n    def __instancecheck__(s, o): return 1\nclass StrangeModel(metaclass=M): pass\n",
)


def of_files(rng: random.Random) -> Case:
    """A checkpoint with its code; one of the files is strange."""
    files = {
        "modeling_strange.py": _strange(rng, _MODEL),
        "other.py": rng.choice((_OTHER, _strange(rng, _OTHER))),
    }
    if rng.random() < 0.2:  # noqa: PLR2004 - published code
        files["modeling_strange.py"] = mutated(rng, _published()) + b"\nStrangeModel = Phi3VForCausalLM\n"
    folder = {f"model/{name}": content for name, content in files.items()}
    whole = {
        "model/config.json": json.dumps(_CONFIG).encode(),
        "model/model.safetensors": safetensors(tensors()),
    }
    return Case(
        {**whole, **folder},
        ((rng.choice(("show", "tree")), "./model", "--builder", "header", "--format", rng.choice(FORMS)),),
    )


def _strange(rng: random.Random, source: bytes) -> bytes:
    if rng.random() < 0.3:  # noqa: PLR2004
        lines = source.splitlines(keepends=True)
        at = rng.randint(0, len(lines))
        indent = b" " * rng.choice((0, 4, 8))
        bomb = b"".join(indent + line + b"\n" for line in rng.choice(_BOMBS).splitlines())
        return b"".join([*lines[:at], bomb, *lines[at:]])
    return mutated(rng, (source,))


@cache
def _published() -> tuple[bytes, ...]:
    folder = ROOT / "tests" / "build" / "repositories" / "phi3_v"
    return ((folder / "modeling_phi3_v.py").read_bytes(),)
