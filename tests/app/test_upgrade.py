"""The transformers upgrade from 5.5.4 to 5.6.0, from snapshots taken under both versions."""

from pathlib import Path

import pytest

from vlm_inspect.compare.compare import compare
from vlm_inspect.core.snapshot import CheckResult
from vlm_inspect.render.check import report_lines
from vlm_inspect.storage import snapshots

FOLDER = Path(__file__).parent / "upgrade"
TYPES = sorted(path.stem for path in (FOLDER / "5.5.4").glob("*.json"))


def difference(model_type):
    before, after = (
        snapshots.read(FOLDER / version / f"{model_type}.json").snapshot for version in ("5.5.4", "5.6.0")
    )
    return compare(before, after)


@pytest.mark.parametrize(
    ("model_type", "moves"),
    [
        ("llava", [("model.vision_tower.vision_model", "model.vision_tower", 391)]),
        ("deepseek_vl", [("model.vision_model.vision_model", "model.vision_model", 208)]),
        (
            "video_llava",
            [
                ("model.image_tower.vision_model", "model.image_tower", 391),
                ("model.video_tower.vision_model", "model.video_tower", 391),
            ],
        ),
    ],
)
def test_a_level_that_went_is_one_move_and_nothing_else(model_type, moves):
    found = difference(model_type)
    assert sorted((move.before, move.after, move.tensors) for move in found.moves) == moves
    assert not found.changes
    assert not found.paths


def test_a_tree_that_changed_without_a_parameter_moving_is_told():
    found = difference("evolla")
    assert not found.moves
    assert {path.what for path in found.paths} == {"module"}


def test_a_head_that_became_tied_changes_the_total():
    found = difference("janus")
    assert [(change.field, change.before, change.after) for change in found.changes] == [("tied", False, True)]
    assert found.total_after < found.total_before


def test_what_did_not_change_is_silent():
    assert difference("qwen2_vl").empty


def test_the_cause_is_said_once_over_all():
    verdicts = [
        CheckResult(name, f"{name}.json", "different", "library", found)
        for name in TYPES
        if not (found := difference(name)).empty
    ]
    moved = [line.text for line in report_lines(verdicts) if line.sign == ">"]
    assert moved == ["….vision_model.* → ….*: 3 models, 1,381 tensors moved"]
