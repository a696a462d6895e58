"""Under every version of transformers: the Hub is asked, and what cannot be answered is said clearly."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from packaging.version import Version

from tests.hub_server import closed_port
from vlm_inspect.app.api import inspect
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.errors import (
    ConfigMissingError,
    GatedModelError,
    HubUnavailableError,
    ModelNotFoundError,
    NotNativeError,
    RevisionNotFoundError,
    UnbuildableConfigError,
)
from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import catalogue, load
from vlm_inspect.sources.http import transport_errors

LLAVA = {"config.json": {"model_type": "llava"}}
KNOWN = "llava-hf/llava-1.5-7b-hf"


@pytest.fixture
def options(tmp_path):
    return InspectOptions(cache_dir=tmp_path / "cache")


def ask(name, options):
    return load(ModelRef.parse(name), options)


def test_the_transport_is_the_one_that_this_huggingface_hub_has():
    ours = Version(version("huggingface_hub"))
    expected = "requests" if ours < Version("1") else "httpx" if ours < Version("2") else "httpx2"
    assert transport_errors()[0].__module__.partition(".")[0] == expected


def test_a_configuration_is_fetched_and_then_cached(hub, options):
    commit = hub.add_model("org/name", LLAVA)
    first = ask("org/name", options)
    hub.fault("config.json", drop=True)
    second = ask("org/name", options)
    assert (first.config, first.identity.revision) == ({"model_type": "llava"}, commit)
    assert second.identity == first.identity
    assert "is answered from the cache" in second.notes[0]


def test_a_download_that_drops_is_done_again(hub, options):
    hub.add_model("org/name", LLAVA)
    hub.fault("config.json", method="GET", drop_after=5, times=1)
    assert ask("org/name", options).config == {"model_type": "llava"}


def test_each_refusal_is_told_apart(hub, options):
    hub.add_model("org/name", LLAVA)
    hub.add_model("org/gated", LLAVA, gated=True)
    hub.add_model("org/adapter", {"README.md": "none"})
    for name, error in {
        "org/missing": ModelNotFoundError,
        "org/gated": GatedModelError,
        "org/adapter": ConfigMissingError,
        "org/name@v9": RevisionNotFoundError,
    }.items():
        with pytest.raises(error):
            ask(name, options)


def test_a_server_in_trouble_and_a_lost_connection_are_told_apart(hub, options):
    hub.fault("config.json", status=503)
    with pytest.raises(HubUnavailableError, match="answered 503"):
        ask("org/name", options)
    hub.reset()
    hub.fault("config.json", drop=True)
    with pytest.raises(HubUnavailableError, match=r"cannot be reached: (Server|Remote end)"):
        ask("org/name", options)


def test_a_refused_connection_is_said_in_plain_words(tmp_path):
    program = (
        "from vlm_inspect.core.errors import SourceError\n"
        "from vlm_inspect.core.model_ref import ModelRef\n"
        "from vlm_inspect.sources import InspectOptions, load\n"
        "try: load(ModelRef.parse('org/name'), InspectOptions())\n"
        "except SourceError as error: print(error.message)\n"
    )
    endpoint = f"http://127.0.0.1:{closed_port()}"
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"{endpoint} cannot be reached: {told.stdout.partition('reached: ')[2]}"
    assert told.stdout.endswith("Connection refused.\n")


@pytest.mark.parametrize("name", [name for name in catalogue.names() if "Phi-3" not in name])
def test_a_model_of_the_catalogue_has_the_parameters_that_it_had_in_2024(name):
    totals = {
        "TIGER-Lab/Mantis-8B-clip-llama3": 8_354_764_800,
        "TIGER-Lab/Mantis-8B-siglip-llama3": 8_480_007_232,
        "llava-hf/llava-1.5-7b-hf": 7_063_427_072,
        "llava-hf/llava-v1.6-mistral-7b-hf": 7_566_747_648,
        "llava-hf/llava-v1.6-vicuna-7b-hf": 7_063_431_168,
        "HuggingFaceM4/idefics2-8b-base": 8_402_759_920,
        "HuggingFaceM4/idefics2-8b": 8_402_768_112,
        "HuggingFaceM4/idefics2-8b-chatty": 8_402_768_112,
    }
    assert build.build(catalogue.load(name).config, name).total == totals[name]


def test_code_of_a_repository_and_an_unknown_part_are_not_native():
    with pytest.raises(NotNativeError, match="code of its own repo"):
        build.build({"architectures": ["MyModel"], "auto_map": {"AutoModel": "m.MyModel"}}, "mine")
    parts = {"vision_config": {"model_type": "no_such_tower"}}
    with pytest.raises(NotNativeError, match=r"'no_such_tower', which transformers .* does not have"):
        build.build({**catalogue.load(KNOWN).config, **parts}, "mine")


def test_a_configuration_that_is_refused_is_not_taken_for_an_unknown_part():
    odd = {**catalogue.load(KNOWN).config["text_config"], "pad_token_id": 10**6}
    with pytest.raises(UnbuildableConfigError, match="LlavaForConditionalGeneration cannot be built"):
        build.build({**catalogue.load(KNOWN).config, "text_config": odd}, "mine")


def test_the_python_interface_answers(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llava"}', encoding="utf-8")
    record = inspect(str(tmp_path))
    assert sum(component.parameters for component in record.components) == record.parameters.total
