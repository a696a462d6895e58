"""The Python files of a repository, as text."""

import json

import pytest

from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.sources import code_files, load

REF = ModelRef.parse("org/own")
CONFIG = {
    "model_type": "own",
    "auto_map": {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"},
}
FILES = {
    "configuration_own.py": "class OwnConfig: pass\n",
    "modeling_own.py": (
        "from .configuration_own import OwnConfig\nfrom .parts.tower import (\n    Tower,\n)\nfrom . import helpers\n"
    ),
    "parts/tower.py": "from ..layers import Layer\nfrom ...outside import secret\nimport os\n",
    "layers.py": "",
    "helpers.py": "x = 1\n",
    "training.py": "not imported\n",
}
WANTED = sorted(set(FILES) - {"training.py"})


def write(folder, files):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def local(folder, config=CONFIG):
    ref = ModelRef.parse(str(folder))
    return code_files.load(ref, load(ref).identity, config)


def test_named_and_imported_files_are_read_and_no_others(tmp_path):
    assert sorted(local(write(tmp_path / "m", FILES))) == WANTED


def test_sub_configuration_may_name_files(tmp_path):
    config = {"llm_config": {"auto_map": {"AutoModel": ["layers.A", None], "AutoTokenizer": "helpers.B"}}}
    assert sorted(local(write(tmp_path / "m", FILES), config)) == ["helpers.py", "layers.py"]


@pytest.mark.parametrize(
    "reference",
    ["..secret.A", "/etc/hosts.A", "other/repo--modeling.A", "a/b.A", "a\0b.A", "", 3, "x" * 5000 + ".A"],
)
def test_reference_outside_the_repository_is_not_read(reference):
    requested = []
    assert code_files.collect({"auto_map": {"AutoModel": reference}}, requested.append) == {}
    assert requested == []


def test_import_outside_the_repository_is_not_read():
    requested = []

    def read(name):
        requested.append(name)
        return b"from ... import a\nfrom ..b import c\nfrom .d/../e import f\nfrom ./f import g\n"

    code_files.collect({"auto_map": {"AutoModel": "m.A"}}, read)
    assert requested == ["m.py"] + ["d.py"] * ("d.py" in requested)


def test_symbolic_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = write(tmp_path / "m", FILES)
    (tmp_path / "secret.py").write_text("secret = 1\n")
    (folder / "helpers.py").unlink()
    (folder / "helpers.py").symlink_to(tmp_path / "secret.py")
    assert "helpers.py" not in local(folder)


def test_symbolic_links_of_the_hub_cache_are_followed(tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (tmp_path / "snapshots").mkdir()
    folder = write(tmp_path / "snapshots" / "abc", FILES)
    (folder / "helpers.py").rename(blobs / "123")
    (folder / "helpers.py").symlink_to("../../blobs/123")
    assert local(folder)["helpers.py"] == "x = 1\n"


@pytest.mark.parametrize("content", [b"#" * (code_files.LARGEST_FILE + 1), b"\xff\xfe\x00"])
def test_file_that_is_too_long_or_not_text_is_skipped(tmp_path, content):
    folder = write(tmp_path / "m", FILES)
    (folder / "helpers.py").write_bytes(content)
    assert "helpers.py" not in local(folder)


def test_number_of_files_is_limited():
    requested = []

    def read(name):
        requested.append(name)
        return f"from .m{len(requested)} import x\n".encode()

    assert len(code_files.collect({"auto_map": {"AutoModel": "m0.A"}}, read)) == code_files.MOST_FILES
    assert len(requested) == code_files.MOST_FILES


def publish(hub, options, files=FILES):
    """Publish a commit of the model; return its identity."""
    hub.add_model("org/own", {**files, "config.json": CONFIG})
    return load(REF, options).identity


def test_repo_is_read_at_the_commit_of_its_configuration(hub, options):
    identity = publish(hub, options)
    publish(hub, options, {**FILES, "helpers.py": "newer"})
    found = code_files.load(REF, identity, CONFIG, options)
    assert sorted(found) == WANTED
    assert found["helpers.py"] == FILES["helpers.py"]


def test_cached_files_are_read_offline(hub, options, offline):
    identity = publish(hub, options)
    first = code_files.load(REF, identity, CONFIG, options)
    hub.requests.clear()
    assert code_files.load(REF, identity, CONFIG, offline) == first
    assert hub.requests == []


def test_uncached_files_are_skipped_offline(hub, options, offline):
    identity = publish(hub, options)
    assert code_files.load(REF, identity, CONFIG, offline) == {}


def test_model_without_code_sends_no_requests(hub, options):
    identity = publish(hub, options)
    hub.requests.clear()
    assert code_files.load(REF, identity, {"model_type": "llava"}, options) == {}
    assert hub.requests == []
