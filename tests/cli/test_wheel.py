"""The wheel: what is in it, and that it runs where only it is installed."""

import ast
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from vlm_inspect.core.version import __version__
from vlm_inspect.settings import tomllib
from vlm_inspect.sources import catalogue

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "vlm_inspect"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONS = ("--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")


def built(source, folder):
    """The wheel that pip makes of a folder or of a source distribution."""
    subprocess.run([sys.executable, "-m", "pip", "wheel", *OPTIONS, "--wheel-dir", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def source_distribution(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=ROOT, check=True)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of an environment's programs: the wheel alone is installed into it."""
    venv = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    scripts = venv / Path(sysconfig.get_path("scripts")).name
    pip = (sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-deps", "--no-index")
    subprocess.run([*pip, "--quiet", "--disable-pip-version-check", wheel], check=True)
    return scripts


@pytest.fixture(scope="module")
def borrowing(installed):
    """The same, its dependencies borrowed from this environment, where they come after its own."""
    (site,) = (installed.parent / "lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text("".join(f"{place}\n" for place in sys.path if "site-packages" in place))
    return installed


def contents(wheel):
    """File → content, but for what says how the file itself was made."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def names(wheel):
    return set(contents(wheel))


@cache
def imported():
    """Every package outside the standard library that some file of ours imports."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"vlm_inspect", "tomllib"}


def declared():
    """The packages that are declared to be needed, whatever else is installed."""
    return {re.match(r"[\w.-]+", text)[0].lower().replace("_", "-") for text in PROJECT["dependencies"]}


_distributions = cache(packages_distributions)


def distribution_of(module):
    """The package that a module comes with: on some systems and Pythons it is not needed, and not there."""
    known = _distributions().get(module, [module])
    return {name.lower().replace("_", "-") for name in known}


def test_it_holds_every_file_of_the_package(wheel):
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names(wheel)


def test_it_holds_the_catalogue_the_templates_the_licence_and_its_types(wheel):
    held = names(wheel)
    assert {f"vlm_inspect/sources/catalogue_data/{name.replace('/', '__')}.toml" for name in catalogue.names()} <= held
    assert any(name.startswith("vlm_inspect/render/templates/") for name in held)
    assert any(name.endswith("/licenses/LICENSE") for name in held)
    assert "vlm_inspect/py.typed" in held


def test_it_holds_nothing_beside_the_package(wheel):
    assert {name.partition("/")[0] for name in names(wheel)} == {
        "vlm_inspect", f"vlm_inspect-{__version__}.dist-info",
    }  # fmt: skip


def test_whatever_is_imported_is_declared():
    undeclared = {module for module in imported() if not distribution_of(module) & declared()}
    assert undeclared == set()


def test_whatever_is_declared_is_imported():
    used = set().union(*map(distribution_of, imported()))
    assert declared() <= used


def test_the_same_wheel_comes_of_the_source_distribution(wheel, source_distribution, tmp_path):
    assert contents(built(source_distribution, tmp_path)) == contents(wheel)


def test_the_source_distribution_holds_what_is_kept_and_no_more(source_distribution):
    with tarfile.open(source_distribution) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", "tests/conftest.py"} <= held
    assert not [name for name in held if "__pycache__" in name or name.startswith((".venv", ".nox", ".git/"))]


def test_it_is_what_is_installed_and_nothing_else(installed):
    (site,) = (installed.parent / "lib").glob("python*/site-packages")
    assert {path.name for path in site.iterdir()} - {"borrowed.pth"} == {
        "vlm_inspect", f"vlm_inspect-{__version__}.dist-info",
    }  # fmt: skip


def test_it_runs_where_it_is_installed(borrowing, tmp_path):
    python = borrowing / "python"
    for program in ([borrowing / "vlm-inspect"], [python, "-m", "vlm_inspect"]):
        told = subprocess.check_output([*program, "--version"], text=True, cwd=tmp_path)
        assert told == f"vlm-inspect {__version__}\n"
    script = "import vlm_inspect.sources.catalogue as c; print(c.__file__, len([*map(c.load, c.names())]))"
    place, count = subprocess.check_output([python, "-c", script], text=True, cwd=tmp_path).split()
    assert Path(place).is_relative_to(borrowing.parent)
    assert int(count) == len(catalogue.names())


def test_a_table_comes_of_it(borrowing, tmp_path):
    """Templates, catalogue and all: as a web page, of the configuration alone."""
    words = ("table", "llava-hf/llava-1.5-7b-hf", "--offline", "--builder", "config", "--format", "html")
    told = subprocess.check_output([borrowing / "vlm-inspect", *words], text=True, cwd=tmp_path)
    assert "llava-hf/llava-1.5-7b-hf" in told
    assert "</table>" in told
