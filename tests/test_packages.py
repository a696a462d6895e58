"""Requirements that are not met, and the command that installs them."""

import pytest

from vlm_inspect.core import packages


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages that only have metadata."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def add(site, name, version, *requirements):
    info = site / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requirements]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_our_requirements_are_met():
    assert packages.missing_requirements(packages.SELF) == ()


def test_a_missing_requirement_has_the_command_that_installs_it(site):
    add(site, "above", "1.0", "below>=1", "ground<2")
    add(site, "below", "1.5")
    assert [str(each) for each in packages.missing_requirements("above")] == [
        "above 1.0 needs ground<2, and it is not installed"
    ]
    assert packages.install_hint("above") == (
        'pip install "ground<2" (above 1.0 needs ground<2, and it is not installed)'
    )


def test_extras_and_other_systems_do_not_count(site):
    add(site, "above", "1.0", 'ground; extra == "more"', 'below; sys_platform == "beos"')
    assert packages.missing_requirements("above") == ()


def test_the_torch_of_transformers_counts_and_that_of_others_does_not(site):
    add(site, "transformers", "1.0", 'torch>=999; extra == "torch"')
    add(site, "above", "1.0", 'torch>=999; extra == "torch"')
    (found,) = packages.missing_requirements("transformers", "above")
    assert (found.by, found.wanted) == ("transformers 1.0", "torch>=999")
    assert packages.missing_requirements("transformers", "above", on="torch") == (found,)
    assert packages.missing_requirements("transformers", on="ground") == ()


def test_a_package_that_several_need_is_installed_once(site):
    add(site, "above", "1.0", "ground<2,>=1")
    add(site, "beyond", "1.0", "ground>=1", "below")
    missing = packages.missing_requirements("above", "beyond")
    assert packages.pip_install(missing) == 'pip install "ground<2,>=1" "below"'


def test_a_package_whose_requirements_are_met_may_be_damaged(site):
    add(site, "above", "1.0")
    error = packages.import_failure("above", ImportError("libabove.so: cannot open. Try: something else."))
    assert error.message == "above 1.0 cannot be imported: libabove.so: cannot open"
    assert "--force-reinstall above" in error.hint


def test_invalid_requirements_are_skipped(site):
    add(site, "above", "1.0", "!!", "ground")
    assert [each.name for each in packages.missing_requirements("above")] == ["ground"]
