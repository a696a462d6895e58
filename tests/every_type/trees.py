"""Module trees in files, as the package writes them: a line for each kind of module."""

from pathlib import Path

import msgspec

from vlm_inspect.core import codec

FOLDER = Path(__file__).parent.parent / "timm" / "trees"


def to_text(tree):
    """The tree as JSON, those modules that lie inside others before them."""
    data = codec.to_tree_data(tree)
    fields = [f"{_json(name)}: {_json(value)}" for name, value in data.fields.items()]
    nodes = ",\n".join(map(_json, data.nodes))
    return '{"fields": {' + ",\n".join(fields) + '},\n"nodes": [\n' + nodes + "]}\n"


def stored(model_type):
    """The tree of a type as an environment in which nothing is missing built it."""
    return codec.from_bytes((FOLDER / f"{model_type}.json").read_bytes())


def _json(value):
    return msgspec.json.encode(value).decode()
