"""The public Python API."""

import doctest
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

import vlm_inspect
from tests import checkpoints
from tests.checkpoints import save
from tests.cli.program import LLAVA, call

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


CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2}


def test_a_path_object_is_never_a_repo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "org" / "name", LLAVA)
    assert vlm_inspect.inspect(Path("org/name")) == vlm_inspect.inspect("./org/name")
    with pytest.raises(vlm_inspect.VlmInspectError, match="there is no such file or folder"):
        vlm_inspect.inspect(Path("org/other"))


def test_a_configuration_is_a_model(tmp_path):
    from transformers import LlamaConfig

    as_dict = vlm_inspect.inspect(CONFIG)
    as_object = vlm_inspect.inspect(LlamaConfig(**CONFIG))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    as_file = vlm_inspect.inspect(tmp_path)
    assert as_dict.components == as_object.components == as_file.components
    assert as_dict.model.id == "configuration"
    assert as_object.model.id == "LlamaConfig"
    assert vlm_inspect.diff(LlamaConfig(**CONFIG), CONFIG).empty
    assert [each.model for each in vlm_inspect.inspect_many([CONFIG, tmp_path])] == [CONFIG, tmp_path]


def test_a_cache_folder_may_be_a_text(hub, tmp_path):
    hub.add_model("org/name", {"config.json": json.dumps(CONFIG)})
    assert vlm_inspect.inspect("org/name", cache_dir=str(tmp_path)).model.id == "org/name"
    assert list(tmp_path.glob("models--org--name/snapshots/*/config.json"))


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (None, {}, "A model is a text, a path or a configuration, not NoneType."),
        (dict, {}, "A model is a text, a path or a configuration, not type."),
        (transformers.LlavaConfig, {}, "A model is a text, a path or a configuration, not type."),
        (3, {}, "A model is a text, a path or a configuration, not int."),
        (b"org/name", {}, "A model is a text, a path or a configuration, not bytes."),
        ({"model_type": {1, 2}}, {}, "cannot be written as JSON"),
        ({}, {}, "says neither model_type nor architectures"),
        (CONFIG, {"builder": "nonsense"}, "builder is 'nonsense'."),
        (CONFIG, {"cache_dir": 3}, "cache_dir is 3."),
        (CONFIG, {"token": 3}, "token is an invalid value."),
        ("org/name", {"revision": 3}, "revision is 3."),
    ],
)
def test_an_invalid_argument_is_an_error_of_ours(model, options, message):
    with pytest.raises(vlm_inspect.VlmInspectError) as caught:
        vlm_inspect.inspect(model, **options)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("jobs", [0, -1, "2", None])
def test_an_invalid_number_of_processes_is_an_error_of_ours(jobs):
    with pytest.raises(vlm_inspect.VlmInspectError, match="jobs is"):
        list(vlm_inspect.inspect_many([], jobs=jobs))


def test_records_have_a_short_repr_and_display_themselves(tmp_path):
    record = vlm_inspect.inspect("llava-hf/llava-1.5-7b-hf", offline=True)
    name = "llava-hf/llava-1.5-7b-hf: LlavaForConditionalGeneration, 7,063,427,072 parameters"
    assert repr(record) == f"<Architecture {name}>"
    difference = vlm_inspect.diff("HuggingFaceM4/idefics2-8b-base", "HuggingFaceM4/idefics2-8b", offline=True)
    assert repr(difference) == "<Difference HuggingFaceM4/idefics2-8b-base and HuggingFaceM4/idefics2-8b: 1 changed>"
    save(tmp_path / "my-finetune", LLAVA)
    report = vlm_inspect.verify(tmp_path / "my-finetune")
    assert repr(report).startswith("<LoadReport my-finetune: ok, ")
    for each in (record, difference, report):
        assert each._repr_markdown_() == each.to_markdown()
        assert each.to_markdown().startswith("### ")
        assert each._repr_html_().startswith("<section>")
        assert "<html" not in each.to_html()
    assert record.to_markdown() == call("show", "llava-hf/llava-1.5-7b-hf", "--offline").stdout.rstrip("\n") + "\n"
