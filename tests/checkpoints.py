"""Checkpoints with the tensors of transformers' own models: the real names and shapes, as sparse files."""

import json
from functools import cache

from tests import sparse
from vlm_inspect.builders.transformers import build
from vlm_inspect.builders.transformers.loader import empty_model


@cache
def _tensors(config):
    config = json.loads(config)
    with build.selected_class(config, "a test's model") as selected:
        live = empty_model(selected.model_class, selected.config_class.from_dict(config))
        state, tied = live.state_dict(), frozenset(live.all_tied_weights_keys)
    return {path: tuple(tensor.shape) for path, tensor in state.items() if path not in tied}


def tensors_of(config):
    """Every parameter and persistent buffer that the built model has, tied ones once: path → shape."""
    return dict(_tensors(json.dumps(config)))


def renamed(tensors, prefixes):
    """The tensors under other names: each by the first of the prefixes that it starts with, new → old."""
    return {_old(name, prefixes): shape for name, shape in tensors.items()}


def _old(name, prefixes):
    for new, old in prefixes.items():
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def save(folder, config, tensors=None, shards=1):
    """A model's folder: its config.json, and its tensors in so many files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = tensors_of(config) if tensors is None else tensors
    if shards == 1:
        sparse.write(folder / "model.safetensors", tensors)
    else:
        sparse.write_sharded(folder, tensors, shards)
    return folder
