"""What `--help` shows of every command."""

import shlex

import pytest
import typer

from tests.cli.program import call, run
from vlm_inspect.cli.main import COMMANDS, program

GROUP = typer.main.get_command(program())


def help_at(tmp_path, width, *words):
    return run(*words, "--help", cwd=tmp_path, COLUMNS=str(width)).stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_starts_with_the_sentence_of_the_list(name):
    text = " ".join(call(name, "--help").stdout.split())
    assert f"{COMMANDS[name]} " in text
    assert f"{name} {COMMANDS[name]}" in " ".join(call("--help").stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_groups_and_no_types(name):
    text = call(name, "--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    expected = ["Model:", "Output:", "Hub and cache:", "Examples:"]
    assert headings[-4:] == expected if name != "doctor" else headings == ["Options:", *expected[1:]]
    assert not {"{", "}", "<"} & set(text)
    assert " / --" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_examples_that_are_command_lines(name):
    lines = call(name, "--help").stdout.partition("Examples:\n")[2].splitlines()
    assert len(lines) in {2, 3}
    for line in lines:
        program_name, *words = shlex.split(line)
        context = GROUP.make_context(program_name, list(words))
        found, command, rest = GROUP.resolve_command(context, words)
        command.make_context(found, rest, parent=context)
        assert (program_name, found) == ("vlm-inspect", name)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_help_fits_the_terminal(tmp_path, width):
    for words in ((), *((name,) for name in COMMANDS)):
        assert max(map(len, help_at(tmp_path, width, *words).splitlines())) <= min(width, 100)


def test_the_help_does_not_depend_on_colours(tmp_path):
    plain = run("show", "--help", cwd=tmp_path).stdout
    assert run("show", "--help", cwd=tmp_path, FORCE_COLOR="1").stdout == plain
