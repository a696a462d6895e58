"""The Python files of a repository, as text."""

import json

import pytest

from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources import code_files, load

CONFIG = {
    "model_type": "own",
    "auto_map": {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"},
}
FILES = {
    "configuration_own.py": "class OwnConfig: pass\n",
    "modeling_own.py": (
        "from .configuration_own import OwnConfig\nfrom .parts.tower import (\n"
        "    Tower,\n)\nfrom . import helpers\n"
    ),
    "parts/tower.py": "from ..layers import Layer\nfrom ...outside import secret\nimport os\n",
    "layers.py": "",
    "helpers.py": "x = 1\n",
    "training.py": "nobody imports it\n",
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


def test_what_is_named_and_what_that_imports_is_read_and_nothing_else(tmp_path):
    assert sorted(local(write(tmp_path / "m", FILES))) == WANTED


def test_a_part_of_the_configuration_may_name_files_too(tmp_path):
    config = {"llm_config": {"auto_map": {"AutoModel": ["layers.A", None], "AutoTokenizer": "helpers.B"}}}
    assert sorted(local(write(tmp_path / "m", FILES), config)) == ["helpers.py", "layers.py"]


@pytest.mark.parametrize(
    "reference",
    ["..secret.A", "/etc/hosts.A", "other/repo--modeling.A", "a/b.A", "a\0b.A", "", 3, "x" * 5000 + ".A"],
)
def test_a_name_that_leads_out_of_the_repository_is_not_asked_for(reference):
    asked = []
    assert code_files.collect({"auto_map": {"AutoModel": reference}}, asked.append) == {}
    assert asked == []


def test_imports_do_not_lead_out_of_the_repository():
    asked = []

    def read(name):
        asked.append(name)
        return b"from ... import a\nfrom ..b import c\nfrom .d/../e import f\nfrom ./f import g\n"

    code_files.collect({"auto_map": {"AutoModel": "m.A"}}, read)
    assert asked == ["m.py"] + ["d.py"] * ("d.py" in asked)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = write(tmp_path / "m", FILES)
    (tmp_path / "secret.py").write_text("secret = 1\n")
    (folder / "helpers.py").unlink()
    (folder / "helpers.py").symlink_to(tmp_path / "secret.py")
    assert "helpers.py" not in local(folder)


def test_the_links_of_the_hubs_cache_are_followed(tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (tmp_path / "snapshots").mkdir()
    folder = write(tmp_path / "snapshots" / "abc", FILES)
    (folder / "helpers.py").rename(blobs / "123")
    (folder / "helpers.py").symlink_to("../../blobs/123")
    assert local(folder)["helpers.py"] == "x = 1\n"


@pytest.mark.parametrize("content", [b"#" * (code_files.LARGEST_FILE + 1), b"\xff\xfe\x00"])
def test_a_file_that_is_too_long_or_no_text_is_left_out(tmp_path, content):
    folder = write(tmp_path / "m", FILES)
    (folder / "helpers.py").write_bytes(content)
    assert "helpers.py" not in local(folder)


def test_files_without_end_are_not_all_asked_for():
    asked = []

    def read(name):
        asked.append(name)
        return f"from .m{len(asked)} import x\n".encode()

    assert len(code_files.collect({"auto_map": {"AutoModel": "m0.A"}}, read)) == code_files.MOST_FILES
    assert len(asked) == code_files.MOST_FILES


@pytest.fixture
def options(tmp_path):
    return InspectOptions(cache_dir=tmp_path / "cache")


def repo(hub, files=FILES):
    content = {name: text.encode() for name, text in {**files, "config.json": json.dumps(CONFIG)}.items()}
    return hub.add_model("org/own", content)


def test_a_repo_is_read_at_the_commit_of_its_configuration(hub, options):
    repo(hub)
    ref = ModelRef.parse("org/own")
    identity = load(ref, options).identity
    repo(hub, {**FILES, "helpers.py": "newer"})
    found = code_files.load(ref, identity, CONFIG, options)
    assert sorted(found) == WANTED
    assert found["helpers.py"] == FILES["helpers.py"]


def test_what_was_read_once_is_read_offline(hub, options):
    repo(hub)
    ref = ModelRef.parse("org/own")
    identity = load(ref, options).identity
    first = code_files.load(ref, identity, CONFIG, options)
    hub.requests.clear()
    offline = InspectOptions(cache_dir=options.cache_dir, offline=True)
    assert code_files.load(ref, identity, CONFIG, offline) == first
    assert hub.requests == []


def test_offline_without_a_cache_there_is_no_code_and_no_error(hub, options):
    repo(hub)
    ref = ModelRef.parse("org/own")
    identity = load(ref, options).identity
    offline = InspectOptions(cache_dir=options.cache_dir, offline=True)
    assert code_files.load(ref, identity, CONFIG, offline) == {}


def test_a_model_without_code_asks_for_nothing(hub, options):
    hub.requests.clear()
    identity = load(ModelRef.parse("org/own"), options).identity if repo(hub) else None
    hub.requests.clear()
    assert code_files.load(ModelRef.parse("org/own"), identity, {"model_type": "llava"}, options) == {}
    assert hub.requests == []
