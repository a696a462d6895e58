"""The warning about ignored configuration keys in every format, and quantization as text."""

import pytest
from msgspec.structs import replace

from tests.render.records import GEMMA3, LLAVA, RECORDS
from vlm_inspect.core.architecture import Quantization
from vlm_inspect.core.codec import architecture_from_data, to_data
from vlm_inspect.core.module_tree import UnusedConfigKey
from vlm_inspect.render import FORMATS, render
from vlm_inspect.render.card import build_card, card_tables
from vlm_inspect.render.cells import Row, plain_text
from vlm_inspect.render.table import build_table
from vlm_inspect.render.terminal.card import card_text
from vlm_inspect.render.text.warnings import ignored_keys_warning, quantization_text

HARMLESS = UnusedConfigKey("vision_config.vocab_size", "32000")
DIM_EMBED = UnusedConfigKey(
    "vision_config.dim_embed",
    "[256, 512]",
    structural=True,
    built_instead="vision_config.embed_dim [128, 256]",
)
TOWER = UnusedConfigKey("mm_vision_tower", '"openai/clip-vit-large-patch14-336"', structural=True)
IGNORING = replace(LLAVA, unused_config_keys=(HARMLESS, DIM_EMBED, TOWER))
CLEAN = replace(LLAVA, unused_config_keys=(HARMLESS,))


def flat(text):
    return " ".join(text.replace("\\", "").replace("{", "").replace("}", "").split())


def test_the_warning_names_the_keys_their_values_and_what_was_built():
    assert ignored_keys_warning(IGNORING) == (
        "this may not be the model: LlavaForConditionalGeneration ignores 2 keys of config.json that define "
        "its structure, and was built with its own values instead: vision_config.dim_embed [256, 512] "
        '(built: vision_config.embed_dim [128, 256]), mm_vision_tower "openai/clip-vit-large-patch14-336".'
    )


def test_harmless_keys_are_no_warning():
    assert ignored_keys_warning(CLEAN) is None
    assert CLEAN.ignored_structural_keys == ()


def test_many_keys_are_truncated():
    keys = tuple(UnusedConfigKey(f"key_{number}_size", "1", structural=True) for number in range(40))
    assert ignored_keys_warning(replace(LLAVA, unused_config_keys=keys)).endswith("key_7_size 1 and 32 more.")


@pytest.mark.parametrize("kind", ["architectures", "comparison"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_table_marks_the_model_and_explains_below(name, kind):
    table = build_table(kind, [Row("good", LLAVA), Row("odd", IGNORING)])
    assert [plain_text(row[0]) for row in table.rows] == ["good", "odd (!)"]
    text = flat(render(table, name))
    assert "(!)" in text
    # notes are no data, and CSV leaves them out
    assert (name == "csv") != ("(!) odd: this may not be the model" in text)


@pytest.mark.parametrize("name", FORMATS)
def test_rows_of_models_without_a_warning_do_not_change(name):
    good = build_table("architectures", [Row("a", LLAVA), Row("b", GEMMA3)])
    listed = build_table("architectures", [Row("a", CLEAN), Row("b", replace(GEMMA3, unused_config_keys=(HARMLESS,)))])
    assert render(good, name) == render(listed, name)


def test_a_column_lists_the_keys():
    table = build_table("architectures", [Row("odd", IGNORING), Row("good", CLEAN)], ["ignored_config_keys"])
    assert [plain_text(row[0]) for row in table.rows] == ["vision_config.dim_embed, mm_vision_tower", "—"]


@pytest.mark.parametrize("width", [20, 40, 100])
def test_a_card_in_a_terminal_starts_with_the_warning(width):
    lines = card_text(build_card(IGNORING), width=width).splitlines()
    assert max(map(len, lines)) <= width
    text = "".join(lines).replace(" ", "")
    assert text.index("Warning:this") < text.index("Modeltype")


@pytest.mark.parametrize("name", FORMATS)
def test_a_card_has_the_warning_in_every_format(name):
    assert "this may not be the model" in flat(render(card_tables(build_card(IGNORING)), name))
    assert "Warning" not in render(card_tables(build_card(CLEAN)), name)


def test_the_record_has_every_unused_key():
    data = to_data(IGNORING)
    assert data["unused_config_keys"] == [
        {"path": "vision_config.vocab_size", "value": "32000", "structural": False},
        {
            "path": "vision_config.dim_embed",
            "value": "[256, 512]",
            "structural": True,
            "built_instead": "vision_config.embed_dim [128, 256]",
        },
        {"path": "mm_vision_tower", "value": '"openai/clip-vit-large-patch14-336"', "structural": True},
    ]
    assert architecture_from_data(data) == IGNORING
    assert "unused_config_keys" not in to_data(LLAVA)


def test_control_characters_in_keys_are_escaped():
    odd = replace(LLAVA, unused_config_keys=(UnusedConfigKey("a\x1b[31m_size", '"\u202e"', structural=True),))
    for name in FORMATS:
        for text in (render(build_table("comparison", [Row("odd", odd)]), name), card_text(build_card(odd))):
            assert "\x1b" not in text
            assert "\u202e" not in text


@pytest.mark.parametrize(
    ("quantization", "words"),
    [
        (Quantization("gptq", 4, None, (128,), "gptq"), "gptq, 4 bits, groups of 128"),
        (Quantization("fp8", 8, "e4m3", (128, 128)), "fp8, 8 bits, e4m3, blocks of 128 x 128"),
        (Quantization("aqlm"), "aqlm"),
        (Quantization("awq", 4, packing="gemm", path="text_config.q"), "awq, 4 bits, gemm (text_config)"),
    ],
)
def test_quantization_text(quantization, words):
    assert quantization_text(quantization) == words
    record = replace(LLAVA, quantization=quantization)
    assert architecture_from_data(to_data(record)) == record
    assert ("Quantization", words) in [(name, plain_text(cell)) for name, cell in build_card(record).about]
    table = build_table("architectures", [Row("m", record), Row("n", LLAVA)], ["quantization"])
    assert [plain_text(row[0]) for row in table.rows] == [words, "none"]


def test_cards_without_quantization_have_no_line_for_it():
    for record in RECORDS.values():
        assert "Quantization" not in dict(build_card(record).about)
