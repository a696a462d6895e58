"""Module trees in files: one line per distinct module."""

from pathlib import Path

import msgspec

from vlm_inspect.core import codec

FOLDER = Path(__file__).parent.parent / "timm" / "trees"


def to_text(tree):
    """The tree as JSON, children before their parents."""
    data = codec.to_tree_data(tree)
    fields = [f"{_json(name)}: {_json(value)}" for name, value in data.fields.items()]
    nodes = ",\n".join(map(_json, data.nodes))
    return '{"fields": {' + ",\n".join(fields) + '},\n"nodes": [\n' + nodes + "]}\n"


def stored_tree(model_type):
    """The tree of a type, built with all optional packages."""
    return codec.from_bytes((FOLDER / f"{model_type}.json").read_bytes())


def _json(value):
    return msgspec.json.encode(value).decode()
