import json

import pytest

from tests.render.records import COMMIT, FUYU, GEMMA3, LLAVA, PHI3, QWEN, RECORDS
from vlm_inspect.core.codec import architecture_from_data, to_data
from vlm_inspect.core.errors import HubUnavailableError, SettingsError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.render.cells import Failure, Row, plain_text
from vlm_inspect.render.columns import COLUMNS, KINDS, column_ids, select_columns
from vlm_inspect.render.json import record_json, records_json
from vlm_inspect.render.table import build_table

SEED_TITLES = {
    "architectures": [
        "Model Name",
        "Model Class",
        "Vision Model",
        "Vision Layers",
        "Vision Embeddings",
        "Vision Self Attention",
        "Vision MLP",
        "Vision LayerNorm",
        "Multi-Modal Projector",
        "Language Model",
        "Language Layers",
        "Language Self Attention",
        "Language MLP",
        "Language LayerNorm",
        "LM Head",
    ],
    "comparison": [
        "Model",
        "# of Parameters",
        "Architecture",
        "Vision Encoder",
        "Pooling",
        "Modality Projection",
        "Language Model Backbone",
        "Fine-tuning Method",
        "Flash Attention",
        "Hugging Face Model Card URL",
    ],
}


def row_of(record, *ids):
    return [plain_text(cell) for cell in build_table("architectures", [Row("m", record)], ids).rows[0]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_are_the_seeds(kind):
    assert [column.title for column in select_columns(kind)] == SEED_TITLES[kind]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.kind}-{column.id}")
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_column_has_text_for_every_record(record, column):
    assert plain_text(column.cell(Row("a name", record))).strip()


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.kind}-{column.id}")
def test_a_column_can_be_chosen_for_any_table(column):
    for kind in KINDS:
        assert build_table(kind, [Row("m", LLAVA)], [column.id]).headers != ()


def test_a_column_name_of_both_kinds_means_the_tables_own():
    assert [select_columns(kind, ["model"])[0].kind for kind in KINDS] == list(KINDS)


def test_an_unknown_column_lists_the_valid_ones():
    with pytest.raises(SettingsError) as error:
        select_columns("architectures", ["model", "colour"])
    assert error.value.message == "there is no column 'colour'."
    assert error.value.hint == f"Choose from: {', '.join(column_ids())}"


def test_exact_parameters():
    assert row_of(LLAVA, "total_parameters", "vision_parameters", "head_parameters", "other_parameters") == [
        "7,063,427,072",
        "303,507,456",
        "131,334,144",
        "none",
    ]
    assert row_of(GEMMA3, "head_parameters") == ["0"]
    assert row_of(QWEN, "other_parameters") == ["3,635,004,096"]
    assert row_of(FUYU, "vision_parameters") == ["none"]
    assert (
        row_of(PHI3, "total_parameters", "vision_parameters", "projector_parameters", "other_parameters")
        == ["unknown (needs remote code)"] * 4
    )


def test_source_columns():
    assert row_of(LLAVA, "model_type", "builder", "commit") == ["llava", "transformers", COMMIT]
    assert row_of(PHI3, "builder", "commit") == ["config", "—"]


FAILED = Row("org/gone", error=Failure("ModelNotFoundError", "org/gone is not on the Hub.", "Log in."))


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_row_keeps_its_position_and_shows_the_error(kind):
    table = build_table(kind, [Row("a", LLAVA), FAILED, Row("b", FUYU)])
    assert [plain_text(row[0]) for row in table.rows] == ["a", "org/gone", "b"]
    assert [plain_text(cell) for cell in table.rows[1]][1:] == [
        "error: org/gone is not on the Hub.",
        *["—"] * (len(table.headers) - 2),
    ]


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        (["model"], ["org/gone — error: org/gone is not on the Hub."]),
        (["lm_head", "model"], ["error: org/gone is not on the Hub.", "org/gone"]),
        (["commit"], ["error: org/gone is not on the Hub."]),
    ],
)
def test_a_failure_is_shown_with_any_columns(columns, cells):
    (row,) = build_table("architectures", [FAILED], columns).rows
    assert [plain_text(cell) for cell in row] == cells


def test_equal_notes_of_several_models_are_merged():
    table = build_table("comparison", [Row("a", PHI3), Row("b", PHI3), Row("c", LLAVA)])
    assert table.notes == (f"a, b: {PHI3.notes[0]}",)


def test_records_as_json(golden):
    written = records_json([Row("alias", LLAVA), FAILED])
    first, second = json.loads(written)
    assert architecture_from_data(first) == LLAVA
    assert second == {
        "model": {"id": "org/gone"},
        "error": {
            "type": "ModelNotFoundError",
            "message": "org/gone is not on the Hub.",
            "hint": "Log in.",
        },
    }
    golden("records.json", written)


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_record_as_json_is_the_codecs(record):
    assert json.loads(record_json(record)) == json.loads(json.dumps(to_data(record)))


def test_a_failure_has_the_message_and_hint_of_the_error():
    error = HubUnavailableError("No answer.", hint="Try --offline.", model="a/b")
    assert Failure.of(error) == Failure("HubUnavailableError", "No answer.", "Try --offline.")
    assert Failure.of(ValueError("odd")) == Failure("ValueError", "odd", "")
    row = Row("alias", error=Failure.of(error), model=ModelIdentity("a/b", None, "hub"))
    assert json.loads(records_json([row]))[0]["model"]["id"] == "a/b"
