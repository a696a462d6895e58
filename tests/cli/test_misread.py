"""A configuration that its class did not read, as users meet it."""

import json

import pytest

from tests.cli.program import call, cells, save
from tests.published import FLORENCE_2_LARGE, LLAVA_1_5_7B, LLAVA_ORIGINAL_13B

FORMATS = ["terminal", "markdown", "csv", "latex", "html"]


@pytest.fixture
def odd(here):
    return save(here, "odd", LLAVA_ORIGINAL_13B)


@pytest.fixture
def good(here):
    return save(here, "good", LLAVA_1_5_7B)


def test_the_table_warns_on_stderr_and_in_itself(odd, good):
    answer = call("table", odd, good)
    assert answer.code == 0
    (warning,) = [line for line in answer.stderr.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: odd: this may not be the model")
    assert "hidden_size 5120 (built: text_config.hidden_size 4096)" in warning
    assert [row[0] for row in cells(answer.stdout)[1:]] == ["`odd` (!)", "`good`"]
    assert "\n- (!) odd: this may not be the model" in answer.stdout


def test_a_warning_is_no_note_and_quiet_does_not_silence_it(odd):
    assert "warning: odd" in call("table", odd, "--quiet").stderr


@pytest.mark.usefixtures("odd", "good")
def test_a_regenerated_file_tells_its_readers(here):
    (here / "vlm-inspect.toml").write_text('[[models]]\nid = "./odd"\n[[models]]\nid = "./good"\n')
    page = here / "README.md"
    page.write_text("<!-- vlm-inspect:begin architectures -->\n<!-- vlm-inspect:end architectures -->\n")
    answer = call("table", "--write", page)
    assert answer.code == 0, answer.stderr
    assert "(!)" in page.read_text().splitlines()[5]
    assert "- (!)" in page.read_text()


@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_show_says_it_near_the_top(odd, name):
    answer = call("show", odd, "--format", name)
    place = " ".join(answer.stdout.split()).index("this may not be the model")
    assert place < len(answer.stdout) / 2 or name == "html"


def test_json_holds_every_unread_key(odd):
    answer = call("show", odd, "--format", "json")
    unread = {key["path"]: key for key in json.loads(answer.stdout)["unused_config_keys"]}
    assert unread["hidden_size"] == {
        "path": "hidden_size",
        "value": "5120",
        "structural": True,
        "built_instead": "text_config.hidden_size 4096",
    }
    assert not unread["mm_vision_select_layer"]["structural"]
    assert "this may not be the model" in answer.stderr


@pytest.mark.parametrize("command", ["tree", "diff"])
def test_what_else_is_answered_of_it_warns_too(odd, good, command):
    answer = call(command, odd, *([good] if command == "diff" else []))
    assert "this may not be the model" in answer.stderr


def test_a_difference_tells_what_only_one_of_them_misread(odd, good):
    changes = json.loads(call("diff", odd, good, "--format", "json").stdout)["changes"]
    (change,) = [change for change in changes if change["field"] == "ignored config keys"]
    assert change["before"][0] == "hidden_size"
    assert change["after"] is None


def test_a_snapshot_keeps_it_and_is_answered_as_it_was(odd, here):
    assert call("snapshot", odd, "--folder", here / "kept").code == 0
    (file,) = (here / "kept").iterdir()
    answer = call("show", file)
    assert "this may not be the model" in answer.stdout
    assert call("diff", odd, file).code == 0


def test_widths_of_another_name_are_told_with_what_was_built(here):
    answer = call("show", save(here, "florence", FLORENCE_2_LARGE), "--format", "terminal")
    told = " ".join(answer.stdout.split())
    assert "vision_config.dim_embed [256, 512, 1024, 2048]" in told
    assert "(built: vision_config.embed_dim [128, 256, 512, 1024])" in told


def test_a_model_that_is_read_is_warned_of_nowhere(good):
    for command in (("table", good), ("show", good), ("tree", good), ("diff", good, good)):
        answer = call(*command)
        assert "may not be the model" not in answer.stdout + answer.stderr
        assert "(!)" not in answer.stdout
