"""What needs no model imports no library that builds one."""

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from tests.cli.program import SCRIPT, call, environment, run
from vlm_inspect.cli import main
from vlm_inspect.cli.main import COMMANDS, program

HEAVY = {"torch", "transformers", "accelerate", "huggingface_hub", "jinja2"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["table", "--help"],
        ["show", "-h"],
        ["frob"],
        ["table", "--frob"],
        ["table", "--columns", "bogus"],
        ["show", "not a model"],
        ["show", "./none"],
        ["verify", "-h"],
        ["verify", "not a model"],
        ["verify", "./none"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported_for(tmp_path, arguments):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vlm_inspect", *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(re.findall(r"\| +(\w+)$", done.stderr, re.MULTILINE))
    assert "vlm_inspect" in imported
    assert not imported & HEAVY


def test_the_package_itself_is_light_until_something_is_asked_of_it(tmp_path):
    script = "import sys, vlm_inspect; vlm_inspect.VlmInspectError; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & HEAVY


def test_the_help_names_every_command_and_says_what_it_does():
    answer = call("--help")
    assert (answer.code, answer.stderr) == (0, "")
    for command in ("table", "show", "tree"):
        assert re.search(rf"^  {command} +[A-Z]", answer.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["table", "show", "tree"])
def test_a_commands_help_is_plain_text_without_a_type_for_a_switch(command):
    text = call(command, "-h").stdout
    assert text == call(command, "--help").stdout
    assert text.isascii() or "…" in text
    assert "bool" not in text
    assert re.search(r"--quiet +No progress", text)


def test_the_list_of_commands_is_the_same_whichever_were_imported():
    everything = CliRunner().invoke(program(), ["--help"]).stdout
    assert CliRunner().invoke(program(()), ["--help"]).stdout == everything
    assert all(f"  {name} " in everything for name in COMMANDS)


def test_what_a_command_that_was_not_asked_for_needs_is_not_imported(tmp_path):
    script = (
        "import sys\n"
        "from vlm_inspect.cli.main import main\n"
        "sys.argv = ['vlm-inspect', '--help']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert not {'vlm_inspect.app.api', 'vlm_inspect.cli.table'} & {*sys.modules}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_shell_that_completes_is_told_the_options_of_every_command(tmp_path):
    words = {"COMP_WORDS": "vlm-inspect table --kin", "COMP_CWORD": "2"}
    told = run(cwd=tmp_path, program=SCRIPT, _VLM_INSPECT_COMPLETE="complete_bash", **words)
    assert told.stdout.split() == ["--kind"]


@pytest.mark.parametrize(
    ("shell", "typed"),
    [
        ("bash", {"COMP_WORDS": "vlm-inspect sho", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "vlm-inspect sho"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "vlm-inspect sho", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_the_name_of_a_command_is_completed_in_every_shell(tmp_path, shell, typed):
    told = run(cwd=tmp_path, program=SCRIPT, _VLM_INSPECT_COMPLETE=f"complete_{shell}", **typed)
    assert "show" in told.stdout
    assert "table" not in told.stdout


def test_a_shell_that_does_not_say_what_was_typed_is_told_of_every_command(monkeypatch):
    for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("_VLM_INSPECT_COMPLETE", "complete_zsh")
    assert main._argv() is COMMANDS  # noqa: SLF001


@pytest.mark.parametrize("arguments", [["table", "--frob"], ["show", "-h"], ["check", "--frob"]], ids=" ".join)
def test_a_command_is_not_imported_with_all_its_work_to_say_what_it_takes(tmp_path, arguments):
    script = (
        "import sys\n"
        "from vlm_inspect.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sys.modules, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    imported = set(done.stdout.splitlines())
    assert f"vlm_inspect.cli.{arguments[0]}" in imported
    work = {
        f"vlm_inspect.{name}"
        for name in ("core.architecture", "app.requests", "app.pipeline", "app.snapshots", "storage.blocks")
    }
    assert not imported & work
