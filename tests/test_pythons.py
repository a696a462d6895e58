"""The Python versions in pyproject.toml."""

from nox.project import load_toml, python_versions

from tests.cli.test_wheel import ROOT

PROJECT = load_toml(ROOT / "pyproject.toml")


def test_the_oldest_python_with_a_nox_session_is_the_oldest_that_pip_accepts():
    assert PROJECT["project"]["requires-python"] == f">={python_versions(PROJECT)[0]}"
