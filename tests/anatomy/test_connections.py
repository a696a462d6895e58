"""Which projectors are steps of one sequence, and which stand side by side."""

import pytest

from tests.anatomy.small_trees import TEXT, VISION, audio_encoder, layers, linear, model, module, norm, text, tower
from tests.every_type.answers import record_of
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.card import build_card
from vlm_inspect.render.cells import plain_text
from vlm_inspect.render.text import components


def connections(record):
    return {part.paths[0]: part.connection for part in record.by_role(Role.PROJECTOR)}


def connected(**children):
    record = describe(model(**children), ModelIdentity("m", source="local"), "transformers")
    return record, connections(record)


def cell(record):
    return plain_text(components.of_projectors(record, components.projector))


def feeds(model_type):
    """Projector → what reads its output, by last names; and the step of those that reach the text."""
    found = connections(record_of(model_type))
    return {
        path.rpartition(".")[2]: (each.feeds or "").rpartition(".")[2] or ", ".join(each.steps)
        for path, each in found.items()
    }


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        ("blip-2", {"qformer": "language_projection", "language_projection": "placeholders"}),
        ("instructblipvideo", {"qformer": "language_projection", "language_projection": "placeholders"}),
        ("hyperclovax_vision_v2", {"merger": "projector", "projector": "placeholders"}),
        ("llama4", {"vision_adapter": "multi_modal_projector", "multi_modal_projector": "placeholders"}),
        ("muse_glimmer", {"vision_adapter": "vision_projection", "vision_projection": "placeholders"}),
        (
            "deepseek_vl_hybrid",
            {
                "high_res_vision_neck": "high_res_vision_proj",
                "high_res_vision_proj": "aligner",
                "aligner": "placeholders",
            },
        ),
        ("mllama", {"multi_modal_projector": "cross-attention"}),
        ("granite_docling", {"connector": "placeholders, layers"}),
    ],
)
def test_steps_of_one_sequence_feed_each_other(model_type, expected):
    assert feeds(model_type) == expected


@pytest.mark.parametrize(
    ("model_type", "expected"),
    [
        ("qwen3_vl", {"merger": "placeholders", "deepstack_merger_list": "layers"}),
        ("cohere_compass", {"merger": "placeholders", "deepstack_merger_list": "layers"}),
        ("qwen3_omni_moe", {"proj1": "placeholders", "merger_list": "layers", "merger": "placeholders"}),
        ("granite4_vision", {"layerwise_projectors": "layers", "spatial_projectors": "layers"}),
        ("gemma3n", {"embed_vision": "placeholders", "embed_audio": "placeholders"}),
        ("gemma4_unified", {"embed_vision": "placeholders", "embed_audio": "placeholders"}),
        ("dots3_note", {"merger": "placeholders", "adapter": "placeholders"}),
        (
            "phi4_multimodal",
            {
                "img_projection_up": "placeholders",
                "up_proj_for_speech": "placeholders",
                "up_proj_for_vision_speech": "placeholders",
            },
        ),
    ],
)
def test_projectors_side_by_side_reach_the_text_on_their_own(model_type, expected):
    assert feeds(model_type) == expected


def test_each_projector_reads_the_encoder_of_its_modality():
    found = connections(record_of("qwen3_omni_moe"))
    read = {path.rpartition(".")[2]: (each.modality, each.reads, each.layers) for path, each in found.items()}
    assert read == {
        "proj1": ("audio", ("thinker.model.audio_tower",), ()),
        "merger_list": ("image", ("thinker.model.visual",), (8, 16, 24)),
        "merger": ("image", ("thinker.model.visual",), ()),
    }


def test_what_joins_two_towers_reads_the_sequence_of_one_and_the_other_tower():
    aligner = connections(record_of("deepseek_vl_hybrid"))["model.aligner"]
    assert aligner.reads == ("model.high_res_vision_proj", "model.vision_model")


def test_the_cell_names_what_parallel_projectors_read():
    merger = "LayerNorm(({},), eps=1e-06) + Linear(4608 -> 4608) + GELU + Linear(4608 -> 2048)"
    assert cell(record_of("qwen3_omni_moe")) == (
        "audio: Linear(1280 -> 1280) + GELU + Linear(1280 -> 2048); "
        f"image, layers 8, 16, 24: 3 x ({merger.format(4608)}); image: {merger.format(1152)}"
    )


def test_the_cell_names_parallel_projectors_of_one_encoder():
    assert cell(record_of("phi4_multimodal")) == (
        "image: Linear(1152 -> 3072) + GELU + Linear; "
        "audio, up_proj_for_speech: Linear(1024 -> 3072) + GELU + Linear; "
        "audio, up_proj_for_vision_speech: Linear(1024 -> 3072) + GELU + Linear"
    )


def test_a_sequence_has_no_label():
    assert cell(record_of("blip-2")) == "Blip2QFormerModel (12 layers, 32 query tokens) + Linear(768 -> 768)"


def test_one_projector_for_each_modality_by_width():
    record, found = connected(
        vision_tower=tower("SomeVisionModel"),
        audio_tower=audio_encoder("SomeAudioModel", 48),
        mm_projector_a=linear(48, TEXT),
        mm_projector_b=linear(VISION, TEXT),
        language_model=text(),
    )
    assert {path: each.modality for path, each in found.items()} == {
        "mm_projector_a": "audio",
        "mm_projector_b": "image",
    }
    assert cell(record) == f"audio: Linear(48 -> {TEXT}); image: Linear({VISION} -> {TEXT})"


def test_a_projector_that_takes_what_another_gives_follows_it():
    record, found = connected(
        vision_tower=tower("SomeVisionModel"),
        vision_adapter=module("SomeAdapter", norm=norm(VISION), out=linear(VISION, 48)),
        vision_projector=linear(48, TEXT),
        language_model=text(),
    )
    assert found["vision_adapter"].feeds == "vision_projector"
    assert found["vision_projector"].reads == ("vision_adapter",)
    assert cell(record) == f"LayerNorm(({VISION},)) + Linear({VISION} -> 48) + Linear(48 -> {TEXT})"


def test_two_projectors_that_a_third_joins_stand_side_by_side():
    record, found = connected(
        wide_vision_tower=tower("SomeVisionModel", 48),
        small_vision_tower=tower("SomeVisionModel"),
        wide_projector=linear(48, 40),
        small_projector=linear(VISION, 40),
        joint_projector=linear(80, TEXT),
        language_model=text(),
    )
    assert found["joint_projector"].reads == ("wide_projector", "small_projector")
    assert cell(record) == f"(Linear(48 -> 40) beside Linear({VISION} -> 40)) + Linear(80 -> {TEXT})"


def test_two_equal_projectors_to_the_text_width_are_parallel_even_if_they_could_be_chained():
    square = tower("SomeVisionModel", TEXT)
    _, found = connected(
        vision_tower=square, low_projector=linear(TEXT, TEXT), high_projector=linear(TEXT, TEXT), language_model=text()
    )
    assert [each.feeds for each in found.values()] == [None, None]


def card_lines(record):
    return {
        section.title: {label: plain_text(value) for label, value in section.lines if label in {"Reads", "Feeds"}}
        for section in build_card(record).sections
        if section.title.startswith("Projector")
    }


def test_the_card_says_what_each_of_several_projectors_reads_and_feeds():
    assert card_lines(record_of("qwen3_vl")) == {
        "Projector 1": {"Reads": "model.visual", "Feeds": "language model, placeholder tokens"},
        "Projector 2": {"Reads": "model.visual, layers 8, 16, 24", "Feeds": "language model, added between layers"},
    }
    assert card_lines(record_of("blip-2")) == {
        "Projector 1": {"Reads": "vision_model", "Feeds": "language_projection"},
        "Projector 2": {"Reads": "qformer", "Feeds": "language model, placeholder tokens"},
    }


def test_the_card_of_a_single_projector_has_no_such_lines():
    assert card_lines(record_of("llava")) == {"Projector": {}}


def test_what_nothing_shows_has_a_reason():
    (evolla,) = connections(record_of("evolla")).values()
    assert (evolla.modality, evolla.reads, evolla.steps) == (None, (), ())
    assert evolla.unknown == {
        "modality": "neither an encoder nor a name shows it",
        "steps": "the source does not show how its output reaches the text",
    }


def test_two_resamplers_of_one_class_read_one_encoder_each_on_its_own():
    resampler = module("SomeResampler", layers=layers(TEXT))
    _, found = connected(
        vision_tower=tower("SomeVisionModel"),
        image_resampler=resampler,
        video_resampler=resampler,
        language_model=text(),
    )
    assert [(each.modality, each.feeds) for each in found.values()] == [("image", None), ("video", None)]
