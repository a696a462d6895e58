"""The types whose towers are another library's, built in full."""

import os

import pytest
import timm
import torch

from tests.every_type import NEEDS_EXTRA, config_of
from tests.every_type.answers import independent_count
from tests.every_type.invariants import INVARIANTS
from tests.every_type.trees import FOLDER, to_text
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.architecture import Role
from vlm_inspect.core.model_ref import ModelIdentity


@pytest.fixture(scope="module", params=NEEDS_EXTRA)
def built(request):
    return request.param, build.build(config_of(request.param), request.param)


def test_the_stored_tree_is_what_is_built_here(built):
    model_type, tree = built
    path = FOLDER / f"{model_type}.json"
    if os.environ.get("BLESS_GOLDEN"):
        path.write_text(to_text(tree), encoding="utf-8", newline="\n")
    assert to_text(tree) == path.read_text(encoding="utf-8")


def test_every_part_is_built(built):
    _, tree = built
    assert not tree.missing_modules
    assert not tree.notes


def test_the_total_is_what_torch_counts(built):
    model_type, tree = built
    assert tree.total == independent_count(model_type)


def test_the_record_holds_together(built):
    model_type, tree = built
    record = describe(tree, ModelIdentity(model_type, source="local"), "transformers")
    for holds in INVARIANTS:
        holds(record, tree)
    assert record.by_role(Role.VISION_ENCODER)


def test_the_tower_is_as_large_as_timm_makes_it():
    config = config_of("perception_lm")["vision_config"]
    with torch.device("meta"):
        tower = timm.create_model(config["architecture"], num_classes=0, **config["model_args"])
    tree = build.build(config_of("perception_lm"), "perception_lm")
    assert tree.find("model.vision_tower").total == sum(each.numel() for each in tower.parameters())
