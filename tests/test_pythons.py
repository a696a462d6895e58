"""What came of each Python: the page is its data, and what pyproject.toml claims was measured."""

from tests.cli.test_wheel import PROJECT
from tools.support import python_page
from tools.support.environments import versions

DATA = python_page.load()
CLAIM = "Programming Language :: Python :: "


def test_the_page_is_its_data():
    assert python_page.render(DATA) == python_page.PAGE.read_text(encoding="utf-8"), "make pythons"
    assert python_page.dump(DATA) == python_page.DATA.read_text(encoding="utf-8"), "make pythons"


def test_every_python_that_is_looked_for_is_told_of():
    assert list(DATA) == versions()["pythons"]


def test_the_pythons_that_are_claimed_are_those_that_were_measured_and_are_well():
    claimed = {each.removeprefix(CLAIM) for each in PROJECT["classifiers"] if each.startswith(CLAIM)}
    measured = {version for version, outcome in DATA.items() if outcome and python_page.is_well(outcome)}
    assert claimed - {"3 :: Only"} == measured
    assert PROJECT["requires-python"] == f">={versions()['pythons'][0]}"


def test_what_differs_and_what_is_not_there_is_seen_on_the_page():
    packages = dict.fromkeys(("transformers", "torch", "huggingface_hub", "numpy"), "1.0")
    well = {
        "python": "3.11.9",
        "packages": packages,
        "answers": 9,
        "different": [],
        "run": ["tests"],
        "passed": 1000,
        "alike": 2,
        "failed": [],
    }
    ill = {
        **well,
        "python": "3.12.9",
        "different": ["table.json"],
        "alike": 0,
        "failed": ["tests/a.py::test_b"],
    }
    page = python_page.render({"3.11": well, "3.12": ill, "3.13": None})
    assert "| all 9 the same | 1,000 pass, 2 fail as under" in page
    assert "| 1 of 9 differ | 1,000 pass, 1 fail |" in page
    assert "* Python 3.12: `table.json` differs" in page
    assert "* Python 3.12: `tests/a.py::test_b` fails" in page
    assert "| 3.13 | — | — | — | — | not measured: this Python was not there | — |" in page
    assert "* Tests under 3.11, 3.12: `tests`" in page
    assert python_page.is_well(well)
    assert not python_page.is_well(ill)
