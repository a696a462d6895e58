import pytest
from msgspec.structs import replace

from tests.render.records import (
    FUYU,
    GEMMA3,
    IDEFICS2,
    LLAVA,
    MLLAMA,
    PHI3,
    QWEN,
    RECORDS,
    VIDEO_LLAVA,
    act,
    linear,
)
from vlm_inspect.core.architecture import Component, Mlp, Parameters, Role
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.stages import BlockStage, ConvStage, NormStage, OtherStage
from vlm_inspect.render.cells import Row, Span, plain_text
from vlm_inspect.render.columns import COLUMNS
from vlm_inspect.render.facts import COMPARISON, FACT_KEYS, fact_warnings, model_card, resolve_fact
from vlm_inspect.render.text.projectors import projection
from vlm_inspect.render.vit import VisionTransformer, family


def derived(record, key):
    return plain_text(COMPARISON[key].derive(record))


def shown(record, **facts):
    row = Row("m", record, facts=facts)
    (key,) = facts
    return plain_text(resolve_fact(row, key).cell), fact_warnings(row)


@pytest.mark.parametrize(
    ("record", "key", "words"),
    [
        (LLAVA, "parameters", "7.06B"),
        (LLAVA, "vision_encoder", "CLIP ViT-L/14-336"),
        (LLAVA, "pooling", "None in projector"),
        (LLAVA, "projection", "2-layer MLP (GELU)"),
        (LLAVA, "backbone", "LlamaModel, 32 layers, 6.74B"),
        (LLAVA, "flash_attention", "Yes"),
        (LLAVA, "url", "llava-1.5-7b-hf"),
        (IDEFICS2, "vision_encoder", "Idefics2 ViT-SO400M/14-980"),
        (IDEFICS2, "pooling", "Learned queries (64 latents)"),
        (IDEFICS2, "projection", "MLP + perceiver resampler (3 layers)"),
        (IDEFICS2, "backbone", "MistralModel, 32 layers, 7.24B"),
        (GEMMA3, "vision_encoder", "SigLIP ViT-SO400M/14-896"),
        (GEMMA3, "pooling", "Average pooling (4 x 4)"),
        (GEMMA3, "projection", "Weight matrix (1152 x 2560)"),
        (GEMMA3, "backbone", "Gemma3TextModel, 34 layers, 3.88B"),
        (VIDEO_LLAVA, "vision_encoder", "2 x CLIP ViT-L/14-224"),
        (MLLAMA, "vision_encoder", "Mllama ViT (32 + 8 layers, width 1280, patch 14)"),
        (MLLAMA, "pooling", "6 features joined per token"),
        (MLLAMA, "flash_attention", "No"),
        (QWEN, "vision_encoder", "Qwen3.5Moe ViT-SO400M/16"),
        (QWEN, "pooling", "4 features joined per token"),
        (QWEN, "projection", "2-layer MLP (GELU) + 3 x 2-layer MLP (GELU)"),
        (FUYU, "vision_encoder", "none"),
        (FUYU, "projection", "Linear"),
        (PHI3, "parameters", "unknown (needs remote code)"),
        (PHI3, "pooling", "unknown (needs remote code)"),
        (PHI3, "backbone", "unknown (needs remote code), 32 layers"),
        (PHI3, "flash_attention", "unknown (needs remote code)"),
        (PHI3, "url", "Phi-3-vision-128k-instruct"),
    ],
)
def test_derived_cells(record, key, words):
    assert derived(record, key) == words


@pytest.mark.parametrize(
    ("class_name", "name"),
    [
        ("CLIPVisionModel", "CLIP"),
        ("SiglipVisionModel", "SigLIP"),
        ("Siglip2VisionModel", "SigLIP2"),
        ("Idefics2VisionTransformer", "Idefics2"),
        ("Qwen2_5_VisionTransformerPretrainedModel", "Qwen2.5"),
        ("InternVisionModel", "Intern"),
        ("DonutSwinModel", "DonutSwin"),
        ("Florence2VisionBackbone", "Florence2"),
        ("VisionModel", "VisionModel"),
        ("Model", "Model"),
    ],
)
def test_encoder_families(class_name, name):
    assert family(class_name) == name


def test_a_size_letter_needs_all_three_figures_and_no_gate():
    clip = VisionTransformer("CLIP", (24,), 1024, None, 4096, gated=False, patch=14, image=(336, 336))
    assert str(clip) == "CLIP ViT-L/14-336"
    assert str(replace(clip, gated=True)) == "CLIP ViT (24 layers, width 1024, patch 14)"
    assert str(replace(clip, mlp_width=3420)) == "CLIP ViT (24 layers, width 1024, patch 14)"
    assert str(replace(clip, image=(960, 720), patch=None)) == "CLIP ViT-L-960x720"
    assert str(replace(clip, family="ViT")) == "ViT-L/14-336"
    assert str(VisionTransformer(None, ())) == "ViT"
    assert str(replace(clip, depths=(1,))) == "CLIP ViT (1 layer, width 1024, patch 14)"
    assert str(replace(clip, depths=(1, 1))) == "CLIP ViT (1 + 1 layers, width 1024, patch 14)"


def test_layers_without_attention_are_not_called_a_transformer():
    clip = VisionTransformer.of(LLAVA.by_role(Role.VISION_ENCODER)[0])
    assert str(replace(clip, attends=False)) == "CLIP (24 layers, width 1024, patch 14)"


def test_a_hierarchical_encoder_is_not_called_vit():
    tower = LLAVA.components[0]
    (stack,) = tower.stacks
    (layer,) = stack.kinds
    wider = replace(stack, count=2, kinds=(replace(layer, mlp=replace(layer.mlp, input_width=2048)),))
    swin = VisionTransformer.of(replace(tower, class_name="DonutSwinModel", stacks=(stack, wider)))
    assert str(swin) == "DonutSwin (24 + 2 layers, width 1024 to 2048, patch 14)"


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((linear(1, 2),), "Linear"),
        ((linear(1, 2), act(), linear(2, 2), act(), linear(2, 2)), "3-layer MLP (GELU)"),
        (
            (BlockStage("Blip2QFormerModel", num_layers=12, num_queries=32), linear(1, 2)),
            "Q-Former (12 layers) + linear",
        ),
        (
            (ConvStage("Conv2d", in_channels=3, out_channels=8, kernel_size=(3, 3)), linear(1, 2)),
            "Convolution (3 x 3) + linear",
        ),
        ((NormStage("LayerNorm", width=2),), "None"),
        ((OtherStage("Odd"),), "Odd"),
    ],
)
def test_projections(stages, words):
    assert plain_text(projection(Component(Role.PROJECTOR, stages=stages))) == words


@pytest.mark.parametrize(
    ("model", "href"),
    [
        (ModelIdentity("org/name", "abc", "hub"), "https://huggingface.co/org/name"),
        (ModelIdentity("org/name", None, "catalogue"), "https://huggingface.co/org/name"),
        (ModelIdentity("org/name", None, "local"), None),
        (ModelIdentity("./folder/model", None, "local"), None),
        (ModelIdentity("gpt2", None, "hub"), None),
    ],
)
def test_only_hub_models_link_to_a_page(model, href):
    (span,) = model_card(replace(LLAVA, model=model))
    assert span.href == href


def test_every_comparison_column_is_a_fact_and_has_a_title():
    titles = {column.id: column.title for column in COLUMNS if column.kind == "comparison"}
    assert list(titles) == ["model", *FACT_KEYS]
    assert [titles[key] for key in FACT_KEYS] == [COMPARISON[key].title for key in FACT_KEYS]


@pytest.mark.parametrize("key", FACT_KEYS)
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_fact_without_contradiction_is_shown(record, key):
    assert shown(record, **{key: "as   the user\n says"}) == ("as the user says", ())


@pytest.mark.parametrize("key", ["architecture", "fine_tuning"])
def test_facts_that_cannot_be_derived_are_not_stated_by_default(key):
    assert plain_text(resolve_fact(Row("m", LLAVA), key).cell) == "not stated"


@pytest.mark.parametrize("stated", ["7B", "7.1B", "7.06B", "7.0 B", "7b params", 7_000_000_000, 7_063_427_072])
def test_an_agreeing_count_is_shown(stated):
    assert shown(LLAVA, parameters=stated)[1] == ()


@pytest.mark.parametrize("stated", ["8B", "6B", "7.3B", "70B", "7M", 8_000_000_000])
def test_a_contradicted_count_is_a_warning(stated):
    cell, (warning,) = shown(LLAVA, parameters=stated)
    assert cell == "7.06B"
    shown_count = stated if isinstance(stated, str) else "8.00B"
    assert warning == f"m: stated # of Parameters '{shown_count}', the model has 7.06B"


def test_counts_may_be_rounded_up_a_little():
    record = replace(LLAVA, parameters=Parameters(4_146_621_440))
    assert shown(record, parameters="4.2B") == ("4.2B", ())
    assert shown(replace(record, parameters=Parameters(7_566_747_648)), parameters="7B")[1] == ()


@pytest.mark.parametrize("stated", ["Mistral-7B", "Mistral-7B-Instruct-v0.2", "mistralai/Mistral", "8x22B"])
def test_an_agreeing_or_incomparable_backbone_is_shown(stated):
    assert shown(IDEFICS2, backbone=stated) == (stated, ())


def test_a_backbone_may_have_the_whole_models_count():
    assert shown(MLLAMA, backbone="Llama-3.2-11B")[1] == ()


def test_a_backbone_of_another_size_is_a_warning():
    cell, (warning,) = shown(IDEFICS2, backbone="Llama-13B")
    assert cell == "MistralModel, 32 layers, 7.24B"
    assert warning == "m: stated Language Model Backbone 'Llama-13B', its language model has 7.24B"


@pytest.mark.parametrize(("stated", "words"), [(True, "Yes"), ("Optional", "Optional"), ("yes", "yes")])
def test_stated_flash_attention(stated, words):
    assert shown(LLAVA, flash_attention=stated) == (words, ())
    cell, (warning,) = shown(MLLAMA, flash_attention=stated)
    assert cell == "No"
    assert warning == f"m: stated Flash Attention '{words}', the model's class does not support it"


@pytest.mark.parametrize("stated", [False, "No"])
def test_stated_lack_of_flash_attention(stated):
    assert shown(MLLAMA, flash_attention=stated) == ("No", ())
    assert shown(LLAVA, flash_attention=stated) == (
        "Yes",
        ("m: stated Flash Attention 'No', the model's class supports it",),
    )
    assert shown(PHI3, flash_attention=stated) == ("No", ())


@pytest.mark.parametrize(
    "stated",
    [
        "openai/clip-vit-large-patch14-336",
        "CLIP ViT-L/14-336",
        "CLIP ViT-L/14@336px",
        "CLIP",
        "custom-vision-transformer-128k",
    ],
)
def test_an_agreeing_vision_encoder_is_shown(stated):
    assert shown(LLAVA, vision_encoder=stated) == (stated, ())


@pytest.mark.parametrize(
    "stated",
    [
        "openai/clip-vit-base-patch14-336",
        "openai/clip-vit-large-patch16-336",
        "openai/clip-vit-large-patch14-224",
        "CLIP ViT-H/14",
        "SigLIP-SO400M",
    ],
)
def test_a_contradicted_vision_encoder_is_a_warning(stated):
    cell, (warning,) = shown(LLAVA, vision_encoder=stated)
    assert cell == "CLIP ViT-L/14-336"
    assert warning == f"m: stated Vision Encoder '{stated}', the model has CLIP ViT-L/14-336"


def test_lowercase_g_and_uppercase_g_are_different_sizes():
    tower = LLAVA.components[0]
    layer = replace(tower.stacks[0].kinds[0], mlp=Mlp("M", 1664, 8192, 1664, gated=False))
    stack = replace(tower.stacks[0], count=48, kinds=(layer,))
    record = replace(LLAVA, components=(replace(tower, width=1664, stacks=(stack,)),))
    assert shown(record, vision_encoder="OpenCLIP ViT-G/14")[1] == ()
    assert shown(record, vision_encoder="OpenCLIP ViT-bigG/14")[1] == ()
    assert len(shown(record, vision_encoder="EVA ViT-g/14")[1]) == 1


def test_the_seed_facts_agree_with_idefics2():
    facts = {"parameters": "8B", "vision_encoder": "SigLIP-SO400M", "backbone": "Mistral-7B"}
    assert fact_warnings(Row("m", IDEFICS2, facts=facts)) == ()


def test_only_http_addresses_become_links():
    (span,) = resolve_fact(Row("m", LLAVA, facts={"url": "https://example.org/card/"}), "url").cell
    assert span == Span("card", href="https://example.org/card/")
    (span,) = resolve_fact(Row("m", LLAVA, facts={"url": "javascript:alert(1)"}), "url").cell
    assert span == Span("javascript:alert(1)")
