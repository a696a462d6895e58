"""`doctor`: says what works and what does not, of this machine, and never a secret."""

import json

import pytest

from tests.cli.program import NO_HUB, call, run, save

SECRET = "hf_" + "thisIsSecret" * 2
WITH_PACKAGES = "tests.broken:main_with_packages"


def findings(answer):
    return {finding["subject"]: finding for finding in json.loads(answer.stdout)}


@pytest.fixture
def broken_torchvision(tmp_path):
    """A torchvision that does not match torch, as the import system and pip see one."""
    site = tmp_path / "site"
    (site / "torchvision").mkdir(parents=True)
    message = "operator torchvision::nms does not exist"
    (site / "torchvision" / "__init__.py").write_text(f"raise RuntimeError({message!r})\n")
    # transformers looks at torchvision only where there is Pillow, too
    (site / "PIL").mkdir()
    (site / "PIL" / "__init__.py").write_text("__version__ = '11.0'\n")
    (site / "PIL" / "Image.py").write_text("class Image: pass\nclass Resampling: NEAREST = BILINEAR = 0\n")
    (site / "PIL" / "ImageOps.py").write_text("")
    for name, version in (("torchvision", "0.20.0"), ("pillow", "11.0")):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return site


def test_a_place_where_all_works_is_said_to_work(here, hub):
    answer = run("doctor", cwd=here)
    assert answer.code == 0
    assert answer.stdout.rstrip().endswith("Nothing is wrong.")
    assert f"{hub.url} responds" in answer.stdout
    assert not answer.stderr


def test_a_hub_that_is_not_there_is_wrong(here):
    answer = run("doctor", "--format", "json", cwd=here, HF_ENDPOINT=NO_HUB)
    assert answer.code == 1
    hub = findings(answer)["Hub"]
    assert hub["state"] == "wrong"
    assert "cannot be reached" in hub["message"]
    assert "--offline" in hub["hint"]


def test_offline_nobody_is_asked(hub):
    answer = call("doctor", "--offline", "--format", "json")
    assert answer.code == 0
    assert findings(answer)["Hub"]["state"] == "note"
    assert not hub.requests


def test_a_token_is_said_to_be_there_and_never_shown(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    answer = call("doctor", "--format", "json")
    assert findings(answer)["token"] == {
        "subject": "token",
        "state": "ok",
        "message": "sent, from HF_TOKEN",
        "hint": None,
    }
    assert SECRET not in answer.stdout + answer.stderr
    assert all(request.token is None for request in hub.requests)


def test_a_damaged_token_is_wrong_and_not_shown():
    answer = call("doctor", "--offline", "--format", "json", "--token", f"{SECRET} x")
    assert findings(answer)["token"]["state"] == "wrong"
    assert SECRET not in answer.stdout + answer.stderr


def test_a_cache_that_cannot_be_written_is_wrong():
    answer = call("doctor", "--offline", "--format", "json", "--cache-dir", "/proc/nowhere")
    cache = findings(answer)["Hub cache"]
    assert cache["state"] == "wrong"
    assert "--cache-dir" in cache["hint"]


def test_the_answers_that_are_kept_are_counted(here):
    place = {"cwd": here, "HF_HOME": str(here / "home")}
    run("show", save(here, "model"), **place)
    kept = findings(run("doctor", "--offline", "--format", "json", **place))["result cache"]
    assert kept["state"] == "ok"
    assert kept["message"].startswith(f"1 in {here / 'home'}")
    place["HF_ASSETS_CACHE"] = "/proc/nowhere"
    unwritable = findings(run("doctor", "--offline", "--format", "json", **place))["result cache"]
    assert unwritable["state"] == "note"
    assert "HF_ASSETS_CACHE" in unwritable["hint"]


def test_a_proxy_is_named_by_its_variable_alone(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://user:password@127.0.0.1:9")
    answer = call("doctor", "--offline", "--format", "json")
    assert "https_proxy" in findings(answer)["proxy"]["message"]
    assert "password" not in answer.stdout


def test_a_torchvision_that_does_not_match_torch_is_told_as_that(here, broken_torchvision):
    place = {"cwd": here, "main": WITH_PACKAGES, "PACKAGES": str(broken_torchvision)}
    answer = run("doctor", "--offline", "--format", "json", **place)
    assert answer.code == 1
    models = findings(answer)["model classes"]
    assert models["state"] == "wrong"
    assert "torchvision" in models["message"]
    assert "install the matching pair, or uninstall torchvision" in models["hint"]


def test_every_other_command_says_the_same_of_it(here, broken_torchvision):
    place = {"cwd": here, "main": WITH_PACKAGES, "PACKAGES": str(broken_torchvision)}
    answer = run("show", "llava-hf/llava-1.5-7b-hf", "--offline", **place)
    assert answer.code == 3
    assert "torchvision does not match torch" in answer.stderr


@pytest.fixture
def found_with(here, tmp_path):
    """What is found where a package of this source stands before the installed one."""

    def look(package, source):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(source)
        found = findings(run("doctor", "--offline", "--format", "json", cwd=here, PYTHONPATH=str(tmp_path)))
        assert found[package]["state"] == "wrong"
        return found

    return look


def test_a_torch_that_does_not_import_is_told_as_that(found_with):
    found = found_with("torch", "raise ImportError('libtorch_cpu.so: cannot open')\n")
    assert "libtorch_cpu.so" in found["torch"]["message"]
    for other in ("accelerate", "transformers"):  # which is not to blame
        assert found[other]["message"].endswith("not tried, because it needs torch")
        assert found[other]["hint"] == found["torch"]["hint"]
    assert "model classes" not in found


def test_a_torch_that_ends_the_program_is_told_as_one_that_does_not_import(found_with):
    found = found_with("torch", "import sys\n\nsys.exit('no such processor')\n")
    assert "cannot be imported: no such processor" in found["torch"]["message"]


def test_a_transformers_without_a_version_is_told_as_damaged(found_with):
    found = found_with("transformers", "")
    assert "has no version" in found["transformers"]["message"]


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_every_format_holds_every_finding(form):
    answer = call("doctor", "--offline", "--format", form)
    assert answer.code == 0
    for subject in ("Python", "torch", "transformers", "accelerate", "Hub cache", "token"):
        assert subject in answer.stdout
