"""The support matrix: its newest column is the installed transformers, and its page is its data."""

import json
from importlib.metadata import version

import pytest

from tests.every_type import NEEDS_EXTRA, TYPES
from tests.every_type.answers import answer_of
from tools import compat
from tools.support import environments, page, survey

DATA = page.load(compat.DATA)
NEWEST = DATA[page.newest(DATA)]
ASKED = survey.mapped_types()


def recomputed(model_type):
    """The answer of the tests of every type, where the matrix asks the same with the same packages."""
    if model_type in TYPES and model_type not in NEEDS_EXTRA and not survey.is_laid_over(model_type):
        return survey.told(answer_of(model_type))
    return survey.answer_to_type(model_type, ASKED[model_type])


def in_other():
    return {name for name, answer in NEWEST["types"].items() if "other" in answer}


def unanswered():
    answers = [
        answer for each in DATA.values() for kind in ("models", "types") for answer in each[kind].items()
    ]
    return {name for name, answer in answers if "why_not" in answer}


def test_the_newest_column_has_every_type_that_transformers_maps():
    assert list(NEWEST["types"]) == list(ASKED)


@pytest.mark.parametrize("model_type", ASKED)
def test_the_newest_column_is_what_is_answered_now(model_type):
    assert NEWEST["types"][model_type] == json.loads(json.dumps(recomputed(model_type))), "make compat"


def test_the_newest_column_has_the_catalogue():
    assert NEWEST["models"] == json.loads(json.dumps(dict(survey.models()))), "make compat"


def test_the_page_is_its_data():
    assert page.render(DATA) == compat.PAGE.read_text(encoding="utf-8"), "make compat"
    assert page.dump(DATA) == compat.DATA.read_text(encoding="utf-8"), "make compat"


def test_the_columns_are_the_listed_versions_with_the_listed_packages():
    listed = environments.versions()
    told = {name: answers["packages"] for name, answers in DATA.items()}
    assert told == {
        each["transformers"]: {**each, "torch": listed["torch"]} for each in listed["environment"]
    }


def test_the_newest_version_is_the_one_that_the_tests_run_under():
    assert {name: version(name).partition("+")[0] for name in survey.PACKAGES} == NEWEST["packages"]


def test_all_of_a_type_is_told():
    for answers in DATA.values():
        for name, answer in [*answers["types"].items(), *answers["models"].items()]:
            if "parameters" in answer:
                assert sum(size for _, size in answer["roles"].values()) == answer["parameters"], name
            else:
                assert "why_not" in answer or "unbuilt" in answer, name


def test_whatever_is_in_other_or_not_answered_has_a_reason_and_no_reason_is_left_over():
    assert set(page.reasons()["other"]) == in_other()
    assert set(page.reasons()["unanswered"]) == unanswered()


def test_every_configuration_that_is_laid_over_is_of_a_type_that_is_asked_for():
    assert {path.stem for path in survey.LAID_OVER.glob("*.json")} <= set(ASKED)


def test_a_version_that_answers_less_than_a_newer_one_is_seen_on_the_page():
    whole = {"class": "C", "parameters": 30, "roles": {"vision_encoder": [1, 10], "lm_head": [1, 20]}}
    tied = {"class": "C", "parameters": 10, "roles": {"vision_encoder": [1, 10], "lm_head": [1, 0]}}
    partly = {"class": "C", "roles": {"vision_encoder": [1, None]}, "unbuilt": {"tower": "needs timm"}}
    assert page.cell(whole, whole) == "30"
    assert page.cell(tied, whole) == "*10* (V h)"
    assert page.cell(partly, whole) == "◐ V"
    assert page.cell({"class": "C", "why_not": "refused"}, whole) == "✗"
    assert page.cell(None, whole) == "·"
