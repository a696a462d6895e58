"""The roles of real models, above all of those with unusual structures."""

import pytest

from tests.every_type import TYPES
from tests.every_type.answers import record_of
from tests.published import FUYU_8B, GEMMA_3_4B, LLAMA_3_2_11B_VISION, QWEN2_5_VL_7B
from tests.stages import sizes
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity

VISION, AUDIO, PROJECTOR = Role.VISION_ENCODER, Role.AUDIO_ENCODER, Role.PROJECTOR
LANGUAGE, HEAD, GENERATOR, OTHER = Role.LANGUAGE_MODEL, Role.LM_HEAD, Role.GENERATOR, Role.OTHER


def described(config):
    return describe(build.build(config, "org/name"), ModelIdentity("org/name"), "transformers")


def paths(architecture, role):
    return [component.paths for component in architecture.by_role(role)]


def test_an_inner_projector_owns_what_is_below_it():
    architecture = described(QWEN2_5_VL_7B)
    tower, merger = architecture.by_role(VISION)[0], architecture.by_role(PROJECTOR)[0]
    assert tower.paths == ("model.visual",)
    assert merger.paths == ("model.visual.merger",)
    assert merger.parameters == 44_574_464
    assert tower.parameters + merger.parameters == 676_550_144


def test_patches_without_encoder_layers_are_a_projector():
    architecture = described(FUYU_8B)
    assert not architecture.by_role(VISION)
    assert architecture.absent["vision_encoder"] == (
        "no encoder layers: model.vision_embed_tokens maps the pixels to the language model's width"
    )
    assert paths(architecture, PROJECTOR) == [("model.vision_embed_tokens",)]


def test_a_tied_head_owns_no_parameters_and_names_the_tied_parameter():
    head = described(GEMMA_3_4B).by_role(HEAD)[0]
    assert head.parameters == 0
    assert head.head.tied_to == "model.language_model.embed_tokens.weight"


def test_a_head_owns_the_transform_before_its_linear():
    head = record_of("blip").by_role(HEAD)[0]
    assert head.paths == ("text_decoder.cls.predictions",)
    assert [sizes(stage) for stage in head.stages if stage.kind == "linear"] == [(768, 768), (768, 30524)]
    # the transform's Linear and norm, and the bias; the Linear to the vocabulary is tied
    assert head.parameters == 768 * 768 + 768 + 2 * 768 + 30524
    assert head.head.tied_to == "text_decoder.bert.embeddings.word_embeddings.weight"


def test_layers_with_cross_attention_are_a_separate_kind():
    language = described(LLAMA_3_2_11B_VISION).by_role(LANGUAGE)[0]
    (stack,) = language.stacks
    assert stack.count == 40
    assert [kind.attention.cross for kind in stack.kinds] == [False, True]
    assert [index for index, kind in enumerate(stack.order) if kind == 1] == [3, 8, 13, 18, 23, 28, 33, 38]


def test_layers_with_and_without_a_sliding_window_are_separate_kinds():
    (stack,) = described(GEMMA_3_4B).by_role(LANGUAGE)[0].stacks
    assert [kind.attention.sliding_window for kind in stack.kinds] == [1024, None]


def test_query_tokens_next_to_a_qformer_belong_to_it():
    qformer, projection = record_of("blip-2").by_role(PROJECTOR)
    assert qformer.paths == ("qformer", "query_tokens")
    assert (qformer.stages[0].num_layers, qformer.stages[0].num_queries) == (12, 32)
    assert projection.paths == ("language_projection",)


def test_a_learned_newline_belongs_to_the_projector():
    (projector,) = record_of("llava_next").by_role(PROJECTOR)
    assert projector.paths == ("model.multi_modal_projector", "model.image_newline")
    assert [stage.kind for stage in projector.stages] == ["linear", "activation", "linear"]


def test_sibling_linears_of_one_projector_are_one_component():
    image, speech, both = record_of("phi4_multimodal").by_role(PROJECTOR)
    assert [path.rpartition(".")[2] for path in image.paths] == [
        "img_projection_up",
        "img_projection_down",
        "global_img_feature_extensor",
        "sub_img_feature_extensor",
    ]
    assert [sizes(stage) for stage in image.stages if stage.kind == "linear"] == [(1152, 3072), (3072, 3072)]
    assert [path.rpartition(".")[2] for path in speech.paths] == [
        "up_proj_for_speech",
        "down_proj_for_speech",
    ]
    assert [path.rpartition(".")[2] for path in both.paths] == [
        "up_proj_for_vision_speech",
        "down_proj_for_vision_speech",
    ]


def test_a_language_model_spread_over_the_root_has_the_class_of_its_layers():
    (language,) = record_of("udop").by_role(LANGUAGE)
    assert language.class_name == "UdopStack"
    assert language.layer_count == 48


def test_queries_next_to_an_encoder_are_among_its_embeddings():
    _, encoder = record_of("deepseek_ocr2").by_role(VISION)
    queries = [sizes(stage) for stage in encoder.embeddings if "query" in stage.path]
    assert queries == [(144, 896), (256, 896)]


@pytest.mark.parametrize(
    ("model_type", "role", "expected"),
    [
        # two encoders, as siblings or in one module
        ("video_llava", VISION, [("model.video_tower",), ("model.image_tower",)]),
        ("deepseek_vl_hybrid", VISION, [("model.high_res_vision_model",), ("model.vision_model",)]),
        (
            "deepseek_vl_hybrid",
            PROJECTOR,
            [
                ("model.high_res_vision_neck",),
                ("model.high_res_vision_proj", "model.high_res_vision_alpha"),
                ("model.aligner",),
            ],
        ),
        (
            "unlimited_ocr",
            VISION,
            [("model.vision_tower.sam_encoder",), ("model.vision_tower.vision_encoder",)],
        ),
        (
            "deepseek_ocr2",
            VISION,
            [
                ("model.vision_tower.sam_encoder",),
                (
                    "model.vision_tower.vision_encoder",
                    "model.vision_tower.query_768_resolution",
                    "model.vision_tower.query_1024_resolution",
                ),
            ],
        ),
        (
            "nemo_speechlm",
            AUDIO,
            [
                ("model.audio_tower.asr_encoder", "model.audio_tower.asr_norm"),
                ("model.audio_tower.diarization_model", "model.audio_tower.speaker_norm"),
            ],
        ),
        ("mllama", VISION, [("model.vision_model",)]),
        # unusual names and places
        ("git", VISION, [("git.image_encoder",)]),
        ("git", LANGUAGE, [("git",)]),
        ("pi0", VISION, [("model.vlm.vision_tower",)]),
        ("lighton_ocr", VISION, [("model.vision_encoder",)]),
        ("idefics", LANGUAGE, [("model",)]),
        ("idefics", VISION, [("model.vision_model",)]),
        ("inkling_mm_model", VISION, [("model.vision_tower",)]),
        ("phi4_multimodal", LANGUAGE, [("model",)]),
        ("phi4_multimodal", VISION, [("model.embed_tokens_extend.image_embed.img_processor",)]),
        ("phi4_multimodal", AUDIO, [("model.embed_tokens_extend.audio_embed.encoder",)]),
        # encoder-decoders
        ("pix2struct", VISION, [("encoder",)]),
        ("vision-encoder-decoder", VISION, [("encoder",)]),
        ("t5gemma2", VISION, [("model.encoder.vision_tower",)]),
        ("t5gemma2", LANGUAGE, [("model.encoder.text_model", "model.decoder")]),
        ("florence2", LANGUAGE, [("model.language_model",)]),
        ("udop", LANGUAGE, [("shared", "encoder", "decoder")]),
        ("udop", PROJECTOR, [("patch_embed",)]),
        ("pp_formulanet", PROJECTOR, [("model.encoder.multi_modal_projector",)]),
        # patches and audio without layers
        ("gemma4_unified", LANGUAGE, [("model.language_model",)]),
        ("gemma4_unified", PROJECTOR, [("model.embed_vision",), ("model.embed_audio",)]),
        # the text's own projections are not projectors
        ("gemma4", PROJECTOR, [("model.embed_vision",), ("model.embed_audio",)]),
        ("gemma3n", PROJECTOR, [("model.embed_vision",), ("model.embed_audio",)]),
        # projectors inside and next to encoders
        ("llama4", PROJECTOR, [("vision_model.vision_adapter",), ("multi_modal_projector",)]),
        ("qwen3_vl", PROJECTOR, [("model.visual.merger",), ("model.visual.deepstack_merger_list",)]),
        ("muse_spark", AUDIO, [("model.audio_tower",)]),
        (
            "muse_spark",
            PROJECTOR,
            [
                ("model.vision_adapter",),
                ("model.vision_projection",),
                ("model.audio_tower.proj", "model.audio_tower.post_proj_norm"),
            ],
        ),
        (
            "qwen2_5_omni_thinker",
            PROJECTOR,
            [
                ("model.audio_tower.proj", "model.audio_tower.audio_bos_eos_token"),
                ("model.visual.merger",),
            ],
        ),
        # codecs
        ("chameleon", VISION, [("model.vqmodel",)]),
        ("chameleon", GENERATOR, []),
        ("emu3", VISION, [("model.vqmodel",)]),
        ("emu3", GENERATOR, [("model.vqmodel.decoder", "model.vqmodel.post_quant_conv")]),
        ("kyutai_speech_to_text", AUDIO, [("codec_model",)]),
        ("kyutai_speech_to_text", GENERATOR, [("codec_model.decoder",)]),
        ("janus", VISION, [("model.vision_model",)]),
        (
            "janus",
            GENERATOR,
            [
                ("model.vqmodel",),
                ("model.generation_embeddings",),
                ("model.generation_aligner",),
                ("model.generation_head",),
            ],
        ),
        (
            "vibevoice_asr",
            AUDIO,
            [("model.acoustic_tokenizer_encoder",), ("model.semantic_tokenizer_encoder",)],
        ),
        # output other than text
        ("qwen2_5_omni", LANGUAGE, [("thinker.model.language_model",)]),
        ("qwen2_5_omni", HEAD, [("thinker.lm_head",)]),
        ("qwen2_5_omni", GENERATOR, [("talker",), ("token2wav",)]),
        ("qwen3_omni_moe", GENERATOR, [("talker",), ("code2wav",)]),
        ("pi0", GENERATOR, [("model.dit",), ("embed_action_time",), ("action_out_proj",)]),
        # another modality
        ("evolla", LANGUAGE, [("model",)]),
        ("evolla", PROJECTOR, [("model.protein_encoder.sequence_compressor_resampler",)]),
    ],
)
def test_roles_of_unusual_models(model_type, role, expected):
    assert paths(record_of(model_type), role) == expected


def test_only_modules_for_further_modalities_are_other():
    other = {name: paths(record_of(name), OTHER) for name in TYPES}
    assert {name: found for name, found in other.items() if found} == {
        "evolla": [("model.protein_encoder",)],
        "nemo_speechlm": [("model.word_timestamp_encoder",), ("word_timestamp_head",)],
    }


ABSENT = {
    "vision_encoder": {
        "evolla": "no module of the built model takes pixels, by convolution or by name",
        "fuyu": "model.vision_embed_tokens maps the pixels to the language model's width",
        "gemma4_unified": "model.embed_vision maps the pixels to the language model's width",
        "mistral4": "only a language model was built",
        "udop": "patch_embed maps the pixels to the language model's width",
        "kyutai_speech_to_text": "the model takes audio (codec_model)",
        "granite_speech": "the model takes audio (model.encoder)",
        "granite_speech_plus": "the model takes audio (model.encoder)",
        "nemo_speechlm": "the model takes audio (model.audio_tower.asr_encoder)",
        "vibevoice_asr": "the model takes audio (model.acoustic_tokenizer_encoder)",
        **dict.fromkeys(
            (
                "fun_asr_nano",
                "glmasr",
                "moss_transcribe_diarize",
                "omniasr",
                "qwen2_audio",
                "qwen3_asr",
                "voxtral",
                "voxtral_realtime",
            ),
            "the model takes audio (model.audio_tower), and none of its modules takes pixels",
        ),
    },
    "projector": {
        "blip": "text_decoder.bert.encoder.layer.0.crossattention reads the encoder's output directly",
        "chameleon": "model.vqmodel produces tokens, which the language model embeds like text tokens",
        "emu3": "model.vqmodel produces tokens, which the language model embeds like text tokens",
        "idefics": "model.gated_cross_attn_layers.0.cross_attn reads the encoder's output directly",
        "inkling_mm_model": "the output of model.vision_tower already has the text width, 6144",
        "kyutai_speech_to_text": "codec_model produces tokens",
        "mistral4": "only a language model was built",
        "pix2struct": "decoder.layer.0.encoder_decoder_attention reads the encoder's output directly",
        "vision-encoder-decoder": "decoder.bert.encoder.layer.0.crossattention reads the encoder's output",
    },
    "lm_head": {"pi0": "no Linear maps the text width to the vocabulary"},
    "language_model": {},
}


@pytest.mark.parametrize("role", ABSENT)
def test_an_absent_role_has_a_reason(role):
    reasons = {name: record_of(name).absent[role] for name in TYPES if role in record_of(name).absent}
    assert set(reasons) == set(ABSENT[role])
    assert [name for name, reason in ABSENT[role].items() if reason not in reasons[name]] == []


def test_the_same_config_gives_the_same_record():
    assert described(GEMMA_3_4B) == described(GEMMA_3_4B)
