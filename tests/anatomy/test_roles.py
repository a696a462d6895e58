"""Where the parts are, for models in which they lie unlike in others."""

import pytest

from tests.anatomy.test_every_type import default_config
from tests.published import FUYU_8B, GEMMA_3_4B, LLAMA_3_2_11B_VISION, QWEN2_5_VL_7B
from vlm_inspect.anatomy import describe
from vlm_inspect.architecture import Role
from vlm_inspect.build import native
from vlm_inspect.ref import ModelIdentity


def answer(config):
    return describe(native.build(config, "org/name"), ModelIdentity("org/name"), "transformers")


def paths(architecture, role):
    return [component.paths for component in architecture.having(role)]


def test_an_inner_projector_owns_what_is_below_it():
    architecture = answer(QWEN2_5_VL_7B)
    tower, merger = architecture.having(Role.VISION_ENCODER)[0], architecture.having(Role.PROJECTOR)[0]
    assert tower.paths == ("model.visual",)
    assert merger.paths == ("model.visual.merger",)
    assert merger.parameters == 44_574_464
    assert tower.parameters + merger.parameters == 676_550_144


def test_patches_that_go_straight_to_the_language_model_are_no_tower():
    architecture = answer(FUYU_8B)
    assert not architecture.having(Role.VISION_ENCODER)
    assert "vision_encoder" in architecture.absent
    assert paths(architecture, Role.PROJECTOR) == [("model.vision_embed_tokens",)]


def test_a_tied_head_owns_nothing_and_says_what_it_is_tied_to():
    head = answer(GEMMA_3_4B).having(Role.LM_HEAD)[0]
    assert head.parameters == 0
    assert head.tied_to == "model.language_model.embed_tokens.weight"


def test_cross_attention_layers_are_a_kind_of_their_own():
    language = answer(LLAMA_3_2_11B_VISION).having(Role.LANGUAGE_MODEL)[0]
    (stack,) = language.stacks
    assert stack.count == 40
    assert [kind.attention.cross for kind in stack.kinds] == [False, True]
    assert [index for index, kind in enumerate(stack.order) if kind == 1] == [3, 8, 13, 18, 23, 28, 33, 38]


def test_sliding_layers_are_told_from_global_ones():
    (stack,) = answer(GEMMA_3_4B).having(Role.LANGUAGE_MODEL)[0].stacks
    assert [kind.attention.sliding_window for kind in stack.kinds] == [1024, None]


def test_a_tower_inside_the_language_models_module_is_owned_by_itself():
    architecture = answer(default_config("idefics"))
    assert paths(architecture, Role.LANGUAGE_MODEL) == [("model",)]
    assert paths(architecture, Role.VISION_ENCODER) == [("model.vision_model",)]


def test_query_tokens_beside_a_qformer_belong_to_it():
    qformer, projection = answer(default_config("blip-2")).having(Role.PROJECTOR)
    assert qformer.paths == ("qformer", "query_tokens")
    assert (qformer.stages[0].layers, qformer.stages[0].queries) == (12, 32)
    assert projection.paths == ("language_projection",)


def test_a_learned_newline_belongs_to_the_projector():
    (projector,) = answer(default_config("llava_next")).having(Role.PROJECTOR)
    assert projector.paths == ("model.multi_modal_projector", "model.image_newline")
    assert [stage.kind for stage in projector.stages] == ["linear", "activation", "linear"]


@pytest.mark.parametrize(
    ("model_type", "role", "expected"),
    [
        ("video_llava", Role.VISION_ENCODER, [("model.video_tower",), ("model.image_tower",)]),
        ("git", Role.VISION_ENCODER, [("git.image_encoder",)]),
        ("git", Role.LANGUAGE_MODEL, [("git",)]),
        ("pi0", Role.VISION_ENCODER, [("model.vlm.vision_tower",)]),
        ("lighton_ocr", Role.VISION_ENCODER, [("model.vision_encoder",)]),
        ("pix2struct", Role.VISION_ENCODER, [("encoder",)]),
        ("vision-encoder-decoder", Role.VISION_ENCODER, [("encoder",)]),
        ("t5gemma2", Role.VISION_ENCODER, [("model.encoder.vision_tower",)]),
        ("t5gemma2", Role.LANGUAGE_MODEL, [("model.encoder.text_model", "model.decoder")]),
        ("qwen2_audio", Role.AUDIO_ENCODER, [("model.audio_tower",)]),
        ("phi4_multimodal", Role.LANGUAGE_MODEL, [("model",)]),
    ],
)
def test_parts_are_found_where_others_do_not_have_them(model_type, role, expected):
    assert paths(answer(default_config(model_type)), role) == expected


def test_the_same_config_gives_the_same_record():
    assert answer(GEMMA_3_4B) == answer(GEMMA_3_4B)
