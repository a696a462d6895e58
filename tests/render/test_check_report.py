"""The report of `check` in every format."""

import json
import re

import pytest
from msgspec.structs import replace

from vlm_inspect.core.architecture import Role
from vlm_inspect.core.difference import Change, ComponentPair, Difference, Move, PathChange
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.snapshot import CheckResult
from vlm_inspect.render.check import (
    report_annotations,
    report_data,
    report_lines,
    report_markdown,
    report_text,
    summary,
)

OLD, NEW = {"transformers": "5.5.4"}, {"transformers": "5.6.0"}


def result(name, *, moves=(), changes=(), paths=(), cause="library", totals=(7, 7)):
    model = ModelIdentity(name)
    difference = Difference(
        model,
        model,
        *totals,
        changes=changes,
        moves=moves,
        paths=paths,
        versions_before=OLD,
        versions_after=NEW,
    )
    return CheckResult(name, f"{name}.json", "different", cause, difference)


def flattened(tower, parameters):
    return Move(f"model.{tower}.vision_model", f"model.{tower}", parameters)


UPGRADE = [
    result("llava", moves=(flattened("vision_tower", 391),)),
    result("video_llava", moves=(flattened("video_tower", 391), flattened("image_tower", 391))),
    result(
        "evolla",
        paths=(
            PathChange("model.layers.*.rotary", "module", 33, before="Rotary"),
            PathChange("model.rotary", "module", 1, after="Rotary"),
        ),
    ),
    result("janus", changes=(Change((Role.LM_HEAD,), "tied", after=True, before=False),), totals=(70, 60)),
    result("llama", changes=(Change((Role.LANGUAGE_MODEL,), "layers", 32, 40),), cause="repository"),
    CheckResult("gone", "gone.json", "orphaned"),
    CheckResult("new", "new.json", "missing"),
    CheckResult("broken", "broken.json", "failed", message="broken.json: not JSON.", hint="Write it again."),
    CheckResult("calm", "calm.json", "same"),
]


def test_a_move_in_several_models_is_reported_once():
    moved = [line for line in report_lines(UPGRADE) if line.sign == ">"]
    assert [line.text for line in moved] == ["….vision_model.* → ….*: 2 models, 1,173 tensors moved"]


def test_a_renamed_parameter_has_no_wildcard():
    move = Move("model.norm.gamma", "model.norm.weight", 1, what="parameter")
    (line,) = [line for line in report_lines([result("one", moves=(move,))]) if line.sign == ">"]
    assert line.text.startswith("….gamma → ….weight: 1 model, 1 tensor moved")


def test_values_read_as_in_diff():
    vision = (Role.VISION_ENCODER,)
    changes = (
        Change(vision, "image size", (336, 336), (384, 384), (0,)),
        Change(vision, "layer order", ("sliding attention", "full attention") * 17, ("full attention",) * 34, (0,)),
        Change((Role.PROJECTOR,), "component", "Linear", None, (1,)),
        Change((Role.OTHER,), "component", None, "Extra", (2,)),
    )
    pairs = (
        ComponentPair(Role.VISION_ENCODER, "tower", "tower"),
        ComponentPair(Role.PROJECTOR, "model.projector"),
        ComponentPair(Role.OTHER, None, "model.extra"),
    )
    one = result("one", changes=changes)
    lines = report_lines([replace(one, difference=replace(one.difference, pairs=pairs))])
    assert [line.text for line in lines if line.indent] == [
        "vision_encoder: image size 336 x 336 → 384 x 384",
        "vision_encoder: layer order 1 x sliding attention + 1 x full attention, 17 times → 34 x full attention",
        "projector: component at model.projector: Linear",
        "other: component at model.extra: Extra",
    ]


def test_changes_are_grouped_by_cause():
    titles = [line.text for line in report_lines(UPGRADE) if not line.sign and not line.indent]
    assert titles == ["the library changed (transformers 5.5.4 → 5.6.0):", "the repository changed:"]


def test_unchanged_models_are_only_counted():
    assert not any("calm" in line.text for line in report_lines(UPGRADE))
    assert summary(UPGRADE) == (
        "9 models: 5 changed, 1 without a snapshot, 1 no longer configured, 1 failed, 1 unchanged"
    )


def test_the_most_serious_result_of_a_model_counts():
    calm = CheckResult("llama", "llama.json", "same")
    assert summary([calm, UPGRADE[4]]) == summary([UPGRADE[4], calm]) == "1 model: 1 changed"


def test_a_check_of_no_models_says_so():
    assert summary([]) == "no models to check"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_report_fits_its_width(golden, width):
    text = report_text(UPGRADE, width)
    assert max(map(len, text.splitlines())) <= width
    golden(f"check.{width}.txt", text)


def test_colours_change_no_text():
    coloured = report_text(UPGRADE, 80, colour=True)
    assert "\x1b[" in coloured
    plain = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()]
    assert plain == [line.rstrip() for line in report_text(UPGRADE, 80).splitlines()]


def test_the_report_as_a_comment(golden):
    golden("check.md.txt", report_markdown(UPGRADE))


def test_the_report_as_annotations(golden):
    golden("check.github.txt", report_annotations(UPGRADE, "snapshots"))


def test_each_annotation_is_one_line_that_names_its_file():
    lines = report_annotations(UPGRADE, "ci/snapshots").splitlines()[:-1]
    assert len(lines) == 8
    assert all(line.startswith(("::error file=ci/snapshots/", "::warning file=ci/snapshots/")) for line in lines)


def test_the_report_as_data():
    data = json.loads(json.dumps(report_data(UPGRADE)))
    assert [each["status"] for each in data["models"]].count("different") == 5
    assert data["models"][0]["difference"]["moves"][0]["tensors"] == 391


HOSTILE = "x\n::error::owned\x1b[2J%0A|<b>[a](b)"


def test_hostile_text_starts_no_line_and_no_command():
    hostile = result(HOSTILE, changes=(Change((), "model class", HOSTILE, HOSTILE + "2"),))
    failed = replace(UPGRADE[7], model=HOSTILE, message=HOSTILE, hint=HOSTILE, file="f.json")
    for text in (
        report_text([hostile, failed]),
        report_markdown([hostile, failed]),
        report_annotations([hostile, failed], "s"),
        report_text([hostile, failed], 80, colour=True).replace("\x1b[", "<", 0),
    ):
        assert not any(line.lstrip("- `~!").startswith("::error::owned") for line in text.splitlines())
        assert "\x1b[2J" not in text
    assert "<b>" not in report_markdown([hostile])
