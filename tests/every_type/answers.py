"""The record of each type, made once in a session, and a parameter count without this project's code."""

import os
import pickle
import tempfile
import warnings
from functools import cache
from pathlib import Path

import torch
import transformers

from tests.every_type import NEEDS_EXTRA, architecture_of, config_of
from tests.every_type.trees import stored_tree
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core import codec
from vlm_inspect.core.model_ref import ModelIdentity


@cache
def tree_of(model_type):
    """The module tree; for a type that needs an optional package, the stored one."""
    return stored_tree(model_type) if model_type in NEEDS_EXTRA else _built_tree(model_type)


def _built_tree(model_type):
    """Built once per session; other test workers read its file."""
    path = Path(os.environ["VLM_INSPECT_TESTS_SHARED"]) / f"{model_type}.tree"
    if path.exists():
        return codec.from_bytes(path.read_bytes())
    tree = build.build(config_of(model_type), model_type)
    _replace(path, codec.to_bytes(tree))
    return tree


@cache
def record_of(model_type):
    """The record of a type."""
    return describe(tree_of(model_type), ModelIdentity(model_type, source="local"), "transformers")


def independent_count(model_type):
    """Parameters as torch counts them in transformers' own class."""
    return _independent(model_type)[0]


def independent_tensors(model_type):
    """The tensors of the model's checkpoint: name, dtype, shape and bytes, each tensor once."""
    return _independent(model_type)[1]


def _independent(model_type):
    """The count and the tensors, computed once per session."""
    path = Path(os.environ["VLM_INSPECT_TESTS_SHARED"]) / f"{model_type}.independent"
    if not path.exists():
        _replace(path, pickle.dumps(_count_and_tensors(model_type)))
    return pickle.loads(path.read_bytes())  # noqa: S301 - our own


def _replace(path, content):
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


def _count_and_tensors(model_type):
    model_class = getattr(transformers, architecture_of(model_type))
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        config = model_class.config_class.from_dict(config_of(model_type))
        model = model_class._from_config(config)  # noqa: SLF001 - as AutoModel does
        model.tie_weights()
    stored = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        stored.setdefault(id(tensor), (name, tensor))
    tensors = [
        (name, tensor.dtype, tuple(tensor.shape), tensor.numel() * tensor.element_size())
        for name, tensor in stored.values()
    ]
    return sum(parameter.numel() for parameter in model.parameters()), tensors
