"""How images and other inputs enter the model, in cards and tables."""

import pytest
from msgspec.structs import replace

from tests.render.records import LLAVA, MLLAMA
from vlm_inspect.core.architecture import Evidence, FusionStep, ModalityInput
from vlm_inspect.render.card import build_card
from vlm_inspect.render.cells import Row, plain_text
from vlm_inspect.render.table import build_table
from vlm_inspect.render.text.fusion import fusion_cell, fusion_lines

EVIDENCE = Evidence("image: placeholders", "code", "LlavaModel.forward: inputs_embeds = …")
PLACEHOLDERS = ModalityInput("image", ("placeholders",), "image_token_index", 32000, evidence=(EVIDENCE,))


def with_inputs(*entries):
    return replace(LLAVA, inputs=entries)


def lines(record, *, explain=False):
    return [(title, plain_text(cell)) for title, cell in fusion_lines(record, explain=explain)]


def test_a_line_has_the_steps_and_the_placeholder_token():
    assert lines(with_inputs(PLACEHOLDERS)) == [("Image fusion", "placeholder tokens (image_token_index 32000)")]


def test_steps_are_in_order():
    entry = ModalityInput("image", ("queries", "placeholders"))
    assert plain_text(fusion_cell(with_inputs(entry), "image")) == "learned queries, then placeholder tokens"


@pytest.mark.parametrize("step", FusionStep.__args__)
def test_every_step_has_a_description(step):
    assert plain_text(fusion_cell(with_inputs(ModalityInput("image", (step,))), "image"))


def test_videos_with_the_steps_of_images_are_not_repeated():
    same = with_inputs(PLACEHOLDERS, ModalityInput("video", ("placeholders",), "video_token_index", 32001))
    assert plain_text(fusion_cell(same, "image")) == "placeholder tokens"


def test_videos_with_other_steps_are_listed():
    different = with_inputs(PLACEHOLDERS, ModalityInput("video", ("queries", "prefix")))
    text = "image: placeholder tokens; video: learned queries, then before the text"
    assert plain_text(fusion_cell(different, "image")) == text


def test_a_model_without_images():
    assert plain_text(fusion_cell(with_inputs(ModalityInput("audio", ("addition",))), "image")) == "none"
    assert lines(with_inputs()) == []


def test_unknown_steps_have_a_reason():
    unknown = with_inputs(ModalityInput("image", unknown={"steps": "nothing tells"}))
    assert plain_text(fusion_cell(unknown, "image")) == "unknown (nothing tells)"


def test_a_model_that_was_not_built_has_a_reason():
    not_built = replace(LLAVA, unknown={"inputs": "remote code"})
    assert plain_text(fusion_cell(not_built, "audio")) == "unknown (remote code)"
    assert lines(not_built) == [("Image fusion", "unknown (remote code)")]


def test_explain_adds_the_evidence():
    assert lines(with_inputs(PLACEHOLDERS), explain=True)[1] == (
        "Evidence",
        "image: placeholders, by code: LlavaModel.forward: inputs_embeds = …",
    )


def test_lines_of_a_card():
    record = replace(MLLAMA, inputs=(ModalityInput("image", ("cross-attention",)),))
    assert ("Image fusion", "cross-attention") in [
        (title, plain_text(cell)) for title, cell in build_card(record).about
    ]


def test_columns_of_a_table():
    table = build_table("architectures", [Row("m", with_inputs(PLACEHOLDERS))], ["image_fusion", "audio_fusion"])
    assert (table.headers, [plain_text(cell) for cell in table.rows[0]]) == (
        ("Image Fusion", "Audio Fusion"),
        ["placeholder tokens", "none"],
    )
