"""A file of huggingface_hub's cache is found where huggingface_hub itself finds it."""

import pytest
from huggingface_hub import hf_hub_download, try_to_load_from_cache

from vlm_inspect.core.model_ref import ModelRef
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.sources.hub import find_cached

REPO = "org/name"


@pytest.fixture
def cache(hub, tmp_path):
    """A cache with two commits: the branch has moved since, and the tag has not."""
    first = hub.add_model(REPO, {"config.json": b'{"a": 1}'})
    hub.models[REPO].refs["v1"] = first
    for revision in ("main", "v1", first):
        hf_hub_download(REPO, "config.json", revision=revision, cache_dir=tmp_path)
    second = hub.add_model(REPO, {"config.json": b'{"a": 2}', "other.json": b"{}"})
    hub.models[REPO].refs["refs/pr/1"] = second
    hf_hub_download(REPO, "config.json", cache_dir=tmp_path)
    return tmp_path, first, second


def test_every_revision_is_found_as_by_huggingface_hub(cache):
    folder, first, second = cache
    for name in ("config.json", "other.json", "none.json"):
        for revision in ("main", "v1", first, second, "none", "refs/pr/1", "0" * 40):
            found = find_cached(ModelRef(REPO, revision), name, InspectOptions(cache_dir=folder))
            theirs = try_to_load_from_cache(REPO, name, cache_dir=folder, revision=revision)
            assert (str(found) if found else None) == (theirs if isinstance(theirs, str) else None)
    here = InspectOptions(cache_dir=folder)
    assert find_cached(ModelRef(REPO), "config.json", here).read_bytes() == b'{"a": 2}'
    assert find_cached(ModelRef(REPO, "v1"), "config.json", here).read_bytes() == b'{"a": 1}'


def test_unknown_repo_is_not_found(cache):
    folder, _, _ = cache
    for name in ("org/other", "gpt2"):
        assert find_cached(ModelRef(name), "config.json", InspectOptions(cache_dir=folder)) is None


def test_default_is_the_cache_of_the_environment(hub):
    hub.add_model("org/named", {"config.json": b"{}"})
    downloaded = hf_hub_download("org/named", "config.json")
    assert str(find_cached(ModelRef("org/named"), "config.json", InspectOptions())) == downloaded
