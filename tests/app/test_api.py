"""The public Python API."""

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import vlm_inspect
from tests import checkpoints
from tests.cli.program import LLAVA

FUNCTIONS = [name for name in vlm_inspect.__all__ if inspect.isfunction(getattr(vlm_inspect, name))]


def test_every_public_name_is_there():
    for name in vlm_inspect.__all__:
        assert getattr(vlm_inspect, name) is not None
    assert dir(vlm_inspect) == vlm_inspect.__all__


def test_no_public_name_is_a_submodule():
    """Importing the submodule would replace the public name."""
    submodules = {module.name for module in pkgutil.iter_modules(vlm_inspect.__path__)}
    assert "core" in submodules
    assert submodules.isdisjoint(vlm_inspect.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_public_function_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    checkpoints.save(tmp_path / "my-finetune", LLAVA)
    function = getattr(vlm_inspect, name)
    module = importlib.import_module(function.__module__)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, module, {})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_a_public_function_is_explained(name):
    function = getattr(vlm_inspect, name)
    text = inspect.getdoc(function)
    for argument in inspect.signature(function).parameters:
        assert f"\n    {argument}: " in text, argument
    assert "\nReturns:\n" in text or "\nYields:\n" in text
    assert "\nRaises:\n" in text


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'frob'"):
        _ = vlm_inspect.frob


def test_inspect_answers_with_the_record():
    record = vlm_inspect.inspect("llava-hf/llava-1.5-7b-hf", offline=True)
    assert isinstance(record, vlm_inspect.Architecture)
    assert record.parameters.total == 7_063_427_072
    assert list(record.versions) == ["vlm_inspect", "transformers", "torch"]


def test_inspect_asks_the_hub(hub, tmp_path):
    config = '{"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}'
    commit = hub.add_model("org/name", {"config.json": config})
    record = vlm_inspect.inspect("org/name", cache_dir=tmp_path)
    assert (record.model.id, record.model.revision, record.model.source) == ("org/name", commit, "hub")


def test_diff_answers_with_the_difference():
    found = vlm_inspect.diff("HuggingFaceM4/idefics2-8b-base", "HuggingFaceM4/idefics2-8b", offline=True)
    assert isinstance(found, vlm_inspect.Difference)
    assert [(change.field, change.before, change.after) for change in found.changes] == [("vocabulary", 32002, 32003)]


def test_an_error_says_what_to_do():
    with pytest.raises(vlm_inspect.VlmInspectError) as raised:
        vlm_inspect.inspect("a/b/c")
    assert raised.value.message
    assert raised.value.hint


def test_importing_the_package_costs_nothing_heavy():
    script = "import sys, vlm_inspect; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "huggingface_hub", "rich", "typer"} & set(done.stdout.split())


def test_errors_survive_pickling():
    import pickle

    from vlm_inspect.core.errors import NotNativeError

    error = pickle.loads(pickle.dumps(NotNativeError("m", hint="h", model="o/n", short="s")))  # noqa: S301 - our own
    assert (error.message, error.hint, error.model, error.short) == ("m", "h", "o/n", "s")
