"""The order in which a module's forward uses its children."""

import pytest
import torch
from torch import nn

from vlm_inspect.builders.forward.call_order import read_forward_order


def apply_rotary_pos_emb(queries):
    return queries


class Norm(nn.LayerNorm):
    def __init__(self):
        super().__init__(4)


class Block(nn.Module):
    """The order of declaration differs from the order of use."""

    def __init__(self, **flags):
        super().__init__()
        self.mlp, self.attn = nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm2, self.norm1 = Norm(), Norm()
        for name, value in flags.items():
            setattr(self, name, value)


class Nested(Block):
    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Branching(Block):
    def forward(self, x):
        if self.norm_first:
            x = self.norm1(x)
        x = self.attn(x)
        if not self.norm_first:
            x = self.norm1(x)
        return self.mlp(x)


class Helped(Block):
    def forward(self, x):
        x = self.attend(x)
        return self.run(self.norm2, x)

    def attend(self, x):
        return self.norm1(self.attn(x))

    def run(self, norm, x):
        return norm(self.mlp(x))


class Turning(Block):
    def forward(self, x):
        x = self.attn(self.norm1(x))
        if self.window is not None or self.config.always:
            x = apply_rotary_pos_emb(x)
        return self.mlp(x)


class Undecided(Block):
    def forward(self, x, mask=None):
        if mask is not None:
            x = self.norm1(x)
        elif self.training:
            x = self.norm2(x)
        return self.mlp(self.attn(x))


class Config:
    def __init__(self, *, always):
        self.always = always


def test_arguments_of_a_call_come_first():
    assert read_forward_order(Nested()) == ("norm1", "attn", "norm2", "mlp")


@pytest.mark.parametrize(("first", "used"), [(True, ("norm1", "attn", "mlp")), (False, ("attn", "norm1", "mlp"))])
def test_condition_on_own_attributes_takes_one_side(first, used):
    assert read_forward_order(Branching(norm_first=first)) == used


def test_own_methods_are_inlined():
    assert read_forward_order(Helped()) == ("attn", "norm1", "norm2", "mlp")


@pytest.mark.parametrize(("window", "always", "turns"), [(8, False, True), (None, False, False), (None, True, True)])
def test_condition_on_own_attributes_decides_about_a_rotary_function(window, always, turns):
    used = read_forward_order(Turning(window=window, config=Config(always=always)))
    assert ("apply_rotary_pos_emb" in used) is turns


def test_other_conditions_take_both_sides():
    assert read_forward_order(Undecided()) == ("norm1", "norm2", "attn", "mlp")


def test_torch_modules_are_not_read():
    assert read_forward_order(nn.Sequential(Norm(), nn.Linear(4, 4))) == ()


def test_class_without_source_has_no_order():
    made = {}
    exec("def forward(self, x):\n    return self.mlp(self.norm1(x))", made)  # noqa: S102 - code without a file
    bare = type("Bare", (Block,), {"forward": made["forward"]})
    assert read_forward_order(bare()) == ()


def test_forward_is_not_run():
    class Touchy(Block):
        def forward(self, x):
            raise AssertionError(x)
            return self.mlp(self.norm1(x))

    with torch.device("meta"):
        assert read_forward_order(Touchy()) == ("norm1", "mlp")


class Functional(Block):
    """Reads metadata of a weight, scales by a parameter, and calls an activation function."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x):
        x = x.to(self.mlp.weight.dtype).view(-1, self.mlp.in_features)
        return self.mlp(nn.functional.gelu(self.attn(x))) * self.scale


def test_metadata_of_a_weight_is_no_use_of_its_module():
    assert read_forward_order(Functional()) == ("attn", "gelu", "mlp", "scale")
