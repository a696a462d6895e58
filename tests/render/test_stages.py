"""Steps, parallel branches, pooling, extra modules and many layers as cell text."""

import pytest

from tests.every_type.answers import record_of
from tests.render.records import act, linear
from vlm_inspect.core.architecture import Component, Layer, LayerStack, Norm, Role
from vlm_inspect.core.stages import EmbeddingStage, LinearStage, MlpStage, NormStage, OtherStage
from vlm_inspect.render.cells import code, concat, plain_text, text
from vlm_inspect.render.facts import COMPARISON
from vlm_inspect.render.text import components
from vlm_inspect.render.text.projectors import projection
from vlm_inspect.render.text.stages import extra_modules_cell, stages_cell
from vlm_inspect.render.text.values import collapse_similar


def branched(branch, in_features, out_features, path="Linear"):
    return LinearStage("Linear", path, in_features=in_features, out_features=out_features, branch=branch)


def cell_of(model_type, role, word):
    return plain_text(word(record_of(model_type).by_role(role)[0]))


PARALLEL = (branched(0, 768, 2048), branched(1, 1024, 2048), act(), linear(4096, 4096))
TWO_BRANCHES = (
    branched(0, 64, 4096),
    branched(0, 4096, 4096),
    branched(1, 128, 4096),
    branched(1, 4096, 4096),
)
LIST = (
    linear(8, 16, "first"),
    *(stage for index in range(3) for stage in (linear(64, 8, f"more.{index}.a"), linear(8, 16, f"more.{index}.b"))),
)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (PARALLEL, "(Linear(768 -> 2048) beside Linear(1024 -> 2048)) + GELU + Linear(4096 -> 4096)"),
        (TWO_BRANCHES, "(Linear(64 -> 4096) + Linear) beside (Linear(128 -> 4096) + Linear)"),
        (LIST, "Linear(8 -> 16) + 3 x (Linear(64 -> 8) + Linear(8 -> 16))"),
        ((MlpStage(in_features=8, hidden_features=32, out_features=8),), "gated MLP (8 -> 32 -> 8)"),
    ],
)
def test_steps_in_words(stages, words):
    assert plain_text(stages_cell(stages)) == words


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (PARALLEL, "(linear beside linear) + linear"),
        (TWO_BRANCHES, "2 x 2-layer MLP, side by side"),
        (LIST, "Linear + 3 x 2-layer MLP"),
        (
            (EmbeddingStage("SomeTable", num_embeddings=65536, embedding_dim=8),),
            "Embedding table (65536 entries)",
        ),
    ],
)
def test_projections_in_words(stages, words):
    assert plain_text(projection(Component(Role.PROJECTOR, stages=stages))) == words


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("gemma4", "None in projector"),  # twice the width is the audio's
        ("llama4", "None in projector"),  # the second projector reads the first
        ("step3p7", "None in projector"),  # the tower's own convolutions widen
        ("fast_vlm", "None in projector"),
        ("vipllava", "None (5 layers' features side by side)"),
        ("minimax_m3_vl", "4 features joined per token"),
        ("molmo2", "Attention pooling"),
        ("llava", "None in projector"),
        ("qwen2_vl", "4 features joined per token"),
    ],
)
def test_pooling(model_type, words):
    assert plain_text(COMPARISON["pooling"].derive(record_of(model_type))) == words


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("fast_vlm", "timm (2 + 12 + 24 + 4 + 2 layers, width 96 to 1536)"),
        ("chameleon", "ChameleonVQVAE (2 + 2 + 2 + 2 + 2 layers, width 512)"),
        ("florence2", "Florence2 (1 + 1 + 9 + 1 layers, width 128 to 1024)"),
        ("llava", "CLIP ViT-L/14-336"),
    ],
)
def test_an_encoder_with_a_convolutional_stem_has_no_patch_size(model_type, words):
    assert plain_text(COMPARISON["vision_encoder"].derive(record_of(model_type))) == words


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("florence2", "encoder 12 layers + decoder 12 layers"),
        ("idefics", "32 layers + 32 cross-attention layers"),
        ("llava", "32 layers"),
    ],
)
def test_different_stacks_are_named(model_type, words):
    assert cell_of(model_type, Role.LANGUAGE_MODEL, components.layers) == words


def test_many_stacks_are_shown_by_their_depths():
    assert cell_of("fast_vlm", Role.VISION_ENCODER, components.layers) == "2 + 12 + 24 + 4 + 2 layers"
    assert (
        components.depths(record_of("florence2").by_role(Role.LANGUAGE_MODEL)[0]) == "encoder 12 + decoder 12 layers"
    )


def test_cells_that_differ_in_one_number_become_a_range():
    cells = [
        concat(code("Some2MoE"), text(f" (8 -> 8), {count} experts, 2 per token")) for count in (4, 64, 8, 16, 32)
    ]
    assert [plain_text(cell) for cell in collapse_similar(cells)] == [
        "Some2MoE (8 -> 8), 4 to 64 experts, 2 per token"
    ]
    assert collapse_similar(cells[:4]) == cells[:4]


def test_cells_that_differ_in_several_numbers_become_first_to_last():
    cells = [text(f"MLP ({width} -> {4 * width})") for width in (8, 16, 32, 64, 128)]
    assert [plain_text(cell) for cell in collapse_similar([*cells, text("none")])] == [
        "MLP (8 -> 32) to MLP (128 -> 512)",
        "none",
    ]


def test_norms_of_many_widths_become_a_range():
    kinds = tuple(Layer("Block", norms=(Norm("GroupNorm", width, 1e-06),)) for width in (64, 128, 256, 512, 1024))
    tower = Component(Role.VISION_ENCODER, stacks=(LayerStack("blocks", 5, kinds, (0, 1, 2, 3, 4)),))
    assert plain_text(components.norms(tower)) == "GroupNorm(64 to 1024, eps=1e-06)"


def test_extra_modules_have_names_and_large_sizes():
    extra_modules = (
        NormStage("SomeNorm", "model.a.norm", width=8, parameters=8),
        NormStage("OtherNorm", "model.b.norm", width=8, parameters=8),
        OtherStage("Down", "model.0.down", parameters=5_000_000),
        OtherStage("Down", "model.1.down", parameters=5_000_000),
        EmbeddingStage("Embedding", "model.table", num_embeddings=1000, embedding_dim=2_000, parameters=2_000_000),
    )
    component = Component(Role.LANGUAGE_MODEL, parameters=300_000_000, extra_modules=extra_modules)
    assert plain_text(extra_modules_cell(component)) == (
        "a.norm SomeNorm, b.norm OtherNorm, 2 x down Down (5M parameters), table Embedding(1000)"
    )
