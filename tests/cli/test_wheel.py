"""The wheel: what is in it, and that it runs where only it is installed."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from vlm_inspect.sources import catalogue
from vlm_inspect.version import __version__

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "vlm_inspect"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_holds_every_file_of_the_package(wheel):
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names(wheel)


def test_it_holds_the_catalogue_the_templates_the_licence_and_its_types(wheel):
    held = names(wheel)
    assert {f"vlm_inspect/catalogue/{name.replace('/', '__')}.toml" for name in catalogue.names()} <= held
    assert any(name.startswith("vlm_inspect/render/templates/") for name in held)
    assert any(name.endswith("/licenses/LICENSE") for name in held)
    assert "vlm_inspect/py.typed" in held


def test_it_holds_nothing_beside_the_package(wheel):
    assert {name.partition("/")[0] for name in names(wheel)} == {
        "vlm_inspect", f"vlm_inspect-{__version__}.dist-info",
    }  # fmt: skip


def test_it_runs_where_it_is_installed(wheel, tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    scripts = venv / Path(sysconfig.get_path("scripts")).name
    python = scripts / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet")
    subprocess.run([*pip, "--disable-pip-version-check", wheel], check=True)
    # its dependencies are borrowed from this environment, where they come after its own
    site = Path(
        subprocess.check_output(
            [python, "-c", "import site; print(site.getsitepackages()[0])"], text=True
        ).strip()
    )
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    told = subprocess.check_output([scripts / "vlm-inspect", "--version"], text=True, cwd=tmp_path)
    assert told == f"vlm-inspect {__version__}\n"
    script = "import vlm_inspect.sources.catalogue as c; print(c.__file__, len([*map(c.load, c.names())]))"
    place, count = subprocess.check_output([python, "-c", script], text=True, cwd=tmp_path).split()
    assert Path(place).is_relative_to(venv)
    assert int(count) == len(catalogue.names())
