import json

import pytest

from vlm_inspect.app import snapshots
from vlm_inspect.app.pipeline import inspect_model
from vlm_inspect.app.requests import Request
from vlm_inspect.core.errors import SnapshotError
from vlm_inspect.core.options import InspectOptions
from vlm_inspect.storage import snapshots as storage_snapshots

LLAVA = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}


def folder_with(tmp_path, name, **sizes):
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    config = {**LLAVA, "text_config": {"model_type": "llama", "num_hidden_layers": 2, **sizes}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def kept(tmp_path):
    """A folder of snapshots of two local models, and the requests that it was made from."""
    requests = [Request(str(folder_with(tmp_path, name))) for name in ("one", "two")]
    list(snapshots.snapshot(requests, tmp_path / "snapshots"))
    return tmp_path / "snapshots", requests


def verdicts(folder, requests, **options):
    return [checked.verdict for checked in snapshots.check(requests, folder, **options)]


def test_a_model_that_did_not_change_is_the_same(kept):
    assert [verdict.status for verdict in verdicts(*kept)] == ["same", "same"]


def test_a_model_that_changed_is_different_and_its_neighbour_is_not(kept, tmp_path):
    folder_with(tmp_path, "one", intermediate_size=1024)
    one, two = verdicts(*kept)
    assert (one.status, two.status) == ("different", "same")
    assert [change.field for change in one.difference.changes] == ["MLP hidden width"]


def test_snapshots_hold_no_path_of_this_machine(kept, tmp_path):
    for path in storage_snapshots.files_in(kept[0]):
        assert str(tmp_path) not in path.read_text()


def test_the_same_models_give_the_same_bytes(kept):
    folder, requests = kept
    before = {path.name: path.read_bytes() for path in storage_snapshots.files_in(folder)}
    assert not any(written.changed for written in snapshots.snapshot(requests, folder))
    assert before == {path.name: path.read_bytes() for path in storage_snapshots.files_in(folder)}


def test_a_missing_file_is_told_and_written_by_update(kept):
    folder, requests = kept
    (folder / "one.json").unlink()
    checked = list(snapshots.check(requests, folder))
    assert checked[0].verdict.status == "missing"
    assert [path.name for path in snapshots.update(checked, folder)] == ["one.json"]
    assert [verdict.status for verdict in verdicts(folder, requests)] == ["same", "same"]


def test_a_file_of_a_model_that_is_no_longer_configured_is_unused_and_pruned(kept):
    folder, requests = kept
    assert [verdict.status for verdict in verdicts(folder, requests[:1])] == ["same", "orphaned"]
    kept_files = [written.file for written in snapshots.snapshot(requests[:1], folder)]
    assert [path.name for path in snapshots.prune(folder, kept_files)] == ["two.json"]


def test_another_tools_json_is_neither_unused_nor_pruned(kept):
    folder, requests = kept
    other = folder / "package.json"
    other.write_text('{"name": "x"}')
    assert [verdict.status for verdict in verdicts(folder, requests)] == ["same", "same"]
    snapshots.prune(folder, [])
    assert other.is_file()


def test_a_damaged_file_fails_alone(kept):
    folder, requests = kept
    (folder / "one.json").write_text('{"schema_version": 1, "components": [')
    one, two = verdicts(folder, requests)
    assert (one.status, two.status) == ("failed", "same")
    assert "one.json" in one.message
    assert one.hint


def test_update_writes_what_changed_and_nothing_else(kept, tmp_path):
    folder, requests = kept
    untouched = (folder / "two.json").stat().st_mtime_ns
    folder_with(tmp_path, "one", intermediate_size=1024)
    snapshots.update(list(snapshots.check(requests, folder)), folder)
    assert (folder / "two.json").stat().st_mtime_ns == untouched
    assert [verdict.status for verdict in verdicts(folder, requests)] == ["same", "same"]


def test_a_model_that_cannot_be_built_leaves_its_file_as_it_was(kept, tmp_path):
    folder, requests = kept
    before = (folder / "one.json").read_bytes()
    folder_with(tmp_path, "one", num_hidden_layers=-1)
    written = list(snapshots.snapshot(requests, folder))
    assert [bool(each.error) for each in written] == [True, False]
    assert (folder / "one.json").read_bytes() == before
    assert [verdict.status for verdict in verdicts(folder, requests)] == ["failed", "same"]


def test_two_folders_of_one_name_do_not_share_a_file(tmp_path):
    one, other = folder_with(tmp_path / "a", "model"), folder_with(tmp_path / "b", "model")
    with pytest.raises(SnapshotError, match="would both be written"):
        list(snapshots.snapshot([Request(str(one)), Request(str(other))], tmp_path / "snapshots"))
    configured = [
        Request(str(one), configured_id="./a/model"),
        Request(str(other), configured_id="./b/model"),
    ]
    assert len({written.file for written in snapshots.snapshot(configured, tmp_path / "snapshots")}) == 2


def test_without_a_configuration_each_file_names_its_model(tmp_path):
    offline = InspectOptions(offline=True)
    list(snapshots.snapshot([Request("llava-hf/llava-1.5-7b-hf")], tmp_path / "snapshots", offline))
    (verdict,) = verdicts(tmp_path / "snapshots", None, options=offline)
    assert (verdict.model, verdict.status) == ("llava-hf/llava-1.5-7b-hf", "same")


def test_without_a_configuration_a_folder_cannot_be_found_again(kept):
    folder, _ = kept
    assert {verdict.status for verdict in verdicts(folder, None)} == {"failed"}


def test_a_snapshot_file_is_a_model_like_any_other(kept):
    folder, requests = kept
    inspection = inspect_model(str(folder / "one.json"))
    assert inspection.architecture.model.source == "snapshot"
    assert inspection.tree.total == inspect_model(requests[0].reference).tree.total


def on_the_hub(hub, **sizes):
    config = {**LLAVA, "text_config": {"model_type": "llama", "num_hidden_layers": 2, **sizes}}
    return hub.add_model("org/name", {"config.json": json.dumps(config)})


def test_a_branch_that_went_on_is_only_told_when_asked_for_the_latest(hub, tmp_path):
    options = InspectOptions(cache_dir=tmp_path / "cache")
    first = on_the_hub(hub)
    requests = [Request("org/name")]
    list(snapshots.snapshot(requests, tmp_path / "snapshots", options))
    stored = storage_snapshots.read(tmp_path / "snapshots" / "org--name.json")
    assert stored.snapshot.architecture.model.revision == first
    on_the_hub(hub, intermediate_size=1024)
    (pinned,) = verdicts(tmp_path / "snapshots", requests, options=options)
    assert pinned.status == "same"
    still, latest = verdicts(tmp_path / "snapshots", requests, options=options, latest=True)
    assert still.status == "same"
    assert (latest.status, latest.cause) == ("different", "repository")
    assert [change.field for change in latest.difference.changes] == ["MLP hidden width"]
