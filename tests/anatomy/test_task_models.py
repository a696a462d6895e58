"""Models that generate no text from images: dual encoders, retrieval models, classifiers, detectors, segmenters.

All are transformers' own classes with their default configurations, or small ones where a default cannot be built.
"""

import re

import pytest
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.every_type.invariants import (
    components_sum_to_the_total,
    every_parameter_belongs_to_a_component,
    every_path_exists_and_belongs_to_one_component,
    stacks_are_in_their_component_and_not_larger,
)
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.architecture import ENCODERS, Role
from vlm_inspect.core.errors import VlmInspectError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import is_below

RESNET = {"backbone_config": {"model_type": "resnet", "out_features": ["stage4"]}}
THREE_STAGES = {"backbone_config": {"model_type": "resnet", "out_features": ["stage2", "stage3", "stage4"]}}
TWO_TOWERS = {"language_model": {"text_model"}, "vision_encoder": {"vision_model"}}
PROJECTIONS = {"visual_projection", "text_projection", "logit_scale"}


def tree_of(class_name, model_type, **config):
    defaults = CONFIG_MAPPING[model_type]().to_dict()
    return build.build({**defaults, **config, "architectures": [class_name]}, class_name)


def described(class_name, model_type, **config):
    return record_of(tree_of(class_name, model_type, **config))


def record_of(tree):
    record = describe(tree, ModelIdentity(tree.root.class_name, source="local"), "transformers")
    for invariant in (
        components_sum_to_the_total,
        every_parameter_belongs_to_a_component,
        every_path_exists_and_belongs_to_one_component,
        stacks_are_in_their_component_and_not_larger,
    ):
        invariant(record, tree)
    return record


def parts(record):
    """Role → the paths of all its components."""
    roles = dict.fromkeys(part.role.value for part in record.components)
    return {role: {path for part in record.by_role(Role(role)) for path in part.paths} for role in roles}


@pytest.mark.parametrize(
    ("class_name", "model_type", "heads"),
    [
        ("CLIPModel", "clip", PROJECTIONS),
        ("MetaClip2Model", "metaclip_2", PROJECTIONS),
        ("ChineseCLIPModel", "chinese_clip", PROJECTIONS),
        ("AltCLIPModel", "altclip", PROJECTIONS),
        ("BlipModel", "blip", PROJECTIONS),
        ("CLIPSegModel", "clipseg", PROJECTIONS),
        ("OwlViTModel", "owlvit", PROJECTIONS),
        ("Owlv2Model", "owlv2", PROJECTIONS),
        ("GroupViTModel", "groupvit", PROJECTIONS),
        ("AlignModel", "align", {"text_projection", "temperature"}),
        ("SiglipModel", "siglip", {"logit_scale", "logit_bias"}),
        ("Siglip2Model", "siglip2", {"logit_scale", "logit_bias"}),
    ],
)
def test_a_dual_encoder_has_a_text_tower_a_vision_tower_and_projections(class_name, model_type, heads):
    record = described(class_name, model_type)
    assert record.kind == "dual-encoder"
    assert parts(record) == {**TWO_TOWERS, "task_head": heads}
    assert record.inputs == ()
    assert record.absent["projector"] == "no language model reads the features of vision_model"


def test_the_text_tower_of_a_dual_encoder_owns_its_layers():
    (text,) = described("SiglipModel", "siglip").by_role(Role.LANGUAGE_MODEL)
    assert (text.class_name, text.parameters, text.layer_count) == ("SiglipTextModel", 110_271_744, 12)


def test_the_classes_of_a_configuration_do_not_decide_between_towers():
    """A wrapper with towers of any two families: `vision_model` and `text_model` have other classes each time."""
    record = described("VisionTextDualEncoderModel", "vision-text-dual-encoder", **_two_configs())
    assert record.kind == "dual-encoder"
    assert parts(record) == {**TWO_TOWERS, "task_head": PROJECTIONS}


def _two_configs():
    vision = {**CONFIG_MAPPING["clip_vision_model"]().to_dict(), "model_type": "clip_vision_model"}
    return {"vision_config": vision, "text_config": CONFIG_MAPPING["bert"]().to_dict()}


@pytest.mark.parametrize(
    ("class_name", "model_type", "role"),
    [
        ("CLIPTextModel", "clip_text_model", Role.LANGUAGE_MODEL),
        ("SiglipTextModel", "siglip_text_model", Role.LANGUAGE_MODEL),
        ("Siglip2TextModel", "siglip2_text_model", Role.LANGUAGE_MODEL),
        ("XCLIPTextModel", "xclip_text_model", Role.LANGUAGE_MODEL),
        ("GroupViTTextModel", "groupvit_text_model", Role.LANGUAGE_MODEL),
        ("CLIPVisionModel", "clip_vision_model", Role.VISION_ENCODER),
        ("SiglipVisionModel", "siglip_vision_model", Role.VISION_ENCODER),
        ("Siglip2VisionModel", "siglip2_vision_model", Role.VISION_ENCODER),  # patches through a Linear
        ("ViTModel", "vit", Role.VISION_ENCODER),
        ("Dinov2Model", "dinov2", Role.VISION_ENCODER),
        ("DINOv3ViTModel", "dinov3_vit", Role.VISION_ENCODER),
        ("ConvNextModel", "convnext", Role.VISION_ENCODER),
        ("SwinModel", "swin", Role.VISION_ENCODER),
        ("Sam2VisionModel", "sam2_vision_model", Role.VISION_ENCODER),
        ("ImageGPTModel", "imagegpt", Role.VISION_ENCODER),  # its tokens are pixels
        ("Wav2Vec2Model", "wav2vec2", Role.AUDIO_ENCODER),
        ("Wav2Vec2BertModel", "wav2vec2-bert", Role.AUDIO_ENCODER),  # takes spectrograms
    ],
)
def test_a_tower_alone_is_one_component(class_name, model_type, role):
    record = described(class_name, model_type)
    assert [part.role for part in record.components] == [role]
    (tower,) = record.components
    assert tower.parameters == record.parameters.total
    stacks = [stack.path for stack in tower.stacks]
    assert stacks
    assert not [stage.path for stage in tower.extra_modules if any(is_below(stage.path, stack) for stack in stacks)]


@pytest.mark.parametrize(
    ("class_name", "model_type", "tower"),
    [
        ("ViTForImageClassification", "vit", "vit"),
        ("DeiTForImageClassification", "deit", "deit"),
        ("BeitForImageClassification", "beit", "beit"),
        ("SwinForImageClassification", "swin", "swin"),
        ("ConvNextForImageClassification", "convnext", "convnext"),
        ("Dinov2ForImageClassification", "dinov2", "dinov2"),
        ("SegformerForImageClassification", "segformer", "segformer"),
        ("ResNetForImageClassification", "resnet", "resnet"),
        ("CLIPForImageClassification", "clip", "vision_model"),
        ("SiglipForImageClassification", "siglip", "vision_model"),
        ("Siglip2ForImageClassification", "siglip2", "vision_model"),
    ],
)
def test_an_image_classifier_is_an_encoder_and_a_head(class_name, model_type, tower):
    record = described(class_name, model_type)
    assert record.kind == "image-classifier"
    assert parts(record) == {"vision_encoder": {tower}, "task_head": {"classifier"}}
    assert record.absent == {
        "language_model": "no module of the built model embeds the tokens of a text",
        "lm_head": "no language model was built",
        "projector": "no language model was built",
    }
    (head,) = record.by_role(Role.TASK_HEAD)
    assert "linear" in [stage.kind for stage in head.stages]


@pytest.mark.parametrize(
    ("class_name", "model_type", "config", "kind", "encoders", "heads"),
    [
        # detectors: the decoder is behind the encoder in one module
        (
            "DetrForObjectDetection",
            "detr",
            RESNET,
            "detector",
            {"model"},
            {"model.decoder", "model.query_position_embeddings", "class_labels_classifier", "bbox_predictor"},
        ),
        ("YolosForObjectDetection", "yolos", {}, "detector", {"vit"}, {"class_labels_classifier", "bbox_predictor"}),
        (
            "RTDetrForObjectDetection",
            "rt_detr",
            {},
            "detector",
            {"model"},
            {"model.decoder", "model.enc_score_head", "model.enc_bbox_head", "model.denoising_class_embed"},
        ),
        # segmenters and depth
        ("SegformerForSemanticSegmentation", "segformer", {}, "segmenter", {"segformer"}, {"decode_head"}),
        ("DPTForDepthEstimation", "dpt", {}, "other", {"dpt"}, {"neck", "head"}),
        ("DPTForSemanticSegmentation", "dpt", {}, "segmenter", {"dpt"}, {"neck", "head", "auxiliary_head"}),
        ("ViTMAEForPreTraining", "vit_mae", {}, "other", {"vit"}, {"decoder"}),
        # sound
        (
            "Wav2Vec2ForSequenceClassification",
            "wav2vec2",
            {},
            "other",
            {"wav2vec2"},
            {"projector", "classifier"},
        ),
        ("Wav2Vec2ForCTC", "wav2vec2", {}, "other", {"wav2vec2"}, {"lm_head"}),
        ("ASTForAudioClassification", "audio-spectrogram-transformer", {}, "other", None, {"classifier"}),
        ("WhisperForAudioClassification", "whisper", {}, "other", {"encoder"}, {"projector", "classifier"}),
    ],
)
def test_what_is_behind_an_encoder_is_a_task_head(class_name, model_type, config, kind, encoders, heads):
    record = described(class_name, model_type, **config)
    assert record.kind == kind
    found = parts(record)
    assert found.pop("task_head") == heads
    found.pop("other", None)  # weights of layers, mask tokens
    assert set(found) <= {"vision_encoder", "audio_encoder"}
    assert encoders is None or set.union(*found.values()) == encoders


@pytest.mark.parametrize(
    ("class_name", "model_type", "others"),
    [
        ("SamModel", "sam", {"prompt_encoder", "shared_image_embedding"}),
        ("SamHQModel", "sam_hq", {"prompt_encoder", "shared_image_embedding"}),
        ("Sam2Model", "sam2", {"prompt_encoder", "no_memory_embedding"}),
        ("Sam3TrackerModel", "sam3_tracker", {"prompt_encoder", "no_memory_embedding"}),
    ],
)
def test_a_segmenter_has_no_projector(class_name, model_type, others):
    record = described(class_name, model_type)
    assert record.kind == "segmenter"
    assert parts(record) == {"vision_encoder": {"vision_encoder"}, "task_head": {"mask_decoder"}, "other": others}


def test_a_segmenter_that_reads_text_has_a_text_tower_and_whole_decoders():
    record = described("Sam3Model", "sam3")
    found = parts(record)
    assert record.kind == "segmenter"
    assert found["vision_encoder"] == {"vision_encoder"}
    assert found["language_model"] == {"text_encoder.text_model"}
    assert {"mask_decoder", "detr_decoder", "dot_product_scoring"} <= found["task_head"]
    assert {"geometry_encoder", "detr_encoder"} <= found["other"]
    assert "projector" not in found


@pytest.mark.parametrize(
    ("class_name", "model_type", "text", "vision", "heads"),
    [
        (
            "OwlViTForObjectDetection",
            "owlvit",
            "owlvit.text_model",
            "owlvit.vision_model",
            {"class_head", "box_head", "owlvit.visual_projection"},
        ),
        (
            "Owlv2ForObjectDetection",
            "owlv2",
            "owlv2.text_model",
            "owlv2.vision_model",
            {"class_head", "box_head", "objectness_head"},
        ),
        (
            "GroundingDinoForObjectDetection",
            "grounding-dino",
            "model.text_backbone",
            "model.backbone",
            {"model.decoder", "bbox_embed"},
        ),
        (
            "MMGroundingDinoForObjectDetection",
            "mm-grounding-dino",
            "model.text_backbone",
            "model.backbone",
            {"model.decoder", "bbox_embed"},
        ),
    ],
)
def test_a_detector_that_reads_text_keeps_its_towers_apart(class_name, model_type, text, vision, heads):
    record = described(class_name, model_type)
    found = parts(record)
    assert record.kind == "detector"
    assert (found["language_model"], found["vision_encoder"]) == ({text}, {vision})
    assert heads <= found["task_head"]
    assert "projector" not in found


def test_a_tower_that_needs_a_package_does_not_turn_the_others_into_heads():
    record = describe(
        tree_of("OmDetTurboForObjectDetection", "omdet-turbo"), ModelIdentity("om", source="local"), "transformers"
    )
    found = parts(record)
    assert record.kind == "detector"
    assert found["language_model"] == {"language_backbone"}
    assert found["vision_encoder"] == {"vision_backbone.vision_backbone"}
    assert found["task_head"] == {"decoder"}
    assert "projector" not in found


@pytest.mark.parametrize(
    ("class_name", "model_type", "vlm", "towers"),
    [
        ("ColPaliForRetrieval", "colpali", "vlm", ("vision_tower", "multi_modal_projector", "language_model")),
        ("ColQwen2ForRetrieval", "colqwen2", "vlm", ("visual", "visual.merger", "language_model")),
        ("ColModernVBertForRetrieval", "colmodernvbert", "vlm", ("vision_model", "connector", "text_model")),
    ],
)
def test_a_retrieval_head_is_behind_the_language_model(class_name, model_type, vlm, towers):
    record = described(class_name, model_type)
    vision, projector, language = ({f"{vlm}.{name}"} for name in towers)
    assert record.kind == "retrieval"
    assert parts(record) == {
        "vision_encoder": vision,
        "projector": projector,
        "language_model": language,
        "task_head": {"embedding_proj_layer"},
    }
    (head,) = record.by_role(Role.TASK_HEAD)
    assert [(stage.kind, stage.output_width) for stage in head.stages] == [("linear", 128)]


@pytest.mark.parametrize(
    ("class_name", "model_type"),
    [
        ("Gemma3ForSequenceClassification", "gemma3"),
        ("Qwen3_5ForSequenceClassification", "qwen3_5"),
        ("T5Gemma2ForSequenceClassification", "t5gemma2"),
        ("Qwen3_5ForTokenClassification", "qwen3_5"),
    ],
)
def test_a_score_behind_a_vision_language_model_is_a_task_head(class_name, model_type):
    record = described(class_name, model_type)
    found = parts(record)
    assert found["task_head"] == {"score"}
    assert {"vision_encoder", "projector", "language_model", "task_head"} == set(found)
    assert record.kind == "other"
    assert record.inputs  # the language model still reads images


@pytest.mark.parametrize(
    ("class_name", "model_type", "kind", "heads"),
    [
        ("BlipForConditionalGeneration", "blip", "vision-language", None),
        ("BlipForQuestionAnswering", "blip", "vision-language", None),
        ("BlipForImageTextRetrieval", "blip", "retrieval", {"vision_proj", "text_proj", "itm_head"}),
        ("Blip2ForConditionalGeneration", "blip-2", "vision-language", None),
        ("BridgeTowerForImageAndTextRetrieval", "bridgetower", "retrieval", {"itm_score"}),
        ("ViltForImageAndTextRetrieval", "vilt", "retrieval", {"rank_output"}),
        ("ViltForQuestionAnswering", "vilt", "other", {"classifier"}),
        ("VisualBertForQuestionAnswering", "visual_bert", "other", {"cls"}),
        ("LxmertForQuestionAnswering", "lxmert", "other", {"answer_head"}),
        ("CLIPSegForImageSegmentation", "clipseg", "segmenter", {"decoder", "clip.text_projection"}),
        ("XCLIPModel", "xclip", "dual-encoder", PROJECTIONS),
        ("FlavaModel", "flava", "dual-encoder", {"image_projection", "text_projection", "logit_scale"}),
        ("ClapModel", "clap", "dual-encoder", {"audio_projection", "text_projection", "logit_scale_a"}),
        ("WhisperForConditionalGeneration", "whisper", "audio-language", None),
        ("BertModel", "bert", "text", None),
        ("BertForSequenceClassification", "bert", "text", {"classifier"}),
        ("LlavaModel", "llava", "vision-language", None),
        ("Qwen2AudioModel", "qwen2_audio", "audio-language", None),
    ],
)
def test_the_kind_of_a_task_class(class_name, model_type, kind, heads):
    record = described(class_name, model_type)
    found = parts(record)
    assert record.kind == kind
    assert heads is None or heads <= found["task_head"]
    assert heads is not None or "task_head" not in found
    assert "language_model" in found


def test_the_fusion_layers_of_a_dual_encoder_have_no_role():
    found = parts(described("FlavaModel", "flava"))
    assert found["other"] == {"multimodal_model"}
    assert (found["language_model"], found["vision_encoder"]) == ({"text_model"}, {"image_model"})
    record = described("BridgeTowerModel", "bridgetower")
    found = parts(record)
    cross_modal = {path for path in found["other"] if "layers" in path}
    assert cross_modal == {"cross_modal_image_layers", "cross_modal_text_layers"}
    assert found["task_head"] == {"cross_modal_image_pooler", "cross_modal_text_pooler"}
    tower = next(part for part in record.components if part.role.value == "vision_encoder")
    assert (tower.layer_count, tower.layers[0].class_name) == (12, "BridgeTowerResidualAttention")


def test_an_encoder_decoder_for_speech_keeps_its_encoder():
    found = parts(described("WhisperForConditionalGeneration", "whisper"))
    assert found == {"audio_encoder": {"model.encoder"}, "language_model": {"model.decoder"}, "lm_head": {"proj_out"}}


def test_no_active_parameters_without_a_language_model():
    assert described("ViTForImageClassification", "vit").parameters.active is None


TASKS = {
    "IMAGE_CLASSIFICATION": "image-classifier",
    "OBJECT_DETECTION": "detector",
    "ZERO_SHOT_OBJECT_DETECTION": "detector",
    "SEMANTIC_SEGMENTATION": "segmenter",
    "INSTANCE_SEGMENTATION": "segmenter",
    "MASK_GENERATION": "segmenter",
    "RETRIEVAL": "retrieval",
    "ZERO_SHOT_IMAGE_CLASSIFICATION": None,
    "DEPTH_ESTIMATION": "other",
    "MASKED_IMAGE_MODELING": "other",
    "AUDIO_CLASSIFICATION": "other",
    "CTC": "other",
}
"""transformers' auto classes, and the kind of their models; None: several."""


def classes_of(task):
    mapping = getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES")
    for model_type, names in mapping.items():
        yield from ((name, model_type) for name in ([names] if isinstance(names, str) else names))


@pytest.mark.parametrize("task", TASKS)
def test_every_class_of_a_task(task):
    built = 0
    for class_name, model_type in classes_of(task):
        try:
            tree = tree_of(class_name, model_type)
        except VlmInspectError:  # a default that transformers cannot build, or a package that is not installed
            continue
        if tree.missing_modules:
            continue
        built += 1
        record = record_of(tree)
        found = set(parts(record))
        if "lm_head" not in found and TASKS[task]:
            assert record.kind == TASKS[task], class_name
        assert {"vision_encoder", "audio_encoder"} & found, class_name
        assert "projector" not in found or "language_model" in found, class_name
        if tree.modalities in {("image",), ("audio",)}:
            assert "lm_head" not in found, class_name
            assert "projector" not in found, class_name
        if re.search("For[A-Z]", class_name) and "lm_head" not in found:
            assert "task_head" in found, class_name
        encoders = sum(part.parameters for part in record.components if part.role in ENCODERS)
        assert encoders > 0, class_name
        assert all("no module of the built model has this role" not in why for why in record.absent.values())
    assert built > 0
