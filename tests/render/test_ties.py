"""Tied parameters on a card: a shared subtree is one line."""

from vlm_inspect.render.card import tie_cells
from vlm_inspect.render.cells import plain


def told(*groups):
    return [plain(cell) for cell in tie_cells(groups)]


def test_one_tie_is_told_with_its_paths_in_full():
    assert told(("embed.weight", "lm_head.weight")) == ["embed.weight = lm_head.weight"]


def test_a_subtree_that_is_shared_is_one_line_with_its_number():
    names = ("0.mlp.weight", "0.mlp.bias", "1.mlp.weight")
    ties = [(f"encoder.layers.{name}", f"decoder.layers.{name}") for name in names]
    assert told(*ties) == ["encoder = decoder (3 parameters)"]


def test_what_is_tied_elsewhere_is_told_by_itself():
    ties = [
        ("a.x.weight", "b.x.weight"),
        ("a.y.weight", "b.y.weight"),
        ("a.e.weight", "b.e.weight", "head.weight"),
    ]
    assert told(*ties) == ["a = b (2 parameters)", "a.e.weight = b.e.weight = head.weight"]


def test_a_parameter_of_the_model_itself_keeps_its_name():
    assert told(("scale", "inner.scale")) == ["scale = inner.scale"]


def test_layers_that_share_with_one_another_keep_their_numbers():
    ties = [("layers.0.bias.weight", "layers.1.bias.weight"), ("layers.0.bias.bias", "layers.1.bias.bias")]
    assert told(*ties) == ["layers.0 = layers.1 (2 parameters)"]
