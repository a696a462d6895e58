"""The support matrix: the newest column matches the installed transformers, the page matches its data."""

import json
from importlib.metadata import version

import pytest

from tests.every_type import NEEDS_EXTRA, TYPES
from tests.every_type.answers import record_of
from tools.compat import matrix, survey

DATA = matrix.load(matrix.DATA)
NEWEST = DATA[matrix.newest(DATA)]
MAPPED = survey.mapped_types()


def recomputed(model_type):
    """The cached answer of the tests of every type where the configuration is the same."""
    if model_type in TYPES and model_type not in NEEDS_EXTRA and not survey.has_overrides(model_type):
        return survey.to_answer(record_of(model_type))
    return survey.describe_type(model_type, MAPPED[model_type])


def in_other():
    return {name for name, answer in NEWEST["types"].items() if "other" in answer}


def unsupported():
    answers = [answer for each in DATA.values() for kind in ("models", "types") for answer in each[kind].items()]
    return {name for name, answer in answers if "why_not" in answer}


def test_the_newest_column_has_every_type_that_transformers_maps():
    assert list(NEWEST["types"]) == list(MAPPED)


@pytest.mark.parametrize("model_type", MAPPED)
def test_the_newest_column_is_current(model_type):
    assert NEWEST["types"][model_type] == json.loads(json.dumps(recomputed(model_type))), "make compat"


def test_the_newest_column_has_the_catalogue_models():
    assert NEWEST["models"] == json.loads(json.dumps(dict(survey.models()))), "make compat"


def test_the_page_matches_its_data():
    assert matrix.render(DATA) == matrix.PAGE.read_text(encoding="utf-8"), "make compat"
    assert matrix.dump(DATA) == matrix.DATA.read_text(encoding="utf-8"), "make compat"


def test_the_columns_match_versions_toml():
    listed = matrix.versions()
    columns = {name: answers["packages"] for name, answers in DATA.items()}
    assert columns == {each["transformers"]: {**each, "torch": listed["torch"]} for each in listed["environment"]}


def test_the_newest_version_is_installed():
    assert {name: version(name).partition("+")[0] for name in survey.PACKAGES} == NEWEST["packages"]


def test_roles_add_up_to_the_total():
    for answers in DATA.values():
        for name, answer in [*answers["types"].items(), *answers["models"].items()]:
            if "parameters" in answer:
                assert sum(size for _, size in answer["roles"].values()) == answer["parameters"], name
            else:
                assert "why_not" in answer or "unbuilt" in answer, name


def test_every_reason_is_needed_and_none_is_missing():
    assert set(matrix.reasons()["other"]) == in_other()
    assert set(matrix.reasons()["unsupported"]) == unsupported()


def test_every_override_is_for_a_mapped_type():
    assert {path.stem for path in survey.OVERRIDES.glob("*.json")} <= set(MAPPED)


def test_the_page_marks_differences_from_the_newest_version():
    whole = {"class": "C", "parameters": 30, "roles": {"vision_encoder": [1, 10], "lm_head": [1, 20]}}
    tied = {"class": "C", "parameters": 10, "roles": {"vision_encoder": [1, 10], "lm_head": [1, 0]}}
    partly = {"class": "C", "roles": {"vision_encoder": [1, None]}, "unbuilt": {"tower": "needs timm"}}
    assert matrix.cell(whole, whole) == "30"
    assert matrix.cell(tied, whole) == "*10* (V h)"
    assert matrix.cell(partly, whole) == "◐ V"
    assert matrix.cell({"class": "C", "why_not": "refused"}, whole) == "✗"
    assert matrix.cell(None, whole) == "·"
