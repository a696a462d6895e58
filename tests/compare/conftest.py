"""Real models, each built once."""

from functools import cache

import pytest

from tests.anatomy.test_every_type import default_config
from vlm_inspect.anatomy import describe, describe_config
from vlm_inspect.build import native
from vlm_inspect.errors import NotNativeError
from vlm_inspect.ref import ModelIdentity
from vlm_inspect.snapshot import Snapshot
from vlm_inspect.sources import catalogue

TYPES = ("llava", "qwen2_5_vl", "idefics2", "mllama", "paligemma", "deepseek_vl_hybrid")


@cache
def of_type(model_type):
    tree = native.build(default_config(model_type), model_type)
    identity = ModelIdentity(model_type, source="local")
    return Snapshot.of(describe(tree, identity, "transformers"), tree)


@cache
def of_catalogue(name):
    checkpoint = catalogue.load(name)
    try:
        tree = native.build(checkpoint.config, name)
    except NotNativeError as error:
        return Snapshot.of(describe_config(checkpoint, error), None)
    return Snapshot.of(describe(tree, checkpoint.identity, "transformers"), tree)


@pytest.fixture(params=TYPES)
def model(request):
    return of_type(request.param)
