"""A file of huggingface_hub's cache is found where huggingface_hub itself finds it."""

import pytest
from huggingface_hub import hf_hub_download, try_to_load_from_cache

from vlm_inspect.ref import ModelRef
from vlm_inspect.sources import InspectOptions
from vlm_inspect.sources.hub_cache import find

REPO = "org/name"


@pytest.fixture
def cache(hub, tmp_path):
    """A cache with two commits: the branch has moved on, and the tag has not been asked for since."""
    first = hub.add_model(REPO, {"config.json": b'{"a": 1}'})
    hub.models[REPO].refs["v1"] = first
    for revision in ("main", "v1", first):
        hf_hub_download(REPO, "config.json", revision=revision, cache_dir=tmp_path)
    second = hub.add_model(REPO, {"config.json": b'{"a": 2}', "other.json": b"{}"})
    hub.models[REPO].refs["refs/pr/1"] = second
    hf_hub_download(REPO, "config.json", cache_dir=tmp_path)
    return tmp_path, first, second


def test_every_revision_leads_to_the_file_that_huggingface_hub_names(cache):
    folder, first, second = cache
    for name in ("config.json", "other.json", "none.json"):
        for revision in ("main", "v1", first, second, "none", "refs/pr/1", "0" * 40):
            found = find(ModelRef(REPO, revision), name, InspectOptions(cache_dir=folder))
            theirs = try_to_load_from_cache(REPO, name, cache_dir=folder, revision=revision)
            assert (str(found) if found else None) == (theirs if isinstance(theirs, str) else None)
    here = InspectOptions(cache_dir=folder)
    assert find(ModelRef(REPO), "config.json", here).read_bytes() == b'{"a": 2}'
    assert find(ModelRef(REPO, "v1"), "config.json", here).read_bytes() == b'{"a": 1}'


def test_of_a_repo_that_was_never_asked_for_there_is_none(cache):
    folder, _, _ = cache
    for name in ("org/other", "gpt2"):
        assert find(ModelRef(name), "config.json", InspectOptions(cache_dir=folder)) is None


def test_without_a_folder_it_is_the_cache_that_the_environment_names(hub):
    hub.add_model("org/named", {"config.json": b"{}"})
    downloaded = hf_hub_download("org/named", "config.json")
    assert str(find(ModelRef("org/named"), "config.json", InspectOptions())) == downloaded
