"""Every kind of lookup on the Hub, for the tests of servers that misbehave."""

import time

import pytest

from tests import sparse
from vlm_inspect.core.errors import NoHeadersError
from vlm_inspect.core.model_ref import ModelIdentity, ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import adapters, code_files, headers, load

NAME = "org/name"
TOKEN = "hf_right"  # noqa: S105 - of no account
OWN_CODE = {"model_type": "own", "auto_map": {"AutoModel": "modeling_own.OwnModel"}}
TENSORS = {"a.weight": (4, 3), "b.weight": (5,)}


def publish(hub, tmp_path, **more):
    """A private model with everything that a lookup reads: configurations, index, shards, code."""
    folder = tmp_path / "published"
    sparse.write_sharded(folder, TENSORS, 2)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files |= {"config.json": OWN_CODE, "adapter_config.json": {"peft_type": "LORA"}}
    files |= {"modeling_own.py": b"x = 1\n", **more}
    return hub.add_model(NAME, files, private=True, readers={TOKEN})


def options_of(tmp_path, timeout=20):
    return InspectOptions(token=TOKEN, cache_dir=tmp_path / "cache", timeout=timeout)


# each lookup, with the end of the path that it requests
LOOKUPS = {
    "configuration": ("config.json", lambda ref, _, options: load(ref, options)),
    "adapter": ("adapter_config.json", lambda ref, _, options: adapters.load(ref, options)),
    "index": ("model.safetensors.index.json", headers.load),
    "header": ("-00001-of-00002.safetensors", headers.load),
    "code": ("modeling_own.py", lambda *args: code_files.load(*args[:2], OWN_CODE, args[2])),
}
every_lookup = pytest.mark.parametrize(("file", "look_up"), LOOKUPS.values(), ids=LOOKUPS.keys())


def ask(look_up, commit, options):
    """One lookup at the commit of a model's configuration."""
    return look_up(ModelRef(NAME), ModelIdentity(NAME, commit), options)


def why_no_headers(hub, options):
    """The lookup that requests the list of the repo's files: there is neither index nor single file."""
    commit = hub.add_model(NAME, {"config.json": {}, "pytorch_model.bin": b"\x80"}, readers={TOKEN})
    try:
        return headers.load(ModelRef(NAME), ModelIdentity(NAME, commit), options)
    except NoHeadersError as error:
        return error.message


TEMPORARY = (".part", ".incomplete", ".lock", ".tmp")


def files_below(folder):
    """All files but temporary ones: threads of a failed lookup may still be writing."""
    paths = (path for path in folder.rglob("*") if not path.name.endswith(TEMPORARY))
    return {path for path in paths if path.is_file()}


def remaining_temporary_files(options):
    """Temporary files that nothing removes."""
    until = time.monotonic() + 10
    while True:
        found = [path for path in options.cache_dir.rglob("*") if path.name.endswith(TEMPORARY)]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.02)
