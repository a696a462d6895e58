import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.render.records import (
    FUYU,
    GEMMA3,
    IDEFICS2,
    LLAVA,
    MLLAMA,
    PHI3,
    QWEN,
    VIDEO_LLAVA,
    act,
    linear,
    norm_stage,
    table,
)
from vlm_inspect.core.architecture import Attention, Component, Experts, Layer, LayerStack, Mlp, Norm, Role
from vlm_inspect.core.layer_kinds import kind_names
from vlm_inspect.core.stages import BlockStage, ConvStage, LinearStage, OtherStage, PoolingStage
from vlm_inspect.render.cells import Row, code, plain_text
from vlm_inspect.render.table import build_table
from vlm_inspect.render.text import components
from vlm_inspect.render.text.layers import mlp_cell, name_cell, stack_cell
from vlm_inspect.render.text.stages import stages_cell
from vlm_inspect.render.text.steps import activation_name, norm_cell
from vlm_inspect.render.text.values import (
    exact_count,
    find_pattern,
    kind_counts,
    share,
    short_count,
    shortest_period,
    unknown,
)

MERGED = "Linear(4608 -> 4608) + GELU + Linear(4608 -> 2048)"


def cells(record):
    table = build_table("architectures", [Row(record.model.id, record)])
    return dict(zip(table.headers, map(plain_text, table.rows[0]), strict=True))


def test_the_seed_row_of_llava():
    assert list(cells(LLAVA).values()) == [
        "llava-hf/llava-1.5-7b-hf",
        "LlavaForConditionalGeneration",
        "CLIPVisionModel",
        "24 layers",
        "Conv2d(3, 1024) + Embedding(577)",
        "CLIPAttention",
        "CLIPMLP (1024 -> 4096 -> 1024)",
        "LayerNorm((1024,), eps=1e-05)",
        "Linear(1024 -> 4096) + GELU + Linear",
        "LlamaModel",
        "32 layers",
        "LlamaAttention",
        "LlamaMLP (4096 -> 11008 -> 4096)",
        "LlamaRMSNorm",
        "Linear(4096 -> 32064)",
    ]


def test_model_classes_are_code_and_pytorch_classes_are_plain():
    row = build_table("architectures", [Row("x", LLAVA)]).rows[0]
    assert row[2] == code("CLIPVisionModel")
    assert [span.code for span in row[6]] == [True, False]
    assert not any(span.code for index in (4, 7, 8, 14) for span in row[index])
    assert row[13] == code("LlamaRMSNorm")


def test_absent_unknown_and_not_applicable_are_different():
    fuyu, phi = cells(FUYU), cells(PHI3)
    assert {fuyu[title] for title in fuyu if title.startswith("Vision")} == {"none"}
    assert phi["Vision Model"] == phi["LM Head"] == "unknown (needs remote code)"
    assert phi["Language Layers"] == "32 layers"
    assert phi["Language MLP"] == "3072 -> 8192 -> 3072, class unknown (needs remote code)"
    bare = replace(LLAVA, components=(Component(Role.VISION_ENCODER, class_name="X"),))
    assert cells(bare)["Vision Layers"] == "—"
    assert cells(bare)["Vision Self Attention"] == "—"
    no_parts = Component(Role.VISION_ENCODER, class_name="X", stacks=(LayerStack("", 2, (Layer("ConvLayer"),)),))
    assert cells(replace(bare, components=(no_parts,)))["Vision Self Attention"] == "none"


def test_a_long_reason_is_truncated_in_its_cell_and_complete_in_the_notes():
    reason = "the config names a text_config of a type that this transformers does not have at all"
    record = replace(PHI3, unknown={**PHI3.unknown, "projector": reason}, notes=())
    table = build_table("architectures", [Row("a", record), Row("b", record)])
    assert plain_text(table.rows[0][8]) == "unknown (the config names a text_config of a type that this …)"
    assert table.notes == (f"a, b: {reason}",)
    assert plain_text(unknown("")) == "unknown"


@pytest.mark.parametrize(
    ("record", "title", "words"),
    [
        (
            IDEFICS2,
            "Multi-Modal Projector",
            "Idefics2MLP (1152 -> 14336 -> 4096) + Idefics2PerceiverResampler (3 layers, 64 latents)",
        ),
        (IDEFICS2, "Vision MLP", "Idefics2VisionMLP (1152 -> 4304 -> 1152)"),
        (MLLAMA, "Vision Layers", "32 layers + 8 layers"),
        (MLLAMA, "Vision Embeddings", "Conv2d(3, 1280) + Parameter(1601) + 3 x Embedding(9)"),
        (
            MLLAMA,
            "Language Layers",
            "40 layers: 3 x self-attention + 1 x cross-attention + 1 x self-attention, 8 times",
        ),
        (MLLAMA, "Language Self Attention", "MllamaTextSelfAttention / MllamaTextCrossAttention"),
        (VIDEO_LLAVA, "Vision Model", "2 x CLIPVisionModel"),
        (VIDEO_LLAVA, "Vision Layers", "2 x 24 layers"),
        (VIDEO_LLAVA, "Vision Embeddings", "2 x (Conv2d(3, 1024) + Embedding(257))"),
        (VIDEO_LLAVA, "Vision Self Attention", "CLIPAttention"),
        (
            GEMMA3,
            "Language Layers",
            "34 layers: 5 x sliding attention + 1 x full attention, 5 times, then 4 x sliding attention",
        ),
        (GEMMA3, "Multi-Modal Projector", "Gemma3RMSNorm + AvgPool2d(4) + Parameter(1152, 2560)"),
        (GEMMA3, "LM Head", "Linear(2560 -> 262208), tied"),
        (
            QWEN,
            "Language Layers",
            "40 layers: 3 x linear attention + 1 x full attention, 10 times",
        ),
        (
            QWEN,
            "Language MLP",
            "Qwen3_5MoeSparseMoeBlock (2048 -> 512 -> 2048), 256 experts, 8 per token",
        ),
        (
            QWEN,
            "Multi-Modal Projector",
            f"LayerNorm((1152,), eps=1e-06) + {MERGED} + 3 x (LayerNorm((4608,), eps=1e-06) + {MERGED})",
        ),
        (FUYU, "Language LayerNorm", "LayerNorm((4096,), eps=1e-05)"),
    ],
)
def test_cells_of_real_models(record, title, words):
    assert cells(record)[title] == words


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((linear(8, 8), act(), linear(8, 8)), "Linear(8 -> 8) + GELU + Linear"),
        ((linear(8, 16), linear(16, 8)), "Linear(8 -> 16) + Linear(16 -> 8)"),
        ((linear(8, 32), act("SiLU"), linear(16, 16)), "Linear(8 -> 32) + SiLU + Linear(16 -> 16)"),
        ((norm_stage(8), linear(8, 8)), "LayerNorm((8,), eps=1e-06) + Linear(8 -> 8)"),
        ((LinearStage("QuantLinear", in_features=8, out_features=4),), "QuantLinear (8 -> 4)"),
        ((PoolingStage("AvgPool2d", kernel_size=(2, 3)),), "AvgPool2d(2, 3)"),
        ((PoolingStage("AdaptiveAvgPool2d"),), "AdaptiveAvgPool2d"),
        (
            (BlockStage("Blip2QFormerModel", num_layers=12, num_queries=32),),
            "Blip2QFormerModel (12 layers, 32 query tokens)",
        ),
        ((BlockStage("Adapter", num_layers=1),), "Adapter (1 layer)"),
        ((OtherStage("Odd", shape=(3, 4)),), "Odd (3, 4)"),
        ((ConvStage("Conv3d", in_channels=3, out_channels=8), table(5, 8, "Own")), "Conv3d(3, 8) + Own (5)"),
        ((), ""),
    ],
)
def test_stages(stages, words):
    assert plain_text(stages_cell(stages)) == words


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("GELUActivation", "GELU"),
        ("GELUTanh", "GELU"),
        ("PytorchGELUTanh", "GELU"),
        ("NewGELUActivation", "GELU"),
        ("FastGELUActivation", "GELU"),
        ("QuickGELUActivation", "QuickGELU"),
        ("SiLUActivation", "SiLU"),
        ("SiLU", "SiLU"),
        ("ReLUSquaredActivation", "ReLUSquared"),
        ("Tanh", "Tanh"),
        ("Activation", "Activation"),
        ("gelu", "GELU"),
        ("gelu_pytorch_tanh", "GELU"),
        ("quick_gelu", "QuickGELU"),
        ("tanh", "Tanh"),
    ],
)
def test_activation_names(name, short):
    assert activation_name(name) == short


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        (Norm("LayerNorm", 8, 1e-5), "LayerNorm((8,), eps=1e-05)"),
        (Norm("RMSNorm", 8, 1e-6), "RMSNorm((8,), eps=1e-06)"),
        (Norm("LayerNorm", None, 1e-6), "LayerNorm(eps=1e-06)"),
        (Norm("BatchNorm2d", 8, 1e-5), "BatchNorm2d(8, eps=1e-05)"),
        (Norm("GroupNorm", 8), "GroupNorm(8)"),
    ],
)
def test_pytorch_norms(norm, words):
    assert plain_text(norm_cell(norm)) == words
    assert not norm_cell(norm)[0].code


def test_an_mlp_without_a_module_is_its_two_projections():
    layer = Layer(mlp=Mlp(None, 8, 32, 8, gated=False, activation="relu"))
    assert plain_text(mlp_cell(layer)) == "Linear(8 -> 32) + ReLU + Linear(32 -> 8)"
    assert plain_text(mlp_cell(Layer(mlp=Mlp(None, 8, 32, 8, gated=True)))) == "gated, 8 -> 32 -> 8"
    assert plain_text(mlp_cell(Layer(mlp=Mlp("M", 8, None, 8)))) == "M (8 -> ? -> 8)"


@pytest.mark.parametrize(
    ("order", "pattern"),
    [
        ((0, 0, 0, 1) * 8, ((((0, 3), (1, 1)), 8),)),
        ((0, 1, 1, 1), ((((0, 1), (1, 3)), 1),)),
        ((0, 0, 1, 0), ((((0, 2), (1, 1), (0, 1)), 1),)),
        (((0,) * 5 + (1,)) * 5 + (0,) * 4, ((((0, 5), (1, 1)), 5), (((0, 4),), 1))),
        ((0,) * 3 + (1, 2, 2) * 4, ((((0, 3),), 1), (((1, 1), (2, 2)), 4))),
        ((0, 0, 0, 1, 0) * 8, ((((0, 3), (1, 1), (0, 1)), 8),)),
    ],
)
def test_patterns_of_layers(order, pattern):
    assert find_pattern(order) == pattern


@given(st.lists(st.integers(0, 3), max_size=40))
def test_a_pattern_describes_the_sequence_exactly(order):
    segments = find_pattern(order)
    if segments is not None:
        assert [kind for runs, times in segments for kind, count in runs * times for _ in range(count)] == order


def test_a_sequence_without_a_short_pattern_is_counted():
    assert find_pattern((0, 1) * 4 + (1, 0, 2, 0, 1, 0, 2, 2, 1, 2, 0, 1)) is None
    assert kind_counts((0, 1, 1, 0, 2)) == ((0, 2), (1, 2), (2, 1))


def test_the_shortest_period():
    assert shortest_period([1, 2, 1, 2]) == 2
    assert shortest_period([1, 2, 1]) == 3
    assert shortest_period([]) == 0


def test_kinds_that_differ_only_in_size():
    alike = Layer("L", 5)
    stack = LayerStack("", 4, (alike, replace(alike, parameters=6)), (0, 1, 0, 1))
    assert plain_text(stack_cell(stack)) == "4 layers: 1 x 5 parameters + 1 x 6 parameters, 2 times"
    assert plain_text(stack_cell(replace(stack, order=()))) == "4 layers of 2 kinds"


def test_kinds_that_look_the_same_are_numbered():
    norms = [(Norm("A"),), (Norm("B"),)]
    stack = LayerStack("", 2, tuple(Layer("L", 5, norms=each) for each in norms), (0, 1))
    assert plain_text(stack_cell(stack)) == "2 layers of 2 kinds: 1 x kind 1 + 1 x kind 2"


def test_many_kinds_are_named_by_the_main_difference():
    def layer(count):
        experts = (Experts(count, 2),) if count else ()
        return Layer("L", count, Attention("A"), Mlp("M", 8, 16, 8, experts=experts))

    kinds = tuple(layer(count) for count in (0, 4, 8, 12, 16, 20))
    stack = LayerStack("", 8, kinds, (0, 0, 0, 1, 2, 3, 4, 5))
    assert plain_text(stack_cell(stack)) == "8 layers of 6 kinds: 3 x dense + 5 x mixture of experts"


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (Attention(mechanism="linear attention"), Attention(), ["linear attention", "full attention"]),
        (Attention(mechanism="state space"), None, ["state space", "no attention"]),
        (Attention(window=8), Attention(), ["window attention", "full attention"]),
        (Attention(chunk=8), Attention(), ["chunked attention", "full attention"]),
        (Attention(positions="rotary"), Attention(positions="none"), ["rotary", "no rotary"]),
        (Attention(features=("shifted windows",)), Attention(), ["shifted windows", "windows"]),
        (Attention(features=("shared key-values",)), Attention(), ["shared key-values", "own key-values"]),
        (Attention(features=("position table",)), Attention(), ["with position table", "without"]),
    ],
)
def test_kinds_are_named_by_their_difference(first, second, names):
    kinds = [Layer("L", 1, first), Layer("L", 2, second)]
    assert [plain_text(name_cell(name)) for name in kind_names(kinds)] == names


def test_kinds_are_named_by_several_differences_if_needed():
    def layer(window, hidden):
        return Layer("L", 1, Attention("A", sliding_window=window), Mlp("M", 1, hidden, 1))

    names = kind_names([layer(8, 1), layer(8, 2), layer(None, 2)])
    assert [plain_text(name_cell(name)) for name in names] == [
        "sliding attention, MLP width 1",
        "sliding attention, MLP width 2",
        "full attention, MLP width 2",
    ]


def test_different_encoders_are_joined_with_a_plus():
    tower = LLAVA.components[0]
    other = replace(tower, class_name="SiglipVisionModel")
    record = replace(LLAVA, components=(tower, other))
    cell = components.of_role(record, Role.VISION_ENCODER, components.component_class, show_counts=True)
    assert plain_text(cell) == "CLIPVisionModel + SiglipVisionModel"


@pytest.mark.parametrize(
    ("count", "short"),
    [
        (0, "0"),
        (999, "999"),
        (999_600, "1M"),
        (282_000_000, "282M"),
        (999_600_000, "1.00B"),
        (4_146_621_440, "4.15B"),
        (8_402_759_920, "8.40B"),
        (999_999_999_999, "1.00T"),
        (1_026_879_353_328, "1.03T"),
    ],
)
def test_short_counts(count, short):
    assert short_count(count) == short


def test_shares():
    assert exact_count(7_063_427_072) == "7,063,427,072"
    assert [share(part, 10_000) for part in (0, 1, 10, 5000)] == ["0.0 %", "<0.1 %", "0.1 %", "50.0 %"]
    assert share(0, 0) == "0.0 %"


def test_patch_embedding_comes_before_position_embedding():
    declared = (table(257, 8, "Parameter"), ConvStage("Conv2d", in_channels=3, out_channels=8))
    component = Component(Role.VISION_ENCODER, embeddings=declared)
    assert plain_text(components.embeddings(component)) == "Conv2d(3, 8) + Parameter(257)"
