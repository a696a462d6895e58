"""Names of models that mean harm: an error of a few words in every command, and nothing is written."""

import json

import pytest

from tests.cli.program import call, save
from tests.test_ref import NEITHER

COMMANDS = {
    "table": ("table", "--offline", "--", "{}"),
    "show": ("show", "--offline", "--", "{}"),
    "tree": ("tree", "--offline", "--", "{}"),
    "diff": ("diff", "--offline", "--", "{}", "./model"),
    "diff with": ("diff", "--offline", "--", "./model", "{}"),
    "snapshot": ("snapshot", "--offline", "--folder", "kept", "--", "{}"),
    "verify": ("verify", "--offline", "--", "{}"),
    "verify on": ("verify", "--offline", "--base", "{}", "./model"),
}
WITHOUT = ("--version-of", "-rf", "-\x1b[31m", "--debug=\u202e")
DEVICES = ("CON", "nul", "COM1.txt", "a" * 96)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_can_be_none_is_refused(here, command):
    for name in NEITHER.values():
        answer = call(*(word.replace("{}", name) for word in COMMANDS[command]))
        assert answer.code in {2, 3}, (name[:50], answer)
        assert answer.stdout == ""
        assert answer.stderr.replace("\n", "").isprintable()
        assert len(answer.stderr) < 5_000
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["table", "show", "tree", "diff", "snapshot", "check", "verify"])
@pytest.mark.parametrize("name", WITHOUT)
def test_a_name_that_looks_like_an_option_is_a_usage_error(here, command, name):
    answer = call(command, name)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.replace("\n", "").isprintable()
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["table", "snapshot", "check"])
def test_a_name_in_the_configuration_is_refused_as_on_the_command_line(here, command):
    for name in NEITHER.values():
        quoted = "".join(f"\\U{ord(char):08x}" for char in name)
        (here / "vlm-inspect.toml").write_text(f'[[models]]\nid = "{quoted}"\n')
        answer = call(command, "--offline")
        assert (answer.code, answer.stdout) == (2, ""), name[:50]
        assert answer.stderr.replace("\n", "").isprintable()
        assert len(answer.stderr) < 5_000
    assert [path.name for path in here.iterdir()] == ["vlm-inspect.toml"]


@pytest.mark.parametrize("name", ["..", "../up", "CON", "nul.json", "a" * 200, "\u202eevil", "=1", "-rf", "a\nb", "é"])
def test_the_snapshot_of_a_folder_lies_in_the_snapshots_folder(here, name):
    folder = save(here / "deep" / "deeper", name) if name != ".." else save(here, "deep")
    (here / "deep" / "deeper").mkdir(parents=True, exist_ok=True)
    model = folder if name not in {"..", "../up"} else here / "deep" / "deeper" / name
    before = {path for path in here.rglob("*") if path.is_file()}
    assert call("snapshot", model, "--folder", here / "kept").code == 0
    (written,) = {path for path in here.rglob("*") if path.is_file()} - before
    assert written.parent == here / "kept"
    assert written.name.isascii()


@pytest.mark.parametrize("name", DEVICES)
def test_a_name_that_only_a_system_minds_is_looked_up_as_any_other(here, name):
    answer = call("snapshot", "--offline", "--folder", "kept", name)
    assert answer.code == 3
    assert "neither the cache nor the built-in catalogue has" in answer.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../model", "./model", "/etc/passwd", "~/x", "model/config.json", "a b", "\u043erg/x"]
)
def test_a_snapshot_does_not_choose_what_is_read_on_this_machine(here, name):
    folder = save(here, "model")
    assert call("snapshot", folder, "--folder", "kept").code == 0
    (file,) = (here / "kept").iterdir()
    record = json.loads(file.read_text())
    record["model"] = {"id": name, "revision": None, "source": "hub"}
    file.write_text(json.dumps(record))
    answer = call("check", "--folder", "kept", "--offline", "--format", "json")
    assert answer.code == 3
    (verdict,) = answer.data["models"]
    assert verdict["status"] == "failed"
    assert "is no model on the Hub" in verdict["message"]


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_cache_in_the_home_of_nobody_is_no_bug(here, command):
    answer = call(command, "org/name", "--offline", "--cache-dir", "~no_such_user_/cache")
    assert answer.code == 3
    assert "neither the cache nor the built-in catalogue has org/name" in answer.stderr
    assert list(here.iterdir()) == []


def test_a_path_that_no_file_can_have_is_an_error(here):
    answer = call("snapshot", "\ud800.json", "--offline", "--folder", here / "snapshots")
    assert answer.code == 3
    assert "This is a bug" not in answer.stderr
