"""What is changed: real configurations, and the files that the program itself makes of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STATED = ROOT / "tests" / "every_type" / "configs"
PUBLISHED = ROOT.parent / "shared" / "hub"
"""Whole configurations as they were published, where they lie beside the project."""
LAID_OVER = ROOT / "tools" / "support" / "configs"
SNAPSHOTS = ROOT / "snapshots"

UNKNOWN = {"model_type": "no_type", "architectures": ["NoModel"], "vision_config": {"hidden_size": 8}}
"""What transformers has no class for, so that headers answer."""
TINY = {
    "model_type": "llava",
    "architectures": ["LlavaForConditionalGeneration"],
    "text_config": {
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "vocab_size": 64,
    },
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 8,
        "image_size": 28,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "patch_size": 14,
    },
}
"""A model of every part, in milliseconds."""

Shapes = Mapping[str, tuple[int, ...]]


@cache
def configs() -> tuple[dict[str, Any], ...]:
    """Published configurations, those of the catalogue and of the tests, and every type's defaults."""
    from vlm_inspect.sources import catalogue

    paths = [
        *sorted(STATED.glob("*.json")),
        *sorted(LAID_OVER.glob("*.json")),
        *sorted(PUBLISHED.glob("*/config.json")),
    ]
    read = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    built_in = [dict(checkpoint.config) for name in catalogue.names() if (checkpoint := catalogue.load(name))]
    return (
        TINY,
        UNKNOWN,
        *_small(read),
        *_small(built_in),
        *_small(_published_in_short()),
        *_small(_defaults()),
    )


@cache
def config_texts() -> tuple[bytes, ...]:
    """The configurations as files."""
    return tuple(json.dumps(config, indent=2).encode() for config in configs())


@cache
def snapshot_texts() -> tuple[bytes, ...]:
    """Snapshot files: of small models, of one that only its configuration tells, and published ones."""
    from vlm_inspect.anatomy import describe, describe_config
    from vlm_inspect.build import native
    from vlm_inspect.checkpoint import Checkpoint
    from vlm_inspect.errors import NotNativeError
    from vlm_inspect.ref import ModelIdentity
    from vlm_inspect.snapshot import Snapshot
    from vlm_inspect.storage import snapshots

    identity = ModelIdentity("org/name", "0" * 40)
    tree = native.build(TINY, "org/name")
    built = Snapshot.of(describe(tree, identity, "transformers"), tree)
    refusal = NotNativeError("no class", model="org/name")
    told = Snapshot(describe_config(Checkpoint(identity, UNKNOWN), refusal))
    own = [snapshots.to_text(snapshots.Stored(each, "main")).encode() for each in (built, told)]
    return (*own, *own, *own, *(path.read_bytes() for path in sorted(SNAPSHOTS.glob("*.json"))))


@cache
def tensors() -> Shapes:
    """The tensors of the small model, by their names in a checkpoint."""
    from vlm_inspect.build import native

    shapes: dict[str, tuple[int, ...]] = {}

    def collect(node: Any, path: str) -> None:
        for name, shape in node.parameters:
            shapes[f"{path}{name}"] = tuple(shape)
        for name, child in node.children:
            collect(child, f"{path}{name}.")

    collect(native.build(TINY, "org/name").root, "")
    return shapes


@cache
def said_by_a_child() -> Any:
    """What the isolated process of a repo's own code answers, as data."""
    from vlm_inspect.build import native
    from vlm_inspect.tree_codec import to_bytes

    return {"tree": json.loads(to_bytes(native.build(TINY, "org/name")))}


def _published_in_short() -> list[dict[str, Any]]:
    from tests import published

    named = [value for name, value in vars(published).items() if name.isupper() and isinstance(value, dict)]
    return [config for config in named if "model_type" in config]


def _defaults() -> list[dict[str, Any]]:
    from tests.every_type import TYPES, default_config

    found = []
    for model_type in TYPES:
        try:
            config = default_config(model_type)
            found.append(json.loads(json.dumps(config, default=str)))
        except Exception:  # noqa: BLE001, S112, PERF203 - a class whose defaults do not make a configuration
            continue
    return found


def _small(read: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the vocabularies and label maps that make some long."""
    return [copy.deepcopy(config) for config in read if len(json.dumps(config)) < 20_000]  # noqa: PLR2004
