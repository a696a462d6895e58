"""Terminals, pipes and full disks: what is written where, and how it looks there."""

import os
import pty
import re
import struct
import subprocess
import termios
from contextlib import suppress
from fcntl import ioctl

import pytest

from tests.cli.program import NO_HUB, SCRIPT, environment, run, save

ANY_ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[[0-9;]+m")


@pytest.fixture
def broken(tmp_path):
    """Two models that are none: they are answered without an import."""
    return save(tmp_path, "a", "[]"), save(tmp_path, "b", "[]")


def on_a_terminal(*arguments, cwd, columns=100, **env):
    """(exit code, all that a terminal was sent): stdout and stderr are one terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [*SCRIPT, *map(str, arguments)],
        cwd=cwd,
        env=environment(**{"TERM": "xterm-256color", "HF_ENDPOINT": NO_HUB, **env}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    sent = b""
    with suppress(OSError):  # the other side of a terminal ends with EIO
        while part := os.read(ours, 65536):
            sent += part
    os.close(ours)
    return process.wait(), sent.decode()


def test_a_terminal_gets_colours_lines_that_fit_and_progress(tmp_path):
    models = save(tmp_path, "a"), save(tmp_path, "b")
    code, sent = on_a_terminal("table", *models, cwd=tmp_path, columns=60)
    assert code == 0
    assert COLOUR.search(sent)
    assert re.search(r"\d/2", COLOUR.sub("", sent))
    answer = COLOUR.sub("", sent[sent.rindex("\x1b[2K") + 4 :])
    assert "  Vision Layers            24 layers\r\n" in answer
    assert max(len(line) for line in answer.splitlines()) <= 60
    assert ANY_ESCAPE not in answer


def test_no_colour_is_sent_where_the_user_wants_none(broken, tmp_path):
    code, sent = on_a_terminal("table", *broken, cwd=tmp_path, NO_COLOR="1")
    assert code == 3
    assert "error: " in sent
    assert not COLOUR.search(sent)


def test_no_escape_is_sent_to_a_terminal_that_knows_none(broken, tmp_path):
    code, sent = on_a_terminal("table", *broken, cwd=tmp_path, TERM="dumb")
    assert code == 3
    assert "Model Name" in sent or "a\r\n" in sent
    assert ANY_ESCAPE not in sent


def test_quiet_draws_no_progress_and_still_tells_errors(broken, tmp_path):
    code, sent = on_a_terminal("table", *broken, "-q", cwd=tmp_path)
    assert code == 3
    assert "/2" not in sent
    assert "\x1b[2K" not in sent
    assert sent.count("error: ") >= 2


def test_one_model_draws_no_progress(broken, tmp_path):
    assert "\x1b[2K" not in on_a_terminal("table", broken[0], cwd=tmp_path)[1]


def test_a_pipe_gets_no_progress_and_no_escapes(broken, tmp_path):
    answer = run("table", *broken, cwd=tmp_path, TERM="xterm-256color", FORCE_COLOR="1")
    assert answer.code == 3
    assert ANY_ESCAPE not in answer.stdout + answer.stderr


def test_a_terminal_without_the_characters_gets_others(tmp_path):
    code, sent = on_a_terminal("show", save(tmp_path, "model"), cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert code == 0
    assert sent.isascii()
    assert re.search(r"93\.5 %.*####", sent)


def test_a_pipe_gets_utf_8_whatever_the_locale(broken, tmp_path):
    arguments = ("table", *broken, "--columns", "model,lm_head,model_class")
    usual = run(*arguments, cwd=tmp_path)
    assert "—" in usual.stdout
    assert run(*arguments, cwd=tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0") == usual


def shell(line, cwd, **env):
    """(exit code of the program, stdout, stderr) of a line of bash whose first command is the program."""
    done = subprocess.run(
        ["bash", "-c", f'{line}; exit "${{PIPESTATUS[0]}}"', "bash", *SCRIPT],  # noqa: S607 - the user's own
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    save(tmp_path, "model")
    code, stdout, stderr = shell('"$1" tree ./model | head -1', tmp_path)
    assert (code, stdout, stderr) == (0, "```text\n", "")


def test_a_listener_to_errors_that_goes_away_keeps_the_exit_code(tmp_path):
    assert shell('"$1" show ./none 2>&1 >/dev/null | true', tmp_path)[0] == 3
    assert shell('"$1" show ./none 2>&-', tmp_path)[0] == 3


@pytest.mark.usefixtures("broken")
def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path):
    for command in ('"$1" table ./a', '"$1" --version', '"$1" --help'):
        code, _, stderr = shell(f"{command} > /dev/full", tmp_path)
        assert code == 2
        assert stderr.endswith(
            "error: standard output could not be written: No space left on device.\n"
            "  Write to a file instead: --output FILE\n"
        )


@pytest.mark.usefixtures("broken")
def test_a_closed_stdout_is_no_error_of_ours(tmp_path):
    code, _, stderr = shell('"$1" table ./a >&-', tmp_path)
    assert code == 3
    assert "bug" not in stderr
