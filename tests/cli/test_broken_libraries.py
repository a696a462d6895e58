"""Packages that are missing, too old or at odds: said in a sentence, with what to type. No traceback."""

import json

import pytest

from tests.broken import Environment

MODEL = "llava-hf/llava-1.5-7b-hf"
# huggingface_hub imports its parts when they are asked for, and fails only then
LAZY = """
__version__ = "0.36.0"
def __getattr__(name):
    raise ModuleNotFoundError("No module named 'requests'", name="requests")
"""


@pytest.fixture
def broken(tmp_path):
    return Environment(tmp_path / "venv")


def shown(broken, here):
    """What `show` says on stderr, where it must give up."""
    done = broken.run("show", MODEL, "--offline", "--no-cache", cwd=here)
    assert done.code == 3, done.stderr
    assert not done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def wrong(broken, here):
    """What `doctor` calls wrong, by subject."""
    done = broken.run("doctor", "--offline", "--format", "json", cwd=here)
    assert done.code == 1
    assert not done.stderr
    return {each["subject"]: each for each in json.loads(done.stdout) if each["state"] == "wrong"}


def test_no_torch(broken, here):
    broken.without("torch")
    assert shown(broken, here) == ('error: torch is not installed in this Python.\n  pip install "torch>=2.4"\n')
    found = wrong(broken, here)
    assert set(found) == {"torch", "accelerate", "transformers", "requirements"}
    assert all('pip install "torch>=2' in each["hint"] for each in found.values())


def test_a_torch_that_is_too_old_for_transformers(broken, here):
    broken.instead("torch", "2.5.1")  # transformers goes by what its metadata says
    said = shown(broken, here)
    assert "needs torch>=2.6, and 2.5.1 is installed." in said
    assert '  pip install "torch>=2.6"' in said


def test_a_transformers_that_is_too_old(broken, here):
    broken.instead("transformers", "4.40.2", "__version__ = '4.40.2'\n")
    said = shown(broken, here)
    assert "transformers 4.40.2 is older than 4.41, the oldest that is supported." in said
    assert "pip install --upgrade transformers" in said


def test_no_transformers(broken, here):
    broken.without("transformers")
    assert "transformers is not installed in this Python." in shown(broken, here)


def test_a_tokenizers_that_transformers_does_not_take(broken, here):
    broken.instead("tokenizers", "0.19.1")
    said = shown(broken, here)
    assert "cannot be imported: tokenizers" in said
    assert 'pip install "tokenizers' in said
    assert "and 0.19.1 is installed" in said


def test_an_accelerate_that_does_not_import(broken, here):
    broken.instead("accelerate", "0.20.3", "import pkg_resources_of_another_time\n")
    said = shown(broken, here)
    assert "accelerate 0.20.3 cannot be imported: No module named 'pkg_resources_of_another_time'" in said
    assert 'pip install "accelerate>=0.30.1"' in said


def test_a_huggingface_hub_of_another_time(broken, here):
    broken.instead("huggingface_hub", "0.36.0", LAZY)
    said = shown(broken, here)
    assert "huggingface_hub 0.36.0 cannot be imported: No module named 'requests'" in said
    found = wrong(broken, here)
    assert {"huggingface_hub", "transformers", "requirements"} <= set(found)
    assert "huggingface-hub" in found["transformers"]["hint"]


def test_no_huggingface_hub(broken, here):
    broken.without("huggingface_hub")
    assert "huggingface_hub is not installed in this Python." in shown(broken, here)
    assert "huggingface_hub" in wrong(broken, here)
