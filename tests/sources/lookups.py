"""Every kind of question that is asked of the Hub, for the tests of a Hub that misbehaves."""

import pytest

from tests import sparse
from vlm_inspect.errors import NoHeadersError
from vlm_inspect.ref import ModelIdentity, ModelRef
from vlm_inspect.sources import InspectOptions, adapters, code_files, headers, load

NAME = "org/name"
READER = "hf_right"
OWN_CODE = {"model_type": "own", "auto_map": {"AutoModel": "modeling_own.OwnModel"}}
TENSORS = {"a.weight": (4, 3), "b.weight": (5,)}


def publish(hub, tmp_path, **more):
    """A private model with all that is ever asked for: configurations, index, shards, code."""
    folder = tmp_path / "published"
    sparse.write_sharded(folder, TENSORS, 2)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {"config.json": OWN_CODE, "adapter_config.json": {"peft_type": "LORA"}}
    files |= {"modeling_own.py": b"x = 1\n", **more}
    return hub.add_model(NAME, files, private=True, readers={READER})


def options_of(tmp_path, deadline=20):
    return InspectOptions(token=READER, cache_dir=tmp_path / "cache", timeout=deadline)


def _listing(ref, identity, options):
    """The list of files is asked for to say why there are no headers."""
    try:
        return headers.load(ref, identity, options)
    except NoHeadersError as error:
        return error.message


def _configuration(ref, _, options):
    return load(ref, options)


def _adapter(ref, _, options):
    return adapters.load(ref, options)


def _code(ref, identity, options):
    return code_files.load(ref, identity, OWN_CODE, options)


# each question, and how the path ends that it is about
LOOKUPS = {
    "the configuration": ("config.json", _configuration),
    "the adapter's": ("adapter_config.json", _adapter),
    "the index": ("model.safetensors.index.json", headers.load),
    "a header": ("-00001-of-00002.safetensors", headers.load),
    "code": ("modeling_own.py", _code),
}
every_lookup = pytest.mark.parametrize(("file", "look_up"), LOOKUPS.values(), ids=LOOKUPS.keys())


def ask(look_up, commit, options):
    """One lookup, as a model's own are made: at the commit of its configuration."""
    return look_up(ModelRef(NAME), ModelIdentity(NAME, commit), options)


def ask_for_the_list(hub, options):
    """The lookup that ends in the list of the repo's files: there is neither index nor single file."""
    commit = hub.add_model(NAME, {"config.json": {}, "pytorch_model.bin": b"\x80"}, readers={READER})
    return _listing(ModelRef(NAME), ModelIdentity(NAME, commit), options)


def half_written(options):
    """What a download left behind in any cache."""
    names = (".part", ".incomplete", ".lock", ".tmp")
    return [path for path in options.cache_dir.rglob("*") if path.is_file() and path.name.endswith(names)]
