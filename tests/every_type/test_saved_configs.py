"""What `save_pretrained` writes is read as transformers reads it: the same class of the same configuration."""

import json
import math

import pytest
import transformers

from tests.cli.program import run
from tests.every_type import TYPES, architecture_of, config_of
from tests.every_type.answers import independent_count
from vlm_inspect.builders.transformers import build
from vlm_inspect.sources.config_file import parse_config, read_config

TAGGED = ["nemo_speechlm", "nemotron_h_omni"]  # their text models have a limit of infinity


def configuration(model_type, *, stated):
    """The configuration object: of the values that are stated for this type, or of the class's defaults alone."""
    config_class = getattr(transformers, architecture_of(model_type)).config_class
    return config_class.from_dict(config_of(model_type)) if stated else config_class()


def saved(config, folder, model_type):
    config.architectures = [architecture_of(model_type)]
    config.save_pretrained(folder)
    return read_config(folder / "config.json", model_type)


def comparable(config):
    values = config.to_dict()
    return {key: value for key, value in values.items() if key not in {"transformers_version", "dtype"}}


@pytest.mark.parametrize("stated", [False, True], ids=["defaults", "stated"])
@pytest.mark.parametrize("model_type", TYPES)
def test_a_saved_configuration_is_read_back(model_type, stated, tmp_path):
    config = configuration(model_type, stated=stated)
    with build.selected_class(saved(config, tmp_path, model_type), model_type) as selected:
        resolved = build.resolve(selected, read_config(tmp_path / "config.json", model_type))
    assert selected.model_class.__name__ == architecture_of(model_type)
    assert type(resolved) is type(config)
    assert comparable(resolved) == comparable(config)


@pytest.mark.parametrize("model_type", TAGGED)
def test_a_tagged_float_is_built(model_type, tmp_path):
    config = configuration(model_type, stated=True)
    tree = build.build(saved(config, tmp_path, model_type), model_type)
    assert '"__float__": "Infinity"' in (tmp_path / "config.json").read_text()
    assert tree.total == independent_count(model_type)


def test_the_program_shows_a_saved_configuration(tmp_path):
    config = transformers.AutoConfig.for_model("nemotron_h_omni")
    saved(config, tmp_path, "nemotron_h_omni")
    answer = run("show", tmp_path, "--format", "json", cwd=tmp_path)
    assert answer.data["parameters"]["total"] == 2_659_803_008


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"__float__": "Infinity"}', math.inf),
        ('{"__float__": "-Infinity"}', -math.inf),
        ('[0.0, {"__float__": "Infinity"}]', [0.0, math.inf]),
        ('{"inner": [{"deep": {"__float__": "-Infinity"}}]}', {"inner": [{"deep": -math.inf}]}),
        # no tag: transformers leaves these as they are
        ('{"__float__": "infinity"}', {"__float__": "infinity"}),
        ('{"__float__": 1}', {"__float__": 1}),
        ('{"__float__": "NaN", "more": 1}', {"__float__": "NaN", "more": 1}),
    ],
)
def test_a_tag_is_decoded_as_transformers_decodes_it(text, value):
    decode = transformers.PretrainedConfig._decode_special_floats  # noqa: SLF001 - what is compared with
    assert parse_config(f'{{"key": {text}}}'.encode(), "org/name") == {"key": value}
    assert decode(json.loads(f'{{"key": {text}}}')) == {"key": value}


def test_a_tag_for_no_number_is_decoded():
    assert math.isnan(parse_config(b'{"key": {"__float__": "NaN"}}', "org/name")["key"])


def test_a_tag_is_no_configuration():
    with pytest.raises(Exception, match="holds a number, not an object"):
        parse_config(b'{"__float__": "NaN"}', "org/name")
