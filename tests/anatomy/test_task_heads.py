"""What is behind an encoder or a language model, and the towers of a dual encoder, each on a small tree."""

import pytest
from msgspec.structs import replace

from tests.anatomy.small_trees import (
    TEXT,
    VISION,
    WORDS,
    convolution,
    layers,
    linear,
    model,
    module,
    norm,
    roles,
    table,
    text,
    tower,
)
from vlm_inspect.core.module_tree import ModuleTree

SCALAR = (1,)


def without_text_output(class_name="SomeModel", **children):
    return ModuleTree(module(class_name, **children))


def text_tower(class_name="TextTower", encoder="SiglipEncoder"):
    """A text tower whose layers have the class of the vision tower's."""
    return module(
        class_name,
        embeddings=module("Embeddings", token_embedding=table(WORDS, TEXT)),
        encoder=module(encoder, layers=layers(TEXT)),
        final_norm=norm(TEXT),
    )


@pytest.mark.parametrize("encoder", ["SiglipEncoder", "CLIPEncoder", "ViTEncoder", "WhisperEncoder", "ImageEncoder"])
@pytest.mark.parametrize("name", ["text_model", "text_encoder", "language_backbone", "textual"])
def test_the_path_of_a_text_tower_beats_its_class_names(name, encoder):
    tree = without_text_output(
        logit_scale=SCALAR, vision_model=tower("SiglipModel"), **{name: text_tower(encoder=encoder)}
    )
    found = roles(tree)
    assert found["language_model"] == [(name,)]
    assert found["vision_encoder"] == [("vision_model",)]


def test_the_section_of_the_configuration_beats_a_class_name():
    tree = without_text_output(logit_scale=SCALAR, left=text_tower("Tower"), right=tower("Tower"))
    sections = {"left": {"model_type": "some_text_model"}, "right": {"model_type": "some_vision_model"}}
    found = roles(replace(tree, configs=sections))
    assert (found["language_model"], found["vision_encoder"]) == ([("left",)], [("right",)])


def test_the_name_of_the_family_says_nothing_in_the_texts_own_module():
    single = module(
        "VisualBertModel",
        embeddings=module("Embeddings", word_embeddings=table(WORDS, TEXT)),
        encoder=module("VisualBertEncoder", layer=layers(TEXT)),
    )
    found = roles(without_text_output(bert=single, classifier=linear(TEXT, 2)))
    assert found == {"language_model": [("bert",)], "task_head": [("classifier",)]}


@pytest.mark.parametrize("scalar", ["logit_scale", "temperature", "temp", "logit_scale_a"])
def test_the_projections_of_a_dual_encoder_are_task_heads(scalar):
    tree = without_text_output(
        vision_model=tower(),
        text_model=text_tower(),
        visual_projection=linear(VISION, TEXT),
        text_projection=linear(TEXT, TEXT),
        **{scalar: SCALAR},
    )
    assert roles(tree) == {
        "vision_encoder": [("vision_model",)],
        "language_model": [("text_model",)],
        "task_head": [("visual_projection",), ("text_projection", scalar)],
    }


def test_a_dual_encoder_from_headers_has_no_projector():
    """Headers name no class for sure, but they have the scalar."""
    tree = ModuleTree(
        module(
            "?Model",
            vision_model=tower("?Model"),
            text_model=text_tower("?Model", "?Encoder"),
            logit_scale=SCALAR,
            visual_projection=linear(VISION, TEXT),
        )
    )
    assert roles(tree)["task_head"] == [("visual_projection", "logit_scale")]


def test_a_vision_language_model_from_headers_keeps_its_projector_without_a_head():
    tree = ModuleTree(
        module("?Model", vision_model=tower("?Model"), visual_projection=linear(VISION, TEXT), llm=text())
    )
    assert roles(tree)["projector"] == [("visual_projection",)]


def vision_language(**more):
    return module("Inner", visual=tower(), projector=linear(VISION, TEXT), language_model=text(), **more)


@pytest.mark.parametrize("name", ["embedding_proj_layer", "custom_text_proj", "multi_vector_projector", "linear"])
def test_a_projection_behind_the_language_model_is_a_task_head(name):
    tree = without_text_output("?Retriever", vlm=vision_language(), **{name: linear(TEXT, 16)})
    found = roles(tree)
    assert found["projector"] == [("vlm.projector",)]
    assert found["task_head"] == [(name,)]


def test_a_projection_behind_a_language_model_with_a_head_is_a_task_head():
    found = roles(model(model=vision_language(), multi_vector_projector=linear(TEXT, 16)))
    assert found["projector"] == [("model.projector",)]
    assert found["task_head"] == [("multi_vector_projector",)]


@pytest.mark.parametrize("name", ["score", "v_head", "value_head", "reward", "classifier", "rank_score"])
def test_a_head_for_scores_is_a_task_head(name):
    found = roles(model(model=vision_language(), **{name: linear(TEXT, 1)}))
    assert found["task_head"] == [(name,)]
    assert found["lm_head"] == [("lm_head",)]


def test_a_head_inside_the_language_models_wrapper_is_a_task_head():
    inner = module("TextForReward", model=text(), v_head=linear(TEXT, 1))
    found = roles(
        without_text_output("?Reward", vision_model=tower(), mlp1=linear(VISION, TEXT), language_model=inner)
    )
    assert found["task_head"] == [("language_model.v_head",)]
    assert found["language_model"] == [("language_model.model",)]
    assert found["projector"] == [("mlp1",)]


def test_a_segmenter_from_headers_keeps_its_decoder_whole():
    decoder = module(
        "?Decoder", transformer=module("?T", layers=layers(VISION), norm=norm(VISION)), iou_head=linear(VISION, 4)
    )
    children = {"vision_encoder": tower("?Encoder"), "prompt_encoder": table(4, VISION), "mask_decoder": decoder}
    found = roles(ModuleTree(module("?Model", **children)))
    assert found == {"vision_encoder": [("vision_encoder",)], "task_head": [("mask_decoder",)]}


def test_a_module_that_forward_uses_before_the_model_is_not_behind_it():
    root = module("?Model", state_proj=linear(8, TEXT), model=vision_language(), out_proj=linear(TEXT, 8))
    root = replace(root, forward_order=("state_proj", "model", "out_proj"))
    found = roles(ModuleTree(root))
    assert found["task_head"] == [("out_proj",)]
    assert ("state_proj",) in found["projector"]


def attention(width):
    return module("SomeAttention", **{name: linear(width, width) for name in ("q_proj", "k_proj", "v_proj", "o_proj")})


def test_the_projections_of_attention_in_a_decoder_are_part_of_it():
    decoder = module("MaskDecoder", cross=attention(VISION), pixel_decoder=module("Pixels", conv=linear(VISION, 4)))
    prompts = module("PromptEncoder", mask_embed=module("Masks", conv=convolution(1, VISION, 2, 2)))
    found = roles(without_text_output(vision_encoder=tower(), prompt_encoder=prompts, mask_decoder=decoder))
    assert found == {"vision_encoder": [("vision_encoder",)], "task_head": [("mask_decoder",)]}


def test_a_decoder_next_to_the_encoder_is_a_task_head():
    both = module(
        "DetectorModel",
        backbone=tower(),
        encoder=module("Encoder", layers=layers(VISION)),
        queries=table(10, VISION),
        decoder=module("Decoder", layers=layers(VISION), bbox_embed=linear(VISION, 4)),
    )
    found = roles(without_text_output("SomeForObjectDetection", model=both, class_predictor=linear(VISION, 9)))
    assert found == {
        "vision_encoder": [("model",)],
        "task_head": [("model.queries", "model.decoder"), ("class_predictor",)],
    }


def test_a_tower_that_is_the_model_keeps_its_pooling_head():
    children = {"patches": convolution(3, VISION, 8, 8), "encoder": module("Encoder", layers=layers(VISION))}
    tree = without_text_output("SomeVisionModel", **children, post_norm=norm(VISION), head=attention(VISION))
    assert roles(tree) == {"vision_encoder": [("patches", "encoder", "post_norm", "head")]}
    tree = without_text_output("SomeForImageClassification", **children, head=linear(VISION, 9))
    assert roles(tree) == {"vision_encoder": [("patches", "encoder")], "task_head": [("head",)]}


def test_a_head_over_characters_is_no_lm_head_without_a_language_model():
    reader = module("AudioModel", stem=convolution(1, VISION, 7), encoder=module("Encoder", layers=layers(VISION)))
    found = roles(without_text_output("SomeForCTC", audio=reader, lm_head=linear(VISION, 32)))
    assert found == {"audio_encoder": [("audio",)], "task_head": [("lm_head",)]}


def test_attention_pooling_between_an_encoder_and_its_projector_belongs_to_the_projector():
    both = module(
        "VisionBackbone",
        image_vit=tower(),
        image_pooling_2d=attention(VISION),
        image_projector=module("MLP", w1=linear(VISION, 128), w2=linear(128, TEXT), w3=linear(VISION, 128)),
    )
    found = roles(model(model=text(vision_backbone=both)))
    assert found["vision_encoder"] == [("model.vision_backbone.image_vit",)]
    assert found["projector"] == [
        ("model.vision_backbone.image_pooling_2d",),
        ("model.vision_backbone.image_projector",),
    ]


@pytest.mark.parametrize("width", [VISION, TEXT])
def test_a_convolution_that_merges_patches_belongs_to_the_encoder(width):
    projection = module("GLU", linear_proj=linear(width, TEXT), gate_proj=linear(TEXT, 128), out=linear(128, TEXT))
    whole = module(
        "VisionModel",
        patches=convolution(3, VISION, 8, 8),
        transformer=module("Transformer", layers=layers(VISION)),
        conv=convolution(VISION, width, 2, 2),
        linear_proj=projection,
    )
    found = roles(model(transformer=text(vision=whole)))
    assert found["vision_encoder"] == [("transformer.vision",)]
    assert found["projector"] == [("transformer.vision.linear_proj",)]
