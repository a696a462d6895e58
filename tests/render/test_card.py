import re

import pytest
from rich.cells import cell_len

from tests.render.readers import markdown_rows
from tests.render.records import GEMMA3, LLAVA, MLLAMA, PHI3, RECORDS
from vlm_inspect.render import FORMATS, render
from vlm_inspect.render.card import build_card, card_tables
from vlm_inspect.render.cells import plain_text
from vlm_inspect.render.terminal.card import card_text
from vlm_inspect.render.terminal.console import progress_bar


@pytest.mark.parametrize("name", RECORDS)
def test_cards(name, golden):
    golden(f"card.{name}.txt", card_text(build_card(RECORDS[name], explain=True), width=100))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("name", RECORDS)
def test_a_card_is_never_wider_than_the_terminal(name, width):
    lines = card_text(build_card(RECORDS[name], explain=True), width=width).splitlines()
    assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("name", FORMATS)
def test_a_card_in_every_format(name, golden):
    tables = card_tables(build_card(GEMMA3, explain=True))
    golden(f"card.gemma3.{name}.txt", render(tables, name))


@pytest.mark.parametrize("name", RECORDS)
def test_component_parameters_add_up_to_the_total(name):
    card = build_card(RECORDS[name])
    if card.total is not None:
        assert sum(section.parameters for section in card.sections) == card.total
    rows = markdown_rows(render(card_tables(card)[1], "markdown"))
    assert len(rows) == 1 + len(card.sections) + len(card.absent) + len(card.unknown) + (card.total is not None)


def test_evidence_is_shown_only_with_explain():
    assert "get_encoder" not in card_text(build_card(LLAVA))
    assert 'get_encoder(modality="image") answered' in card_text(build_card(LLAVA, explain=True), width=200)
    assert [table.title for table in card_tables(build_card(LLAVA, explain=True))][-1] == "Evidence"


def test_the_displayed_name_can_be_an_alias():
    assert card_text(build_card(LLAVA, name="my llava")).startswith("my llava\n")


def test_unknown_values_have_reasons():
    card = build_card(PHI3)
    assert plain_text(card.headline) == "Phi3VForCausalLM, parameters unknown (needs remote code)"
    assert [name for name, _ in card.unknown] == ["Projector", "LM head"]
    assert card.total is None


def test_indices_of_rare_layers():
    assert "8 x MllamaCrossAttentionDecoderLayer, 218,112,258 parameters each, at 3, 8, 13, 18, 23, 28" in (
        card_text(build_card(MLLAMA), width=200)
    )


def test_text_is_the_same_with_and_without_colour():
    card = build_card(GEMMA3)
    coloured = re.sub(r"\x1b\[[0-9;]*m", "", card_text(card, colour=True))
    assert [line.rstrip() for line in coloured.splitlines()] == card_text(card).splitlines()


@pytest.mark.parametrize(
    ("part", "total", "drawn"),
    [(0, 8, ""), (1, 10**9, "▏"), (1, 2, "██"), (8, 8, "████"), (9, 8, "████"), (5, 8, "██▌"), (1, 0, "")],
)
def test_progress_bars(part, total, drawn):
    assert progress_bar(part, total, 4) == drawn
