"""What is installed against what is asked for: the command that mends it."""

import pytest

from vlm_inspect import installed


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A place with packages of no other content than what they state."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def add(site, name, version, *requirements):
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_here_nothing_is_missing():
    assert installed.unmet(installed.SELF) == ()


def test_what_is_missing_is_found_below_what_is_there(site):
    add(site, "above", "1.0", "below>=1")
    add(site, "below", "1.5", "ground<2")
    assert [str(each) for each in installed.unmet("above")] == [
        "below 1.5 needs ground<2, and it is not installed"
    ]
    assert installed.repair("above") == (
        'pip install "ground<2" (below 1.5 needs ground<2, and it is not installed)'
    )


def test_what_a_package_needs_that_must_be_replaced_anyway_is_not_said(site):
    add(site, "above", "1.0", "below>=2")
    add(site, "below", "1.5", "ground<2")
    assert [each.name for each in installed.unmet("above")] == ["below"]


def test_what_several_ask_for_is_one_requirement(site):
    add(site, "above", "1.0", "ground>=1.9,<3", "below")
    add(site, "below", "1.5", "ground>=1.10")
    assert installed.pip_install(installed.unmet("above")) == 'pip install "ground<3,>=1.10"'


def test_extras_and_other_systems_do_not_count(site):
    add(site, "above", "1.0", 'ground; extra == "more"', 'below; sys_platform == "beos"')
    assert installed.unmet("above") == ()


def test_an_extra_that_is_needed_anyway_counts(site):
    add(site, "above", "1.0", 'torch>=999; extra == "torch"')
    (found,) = installed.unmet("above")
    assert found.wanted == "torch>=999"
    assert installed.unmet_of("torch", ("above",)) == found


def test_a_package_that_has_all_it_needs_may_be_damaged(site):
    add(site, "above", "1.0")
    error = installed.unusable("above", ImportError("libabove.so: cannot open. Try: something else."))
    assert error.message == "above 1.0 cannot be imported: libabove.so: cannot open"
    assert "--force-reinstall above" in error.hint


def test_metadata_that_says_no_requirement_is_passed_by(site):
    add(site, "above", "1.0", "!!", "ground")
    assert [each.name for each in installed.unmet("above")] == ["ground"]
