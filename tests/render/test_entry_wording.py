"""How images get in, as cards and tables say it."""

import pytest
from msgspec.structs import replace

from tests.render.records import LLAVA, MLLAMA
from vlm_inspect.core.architecture import Evidence, FusionStep, ModalityInput
from vlm_inspect.render.card import build_card
from vlm_inspect.render.cells import Row, plain
from vlm_inspect.render.table import build_table
from vlm_inspect.render.text.fusion import fusion_cell, fusion_lines

WHY = Evidence("image: placeholders", "code", "LlavaModel.forward: inputs_embeds = …")
PLACED = ModalityInput("image", ("placeholders",), "image_token_index", 32000, evidence=(WHY,))


def taking(*entries):
    return replace(LLAVA, inputs=entries)


def lines(record, *, explain=False):
    return [(title, plain(cell)) for title, cell in fusion_lines(record, explain=explain)]


def test_a_line_names_the_way_and_the_placeholder():
    assert lines(taking(PLACED)) == [("Image fusion", "placeholder tokens (image_token_index 32000)")]


def test_steps_are_told_in_order():
    way = ModalityInput("image", ("queries", "placeholders"))
    assert plain(fusion_cell(taking(way), "image")) == "learned queries, then placeholder tokens"


@pytest.mark.parametrize("step", FusionStep.__args__)
def test_every_step_has_words(step):
    assert plain(fusion_cell(taking(ModalityInput("image", (step,))), "image"))


def test_videos_that_go_the_images_way_are_not_told_twice():
    alike = taking(PLACED, ModalityInput("video", ("placeholders",), "video_token_index", 32001))
    assert plain(fusion_cell(alike, "image")) == "placeholder tokens"


def test_videos_that_go_another_way_are_told():
    unlike = taking(PLACED, ModalityInput("video", ("queries", "prefix")))
    told = "image: placeholder tokens; video: learned queries, then before the text"
    assert plain(fusion_cell(unlike, "image")) == told


def test_a_model_without_images_has_none():
    assert plain(fusion_cell(taking(ModalityInput("audio", ("addition",))), "image")) == "none"
    assert lines(taking()) == []


def test_an_unknown_way_says_why():
    lost = taking(ModalityInput("image", unknown={"steps": "nothing tells"}))
    assert plain(fusion_cell(lost, "image")) == "unknown (nothing tells)"


def test_a_model_that_was_not_built_says_why():
    unbuilt = replace(LLAVA, unknown={"inputs": "remote code"})
    assert plain(fusion_cell(unbuilt, "audio")) == "unknown (remote code)"
    assert lines(unbuilt) == [("Image fusion", "unknown (remote code)")]


def test_why_is_told_where_it_is_asked_for():
    assert lines(taking(PLACED), explain=True)[1] == (
        "Evidence",
        "image: placeholders, by code: LlavaModel.forward: inputs_embeds = …",
    )


def test_a_card_has_the_lines():
    crossed = replace(MLLAMA, inputs=(ModalityInput("image", ("cross-attention",)),))
    assert ("Image fusion", "cross-attention") in [
        (title, plain(cell)) for title, cell in build_card(crossed).about
    ]


def test_a_table_has_the_columns():
    table = build_table("architectures", [Row("m", taking(PLACED))], ["image_fusion", "audio_fusion"])
    assert (table.headers, [plain(cell) for cell in table.rows[0]]) == (
        ("Image Fusion", "Audio Fusion"),
        ["placeholder tokens", "none"],
    )
