"""Valid files, which the strategies damage."""

import json
from functools import cache
from pathlib import Path

from tests import published
from tests.sparse import header
from vlm_inspect.anatomy.config_only import describe_config
from vlm_inspect.anatomy.describe import describe
from vlm_inspect.builders.transformers import build
from vlm_inspect.core.checkpoint import Checkpoint
from vlm_inspect.core.codec import to_bytes
from vlm_inspect.core.errors import NotNativeError
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.snapshot import Snapshot
from vlm_inspect.sources import catalogue
from vlm_inspect.storage.snapshots import SnapshotFile, to_text

ROOT = Path(__file__).parents[2]
UNKNOWN = {"model_type": "no_type", "architectures": ["NoModel"], "vision_config": {"hidden_size": 8}}
"""A model without a class in transformers, which is read from its headers."""
_SIZES = {"num_attention_heads": 2, "num_hidden_layers": 2}
TINY = {
    "model_type": "llava",
    "architectures": ["LlavaForConditionalGeneration"],
    "text_config": {
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 32,
        "vocab_size": 64,
        **_SIZES,
    },
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 8,
        "intermediate_size": 16,
        "image_size": 28,
        "patch_size": 14,
        **_SIZES,
    },
}
"""A model with every component that builds in milliseconds."""
ADAPTER = {
    "peft_type": "LORA",
    "base_model_name_or_path": "./base",
    "r": 2,
    "lora_alpha": 4,
    "target_modules": ["q_proj", "v_proj"],
    "exclude_modules": None,
    "modules_to_save": None,
    "layers_to_transform": None,
    "rank_pattern": {},
    "bias": "none",
}
_LAYER = "base_model.model.model.language_model.layers.0.self_attn"
ADAPTER_SHAPES = {
    f"{_LAYER}.{name}.lora_{half}.weight": shape
    for name in ("q_proj", "v_proj")
    for half, shape in (("A", (2, 16)), ("B", (16, 2)))
}


def as_json(value):
    """JSON with the NaN and the lone surrogates that Python's encoder permits."""
    return json.dumps(value, default=str).encode("utf-8", "surrogatepass")


def safetensors(shapes):
    """A complete safetensors file of zeros."""
    start, size = header(shapes)
    return start + bytes(size)


@cache
def configs():
    """Configurations of the tests, of the catalogue and of the Hub, without those of long vocabularies."""
    files = sorted(ROOT.glob("tests/*/configs/*.json"))
    constants = (value for name, value in vars(published).items() if name.isupper())
    found = [
        *(json.loads(path.read_text(encoding="utf-8")) for path in files),
        *(dict(catalogue.load(name).config) for name in catalogue.names()),
        *(value for value in constants if isinstance(value, dict) and "model_type" in value),
    ]
    return TINY, UNKNOWN, *(config for config in found if len(as_json(config)) < 20_000)


@cache
def tree():
    """The module tree of the small model."""
    return build.build(TINY, "org/name")


@cache
def tree_bytes():
    """The answer of an isolated build."""
    return to_bytes(tree())


@cache
def snapshots():
    """Snapshot files: of the small model, of one that only its configuration describes, and of the Hub."""
    identity = ModelIdentity("org/name", "0" * 40)
    built = Snapshot.of(describe(tree(), identity, "transformers"), tree())
    refusal = NotNativeError("no class", model="org/name")
    described = Snapshot(describe_config(Checkpoint(identity, UNKNOWN), refusal))
    stored = (SnapshotFile(snapshot, "main") for snapshot in (built, described))
    own = (to_text(each).encode() for each in stored)
    return (*own, *(path.read_bytes() for path in sorted((ROOT / "snapshots").glob("*.json"))))


@cache
def shapes():
    """The tensors of the small model: name → shape."""
    return dict(tree().root.parameter_paths())


@cache
def few_shapes():
    """Some of them, of all kinds of modules."""
    wanted = ("embed_tokens", "layers.0.", "lm_head", "linear_1", "patch_embedding")
    return {name: shape for name, shape in shapes().items() if any(part in name for part in wanted)}


@cache
def shards():
    """A checkpoint in two files, and its index."""
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    names = sorted(few_shapes())
    weight_map = {name: files[2 * number // len(names)] for number, name in enumerate(names)}
    contents = {
        file: safetensors({name: few_shapes()[name] for name in names if weight_map[name] == file}) for file in files
    }
    return contents, {"metadata": {"total_size": 4_096}, "weight_map": weight_map}
