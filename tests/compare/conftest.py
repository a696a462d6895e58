"""Real models, each built once."""

from functools import cache

import pytest

from tests.every_type import default_config, small
from vlm_inspect.anatomy.config_only import describe_config
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.snapshot import Snapshot
from vlm_inspect.sources import catalogue

TYPES = ("llava", "qwen2_5_vl", "idefics2", "mllama", "paligemma", "deepseek_vl_hybrid")


@cache
def of_type(model_type):
    tree = build.build(default_config(model_type), model_type)
    identity = ModelIdentity(model_type, source="local")
    return Snapshot.of(describe(tree, identity, "transformers"), tree)


def of_config(config):
    """The model that a configuration builds."""
    tree = build.build(config, config["model_type"])
    identity = ModelIdentity(config["model_type"], source="local")
    return Snapshot.of(describe(tree, identity, "transformers"), tree)


@cache
def modules_of_type(model_type):
    """Its modules, of two layers in each stack; if it has layers of cross attention, the second is one."""
    config = small(default_config(model_type))
    if "cross_attention_layers" in config.get("text_config", {}):
        config["text_config"]["cross_attention_layers"] = [1]
    return build.build(config, model_type).root


@cache
def of_catalogue(name):
    checkpoint = catalogue.load(name)
    try:
        tree = build.build(checkpoint.config, name)
    except NotNativeError as error:
        return Snapshot.of(describe_config(checkpoint, error), None)
    return Snapshot.of(describe(tree, checkpoint.identity, "transformers"), tree)


@pytest.fixture(params=TYPES)
def model(request):
    return of_type(request.param)
