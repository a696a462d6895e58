"""Sub-models whose package is not installed: all others are built."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from transformers import LlamaModel, TimmWrapperModel

from tests.cli.program import run
from tests.every_type import NEEDS_EXTRA, config_of
from tests.every_type.answers import record_of, tree_of
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.app import snapshots as app_snapshots
from vlm_inspect.app.requests import Request
from vlm_inspect.builders.transformers import build, missing_packages
from vlm_inspect.compare.compare import compare
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.errors import BrokenEnvironmentError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.snapshot import Snapshot
from vlm_inspect.render.cells import Row
from vlm_inspect.render.table import build_table
from vlm_inspect.render.tree import tree_data, tree_text
from vlm_inspect.settings import tomllib
from vlm_inspect.storage import snapshots
from vlm_inspect.storage.snapshots import SnapshotFile

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
TOWER = "model.vision_tower"
REASONS = {
    "fast_vlm": 'needs pillow and timm: pip install "vlm-inspect[timm]"',
    "gemma3n": 'needs pillow and timm: pip install "vlm-inspect[timm]"',
    "inkling_mm_model": 'needs scipy: pip install "vlm-inspect[scipy]"',
    "perception_lm": 'needs pillow and timm: pip install "vlm-inspect[timm]"',
}


@pytest.fixture(scope="module", params=NEEDS_EXTRA)
def without(request):
    """The tree and the record of a type whose extra is not installed."""
    tree = build.build(config_of(request.param), request.param)
    return request.param, tree, describe(tree, ModelIdentity(request.param, source="local"), "transformers")


def test_the_tower_keeps_its_place_and_its_class(without):
    model_type, tree, record = without
    (tower,) = record.by_role(Role.VISION_ENCODER)
    assert tower.paths == (TOWER,)
    assert tower.class_name == record_of(model_type).by_role(Role.VISION_ENCODER)[0].class_name
    assert tree.missing_modules == {TOWER: REASONS[model_type]}


def test_its_parameters_are_unknown_with_the_package_to_install(without):
    model_type, _, record = without
    (tower,) = record.by_role(Role.VISION_ENCODER)
    assert tower.parameters is None
    assert tower.unknown["parameters"] == tower.unknown["stacks"] == REASONS[model_type]
    assert not tower.stacks


def test_a_total_without_a_part_is_unknown(without):
    model_type, _, record = without
    assert record.parameters.total is None
    assert record.parameters.unknown["total"] == REASONS[model_type]


def test_every_other_component_is_the_same(without):
    model_type, _, record = without
    full = record_of(model_type)
    assert [part.paths for part in record.components] == [part.paths for part in full.components]
    for part, other in zip(record.components, full.components, strict=True):
        if part.paths != (TOWER,):
            assert part == other


def test_no_role_is_absent_that_may_be_in_the_missing_part(without):
    _, _, record = without
    assert not record.absent


def test_a_note_says_what_to_install(without):
    model_type, tree, _ = without
    assert any(REASONS[model_type] in note for note in tree.notes)


def test_classes_are_restored(without):
    _, tree, _ = without
    assert tree.missing_modules
    assert TimmWrapperModel.__init__.__qualname__ == "TimmWrapperModel.__init__"
    with pytest.raises(ImportError, match="timm"):
        TimmWrapperModel(TimmWrapperModel.config_class())


def test_a_model_whose_own_package_is_missing_is_an_error():
    config = {"model_type": "timm_wrapper", "architectures": ["TimmWrapperModel"], "architecture": "resnet50"}
    with pytest.raises(BrokenEnvironmentError, match="needs a package that is not installed") as caught:
        build.build(config, "org/tower")
    assert caught.value.hint == 'pip install "vlm-inspect[timm]"'


@pytest.mark.parametrize("name", ["Detr", "ConditionalDetr", "TableTransformer"])
def test_a_model_that_reads_its_missing_part_is_an_error(name):
    kind = {"Detr": "detr", "ConditionalDetr": "conditional_detr", "TableTransformer": "table-transformer"}[name]
    with pytest.raises(BrokenEnvironmentError, match="needs a package that is not installed") as caught:
        build.build({"model_type": kind, "architectures": [f"{name}ForObjectDetection"]}, "org/name")
    assert caught.value.hint == 'pip install "vlm-inspect[timm]"'


def test_a_missing_language_model_is_an_error(monkeypatch):
    def refuse(*_, **__):
        raise ImportError("LlamaModel requires x: `pip install x`")

    monkeypatch.setattr(LlamaModel, "__init__", refuse)
    with pytest.raises(BrokenEnvironmentError, match="LlamaModel requires x"):
        build.build(config_of("llava"), "org/llava")


def test_an_old_package_is_not_called_missing():
    error = ImportError("architecture 'x' is not supported. Please upgrade with `pip install -U timm`.")
    assert missing_packages.reason(error) == "needs a newer timm: pip install -U timm"


def test_a_package_without_an_extra_is_named_itself():
    assert missing_packages.reason(ImportError("no module", name="einops")) == "needs einops: pip install einops"


def test_every_extra_has_the_package():
    held = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for package, extra in missing_packages.EXTRAS.items():
        assert any(wanted.startswith(package) for wanted in held[extra])


def test_a_missing_part_is_incomparable_with_itself(without):
    _, tree, record = without
    difference = compare(Snapshot.of(record, tree), Snapshot.of(record, tree))
    assert difference.empty
    unknown = {(fact.roles, fact.field) for fact in difference.incomparable}
    assert {((Role.VISION_ENCODER,), "parameters"), ((Role.VISION_ENCODER,), "layers")} <= unknown


def test_a_part_that_is_missing_in_one_of_two_is_incomparable(without):
    model_type, tree, record = without
    full = Snapshot.of(record_of(model_type), tree_of(model_type))
    for difference in (compare(full, Snapshot.of(record, tree)), compare(Snapshot.of(record, tree), full)):
        assert difference.empty
        assert any(fact.roles == (Role.VISION_ENCODER,) for fact in difference.incomparable)


def test_a_change_in_another_part_is_still_a_difference(without):
    _, tree, record = without
    longer = tuple(
        replace(part, width=part.width + 1) if part.role is Role.LANGUAGE_MODEL else part for part in record.components
    )
    difference = compare(Snapshot.of(record, tree), Snapshot.of(replace(record, components=longer), tree))
    assert [change.field for change in difference.changes] == ["width"]


def test_a_snapshot_stores_the_missing_modules(without):
    _, tree, record = without
    text = snapshots.to_text(SnapshotFile(Snapshot.of(record, tree)))
    again = snapshots.from_text(text.encode(), "x.json").snapshot.architecture
    assert again.missing_modules == tree.missing_modules
    assert again.parameters == record.parameters


def test_a_check_of_a_model_with_a_missing_part_fails(tmp_path):
    folder, stored = tmp_path / "fast_vlm", tmp_path / "snapshots"
    folder.mkdir()
    stored.mkdir()
    Path(folder, "config.json").write_text(json.dumps(config_of("fast_vlm")), encoding="utf-8")
    full = SnapshotFile(Snapshot.of(record_of("fast_vlm"), tree_of("fast_vlm")))
    Path(stored, snapshots.file_name("fast_vlm")).write_text(snapshots.to_text(full), encoding="utf-8")
    (checked,) = app_snapshots.check([Request(str(folder))], stored)
    assert checked.verdict.status == "failed"
    assert REASONS["fast_vlm"] in checked.verdict.message


def test_the_tree_shows_a_lower_bound_for_its_parents_and_its_reason(without):
    model_type, tree, _ = without
    lines = tree_text(tree, depth=2).splitlines()
    assert lines[0].endswith(" + unknown")
    (line,) = (line for line in lines if "(vision_tower)" in line)
    assert line.endswith(f"unknown ({REASONS[model_type]})")


def test_in_json_its_count_and_those_of_its_parents_are_null(without):
    model_type, tree, _ = without
    data = tree_data(tree, depth=2)
    (model,) = (child for child in data["children"] if child["name"] == "model")
    (tower,) = (child for child in model["children"] if child["name"] == "vision_tower")
    for node in (data, model, tower):
        assert node["parameters"] is None
        assert node["unknown"]["parameters"] == REASONS[model_type]


def test_a_row_says_what_to_install(without):
    model_type, _, record = without
    table = build_table("architectures", [Row(model_type, record)])
    cells = dict(zip(table.headers, ("".join(span.text for span in cell) for cell in table.rows[0]), strict=True))
    assert cells["Vision Layers"] == f"unknown ({REASONS[model_type]})"
    assert "unknown" not in cells["Language Layers"]


@pytest.mark.slow
def test_show_prints_the_reason_on_stderr(tmp_path):
    Path(tmp_path, "config.json").write_text(json.dumps(config_of("fast_vlm")), encoding="utf-8")
    done = run("show", ".", "--format", "markdown", cwd=tmp_path)
    assert done.code == 0
    assert REASONS["fast_vlm"] in done.stderr
    assert "7,070,848,512" in done.stdout
