"""Projectors of which only names and shapes are known: gates, branches, and the order of use."""

import math

import pytest

from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.order import build_header_tree
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.checkpoint import Checkpoint, TensorHeaders, TensorInfo
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.card import build_card
from vlm_inspect.render.cells import plain_text
from vlm_inspect.render.text import components

MODEL = ModelIdentity("acme/tiny", source="local")
CONFIG = {"architectures": ["TinyVLM"], "model_type": "tiny_vlm", "vocab_size": 1000, "hidden_size": 64}
CONFIG |= {"num_attention_heads": 4}


def blocks(path, width, count):
    shapes = {
        "attn.qkv": (3 * width, width),
        "attn.out": (width, width),
        "mlp.up": (4 * width, width),
        "mlp.down": (width, 4 * width),
        "norm1": (width,),
        "norm2": (width,),
    }
    return {f"{path}.{index}.{name}.weight": shape for index in range(count) for name, shape in shapes.items()}


def record_with(projector):
    """The record of a checkpoint with this projector between a tower of width 32 and a text of width 64."""
    shapes = {
        **blocks("text.blocks", 64, 4),
        "text.norm.weight": (64,),
        "text.embed_tokens.weight": (1000, 64),
        **blocks("vision_tower.blocks", 32, 3),
        "vision_tower.patch.weight": (32, 3, 14, 14),
        "lm_head.weight": (1000, 64),
        **{f"{name}.weight": shape for name, shape in projector.items()},
    }
    tensors = (TensorInfo(name, "BF16", shape, 2 * math.prod(shape)) for name, shape in sorted(shapes.items()))
    record = describe(build_header_tree(Checkpoint(MODEL, CONFIG), TensorHeaders(tuple(tensors))), MODEL, "header")
    assert record.parameters.total == sum(map(math.prod, shapes.values()))
    return record


def cell(record):
    return plain_text(components.of_projectors(record, components.projector))


@pytest.mark.parametrize(
    ("projector", "expected"),
    [
        ({"w1": (96, 32), "w2": (64, 96), "w3": (96, 32)}, "MLP of unknown class (32 -> 96 -> 64)"),
        ({"a": (64, 96), "b": (96, 32), "c": (96, 32)}, "MLP of unknown class (32 -> 96 -> 64)"),
        ({"gate_up": (256, 32), "down": (64, 128)}, "MLP of unknown class (32 -> 128 -> 64)"),
        ({"fused_gate": (128, 32), "out": (64, 64)}, "MLP of unknown class (32 -> 64 -> 64)"),
        ({"w12": (96, 32), "w3": (64, 48)}, "MLP of unknown class (32 -> 48 -> 64)"),
        (
            {"norm": (32,), "w1": (96, 32), "w2": (64, 96), "w3": (96, 32)},
            "norm of unknown class (32) + gated MLP (32 -> 96 -> 64)",
        ),
    ],
)
def test_a_gate_is_known_by_widths(projector, expected):
    record = record_with({f"projector.{name}": shape for name, shape in projector.items()})
    assert cell(record) == expected


@pytest.mark.parametrize(
    ("projector", "expected"),
    [
        ({"out": (64, 96), "in": (96, 32)}, "Linear(32 -> 96) + Linear(96 -> 64)"),
        ({"0": (96, 32), "2": (64, 96)}, "Linear(32 -> 96) + Linear(96 -> 64)"),
        (
            {"mlp.0": (128, 128), "mlp.2": (64, 128), "ln_q": (32,)},
            "norm of unknown class (32) + Linear(128 -> 128) + Linear(128 -> 64)",
        ),
        ({"z": (48, 32), "y": (40, 48), "x": (64, 40)}, "Linear(32 -> 48) + Linear(48 -> 40) + Linear(40 -> 64)"),
    ],
)
def test_steps_are_in_the_one_order_that_fits(projector, expected):
    record = record_with({f"projector.{name}": shape for name, shape in projector.items()})
    (found,) = record.by_role(Role.PROJECTOR)
    assert (cell(record), found.stage_order) == (expected, "use")


@pytest.mark.parametrize(
    ("projector", "expected"),
    [
        (
            {"fc": (64, 32), "norm": (64,), "out": (64, 64)},
            "Linear(32 -> 64), norm of unknown class (64), Linear",
        ),
        (
            {"attn.in_proj": (192, 64), "attn.out_proj": (64, 64), "kv_proj": (64, 32), "ln_kv": (64,), "ln_q": (64,)},
            "block of unknown class, Linear(32 -> 64), norm of unknown class (64), norm of unknown class (64)",
        ),
    ],
)
def test_an_order_that_nothing_shows_is_unknown(projector, expected):
    record = record_with({f"projector.{name}": shape for name, shape in projector.items()})
    (found,) = record.by_role(Role.PROJECTOR)
    assert found.stage_order is None
    assert found.unknown["stage_order"].startswith("headers list modules by name")
    assert cell(record) == expected
    (section,) = (each for each in build_card(record).sections if each.title == "Projector")
    lines = dict(section.lines)
    assert plain_text(lines["Layers"]) == expected
    assert plain_text(lines["Order of use"]).startswith("unknown (headers list modules by name")


@pytest.mark.parametrize(
    ("projectors", "expected"),
    [
        (
            {"image_projector": (64, 32), "video_projector": (64, 32)},
            "image: Linear(32 -> 64); video: Linear(32 -> 64)",
        ),
        ({"visual_adapter": (48, 32), "visual_projector": (64, 48)}, "Linear(32 -> 48) + Linear(48 -> 64)"),
        (
            {f"projectors.{index}": (64, 32) for index in range(2)},
            "Linear(32 -> 64) beside Linear(32 -> 64)",
        ),
    ],
)
def test_projectors_are_steps_or_parallel_by_what_they_take(projectors, expected):
    assert cell(record_with(projectors)) == expected
