"""Tied parameters on a card: a shared subtree is one line."""

from vlm_inspect.render.card import tie_cells
from vlm_inspect.render.cells import plain_text


def lines(*groups):
    return [plain_text(cell) for cell in tie_cells(groups)]


def test_a_single_tie_has_its_full_paths():
    assert lines(("embed.weight", "lm_head.weight")) == ["embed.weight = lm_head.weight"]


def test_a_shared_subtree_is_one_line_with_its_count():
    names = ("0.mlp.weight", "0.mlp.bias", "1.mlp.weight")
    ties = [(f"encoder.layers.{name}", f"decoder.layers.{name}") for name in names]
    assert lines(*ties) == ["encoder = decoder (3 parameters)"]


def test_other_ties_have_their_own_lines():
    ties = [
        ("a.x.weight", "b.x.weight"),
        ("a.y.weight", "b.y.weight"),
        ("a.e.weight", "b.e.weight", "head.weight"),
    ]
    assert lines(*ties) == ["a = b (2 parameters)", "a.e.weight = b.e.weight = head.weight"]


def test_a_parameter_of_the_model_itself_keeps_its_name():
    assert lines(("scale", "inner.scale")) == ["scale = inner.scale"]


def test_layers_tied_to_each_other_keep_their_indices():
    ties = [("layers.0.bias.weight", "layers.1.bias.weight"), ("layers.0.bias.bias", "layers.1.bias.bias")]
    assert lines(*ties) == ["layers.0 = layers.1 (2 parameters)"]
