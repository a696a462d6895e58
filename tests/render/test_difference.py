"""A difference in every format, at every width, and with hostile names."""

import json
import re

import pytest
from markdown_it import MarkdownIt
from msgspec.structs import fields, replace
from rich.cells import cell_len

from tests.render.differences import COMPONENTS, DIFFERENCES, SAME, SAME_BUT_UNKNOWN, TOWERS, UPGRADE, named
from tests.render.readers import markdown_rows, read_page
from tests.render.test_formats import HOSTILE
from vlm_inspect.core.difference import Change, Difference, KindValue
from vlm_inspect.render import FORMATS, render
from vlm_inspect.render.cells import plain_text
from vlm_inspect.render.diff import build_report, difference_tables
from vlm_inspect.render.diff_markdown import difference_markdown
from vlm_inspect.render.diff_text import change_cells, value_cell
from vlm_inspect.render.json import difference_data, difference_json, difference_names
from vlm_inspect.render.terminal.diff import difference_text

WIDTHS = (20, 40, 60, 80, 100, 140, 200)


def terminal(difference, width=100, *, colour=False):
    return difference_text(build_report(difference), width=width, colour=colour)


@pytest.mark.parametrize("width", [40, 100])
@pytest.mark.parametrize("name", DIFFERENCES)
def test_terminal(name, width, golden):
    golden(f"difference.{name}.{width}.txt", terminal(DIFFERENCES[name], width))


@pytest.mark.parametrize("name", DIFFERENCES)
def test_markdown(name, golden):
    golden(f"difference.{name}.md.txt", difference_markdown(build_report(DIFFERENCES[name])))


@pytest.mark.parametrize("name", DIFFERENCES)
def test_json(name, golden):
    golden(f"difference.{name}.json", difference_json(DIFFERENCES[name]))


def test_html(golden):
    golden("difference.towers.html.txt", render(difference_tables(build_report(TOWERS)), "html"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", DIFFERENCES)
def test_no_line_is_wider_than_the_terminal(name, width):
    lines = terminal(DIFFERENCES[name], width).splitlines()
    assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("width", [20, 80])
@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_widen_no_line_and_send_no_control_characters(value, width):
    lines = terminal(named(value), width).splitlines()
    assert max(cell_len(line) for line in lines) <= width
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.parametrize("width", [40, 100])
def test_colour_changes_nothing_but_colour(name, width):
    coloured = terminal(DIFFERENCES[name], width, colour=True)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in bare.splitlines()] == terminal(DIFFERENCES[name], width).splitlines()


def test_before_is_red_and_after_is_green():
    coloured = terminal(TOWERS, colour=True)
    assert re.search(r"\x1b\[31m24 *\x1b", coloured)
    assert re.search(r"\x1b\[32m27 *\x1b", coloured)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_in_markdown(value):
    written = difference_markdown(build_report(named(value)))
    assert written.replace("\n", "").isprintable()
    rows = markdown_rows(written)
    assert {len(row) for row in rows} == {4}
    assert len(rows) == 5  # the headers, two facts, the component's parameters, the model's
    tokens = MarkdownIt("commonmark").enable("table").parse(written)
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h3"]
    assert not [token for token in tokens if token.type in {"html_block", "fence", "code_block"}]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", FORMATS)
def test_hostile_names_in_the_formats_of_tables(name, value):
    written = render(difference_tables(build_report(named(value))), name)
    assert written.replace("\n", "").isprintable()
    if name == "html":
        assert not {"script", "b", "img"} & set(read_page(written).tags)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_in_json_and_as_names(value):
    assert json.loads(difference_json(named(value)))["moves"][0]["before"] == value
    assert difference_json(named(value)).replace("\n", "").isprintable()
    names = difference_names(named(value))
    assert names.replace("\n", "").isprintable()
    assert len(names.splitlines()) == 4 if value else True


def test_a_long_list_of_paths_is_collapsed_in_markdown():
    written = difference_markdown(build_report(DIFFERENCES["paths"]))
    before, _, after = written.partition("<details>\n<summary><b>Modules and tensors</b> (13)</summary>\n\n")
    assert "rotary_emb" not in before
    assert after.count("\n- ") + 1 == 13
    assert "\n\n</details>" in after


@pytest.mark.parametrize("name", DIFFERENCES)
def test_json_has_every_key_always(name):
    data = difference_data(DIFFERENCES[name])
    assert {*data} == {field.name for field in fields(Difference)} | {"counts", "empty"}
    assert {*data["counts"]} == {"changed", "moved", "added", "removed"}
    for change in data["changes"]:
        assert {*change} == {"kind", "roles", "field", "before", "after", "pairs"}
    for change in data["paths"]:
        assert {*change} == {"kind", "path", "what", "count", "before", "after", "moved_from"}
    for pair in data["pairs"]:
        assert len(pair) == 9


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_signs_in_a_terminal_add_up_to_the_summary(name):
    difference = DIFFERENCES[name]
    if difference.empty:
        return
    report = build_report(difference)
    signs = [line.sign for section in report.sections for line in section.lines]
    signs += [path.sign for path in (*report.moves, *report.paths)]
    # an added or removed component, or one with only another parameter count, has a line of its own
    signs += [{"added": "+", "removed": "-"}.get(section.state) for section in report.sections]
    parameters = sum(change.field == "parameters" for change in difference.changes)
    counts = difference.counts()
    assert [signs.count(sign) for sign in "+-~>"] == [
        counts["added"],
        counts["removed"],
        counts["changed"] - parameters,
        counts["moved"],
    ]


def test_names_only():
    assert difference_names(TOWERS).splitlines()[:3] == [
        "vision_encoder.class",
        "vision_encoder.layers",
        "vision_encoder.image size",
    ]
    assert difference_names(UPGRADE) == (
        "model.vision_tower.vision_model.* -> model.vision_tower.*\n* -> model.*\nlm_head.w -> lm_head.weight\n"
    )
    assert difference_names(DIFFERENCES["vocabulary"]) == "language_model+lm_head.vocabulary\n"
    assert not difference_names(SAME)


def test_no_difference_is_one_line():
    assert terminal(SAME) == "No difference.\n"
    assert terminal(SAME_BUT_UNKNOWN, 200) == (
        "No difference (transformers 5.5.4 → 5.6.0). 5 facts could not be compared (remote code).\n"
    )


def test_an_added_or_removed_component_is_a_line():
    text = terminal(COMPONENTS)
    assert "- Vision encoder 1  model.vision_tower, CLIPVisionModel, 24 layers, 304M  removed\n" in text
    assert "+ Vision encoder 2  model.vision_tower, CLIPVisionModel, 24 layers, 304M  added\n" in text


def test_html_has_the_rows_of_the_terminal():
    rows = read_page(render(difference_tables(build_report(TOWERS)), "html")).rows
    assert ["Vision encoder", "image size", "336 x 336", "384 x 384"] in rows
    assert ["Language model", "model.language_model", "LlamaModel, 32 layers, 7.50B", "unchanged"] in rows


MANY_KINDS = "kind 0: 0; kind 1: 1; kind 2: 2; kind 3: 3; kind 4: 4; kind 5: 5; … (9 kinds)"
DENSE_AND_SPARSE = "2 x dense + 1 x mixture of experts, 4 times"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("patch size", (14, 14), "14 x 14"),
        ("tied", True, "yes"),
        ("MLP gated", False, "no"),
        ("norm eps", 1e-05, "1e-05"),
        ("norm eps", "1e-05 / 1e-06", "1e-05 / 1e-06"),
        ("inner widths", (4096, 1024), "4096, 1024"),
        ("steps", ("Linear", "GELU"), "Linear + GELU"),
        ("steps", (), "none"),
        ("norms", ("norm1", "norm2"), "norm1, norm2"),
        ("parameters", 1234567, "1,234,567"),
        ("width", 4096, "4096"),
        ("width", None, "none"),
        ("stack 1 layer order", ("dense", "dense", "mixture of experts") * 4, DENSE_AND_SPARSE),
        ("rotary base", (KindValue("full", 1e6), KindValue("sliding", 1e4)), "full: 1000000; sliding: 10000"),
        ("heads", (KindValue("a", 8), KindValue("b", 4), KindValue("c", 8)), "a and c: 8; b: 4"),
        ("norms", (KindValue("a", ("n", "m")), KindValue("b", ("n",))), "a: n, m; b: n"),
        ("heads", tuple(KindValue(f"kind {n}", n) for n in range(9)), MANY_KINDS),
        ("layer order", ("kind 1", "kind 2", "kind 2"), "1 x kind 1 + 2 x kind 2"),
        ("layer order", ("sliding", "full") * 10 + ("sliding",), "1 x sliding, then 1 x full + 1 x sliding, 10 times"),
        ("rotary base", 1000000.0, "1000000"),
        ("rotary factor", 0.25, "0.25"),
    ],
)
def test_values(field, value, expected):
    assert plain_text(value_cell(field, value)) == expected


def test_a_value_of_some_layers_is_not_confused_with_that_of_all():
    some, every = (KindValue("full", 8),), 8
    cells = change_cells(Change((), "heads", some, every)), change_cells(Change((), "heads", every, some))
    assert [[plain_text(cell) for cell in pair] for pair in cells] == [
        ["full: 8", "all layers: 8"],
        ["all layers: 8", "full: 8"],
    ]
    assert [plain_text(cell) for cell in change_cells(Change((), "heads", some, 4))] == ["full: 8", "4"]
    assert [plain_text(cell) for cell in change_cells(Change((), "norms", ("a",), None))] == ["a", "none"]


def test_classes_are_code_and_prose_is_not():
    assert value_cell("class", "CLIPModel")[0].code
    assert not value_cell("attention kind", "multi-head")[0].code
    assert not value_cell("norm eps", "1e-05 / 1e-06")[0].code


def test_an_added_or_removed_component_has_its_path():
    tower = DIFFERENCES["components"].pairs[0]
    for pair in (tower, replace(tower, before=None, after=tower.before)):
        difference = replace(COMPONENTS, pairs=(pair, *COMPONENTS.pairs[1:]))
        assert re.search(r"Vision encoder \d  model.vision_tower, CLIPVisionModel", terminal(difference))
        assert re.search(
            r"Vision encoder \d \(`model.vision_tower`, `CLIPVisionModel`",
            difference_markdown(build_report(difference)),
        )
        assert difference_data(difference)["pairs"][0]["before" if pair.before else "after"] == "model.vision_tower"


@pytest.mark.parametrize("width", range(60, 140, 10))
def test_no_class_name_is_cut(width):
    text = terminal(TOWERS, width)
    for change in TOWERS.changes:
        for value in (change.before, change.after):
            if isinstance(value, str):
                assert value in text
