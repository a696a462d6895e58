"""How the program ends where it is stopped, or where it is wrong."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.program import LLAVA, SCRIPT, call, environment, run, save
from vlm_inspect.app import pipeline
from vlm_inspect.cli import exits


def interrupted(process):
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    return process.returncode, stdout, stderr


@pytest.fixture
def start(tmp_path):
    def begin(*arguments):
        return subprocess.Popen(
            [*SCRIPT, *arguments],
            cwd=tmp_path,
            env=environment(HF_HOME=str(tmp_path / "home")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def test_ctrl_c_while_the_hub_is_asked_ends_with_130_and_a_message(hub, start):
    hub.add_model("org/llava", {"config.json": LLAVA})
    hub.fault("config.json", delay=3)
    process = start("table", "org/llava")
    wait_until(lambda: hub.requests)
    assert interrupted(process) == (130, "", "interrupted\n")


@pytest.mark.parametrize("delay", [0.1, 0.3, 0.6])
def test_ctrl_c_while_the_libraries_are_imported_ends_with_130_and_no_traceback(hub, start, delay):
    hub.add_model("org/llava", {"config.json": LLAVA})
    process = start("show", "org/llava")
    wait_until(lambda: hub.requests)
    time.sleep(delay)
    assert interrupted(process) == (130, "", "interrupted\n")


def test_ctrl_c_between_two_models_ends_with_130_and_prints_neither(hub, start):
    hub.add_model("org/llava", {"config.json": LLAVA})
    hub.add_model("org/slow", {"config.json": LLAVA})
    hub.fault("slow/resolve/main/config.json", delay=3)
    process = start("table", "org/llava", "org/slow")
    wait_until(lambda: any("slow" in request.path for request in hub.requests))
    assert interrupted(process) == (130, "", "interrupted\n")


ENDLESS = """
import time
from vlm_inspect.cli import exits, signals

def command():
    try:
        print("begun", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(60)

signals.install_handlers()
exits.handle_errors(command)()
"""


def test_ctrl_c_that_is_swallowed_for_good_ends_with_130_and_the_message(here):
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    assert interrupted(process) == (130, "", "interrupted\n")


DRAWING = """
import os, time
from vlm_inspect.cli import exits, signals
from vlm_inspect.cli.output import progress

def command():
    with progress(2, quiet=False):
        try:
            os.write(1, b"begun\\n")  # what is printed goes where the line is
            time.sleep(60)
        except KeyboardInterrupt:
            time.sleep(60)

signals.install_handlers()
exits.handle_errors(command)()
"""


@pytest.mark.parametrize(
    ("by", "code", "says"),
    [(signal.SIGINT, 130, b"interrupted\r\n"), (signal.SIGTERM, -signal.SIGTERM, b"")],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_progress_bar_is_removed_in_the_end_and_the_cursor_is_shown(here, by, code, says):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", DRAWING], cwd=here, stdout=subprocess.PIPE, stderr=theirs, env=environment()
    )
    with process:
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(by)
        assert process.wait(20) == code
    os.close(theirs)
    drawn = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    assert b"\x1b[?25l" in drawn  # the cursor was hidden
    assert drawn.endswith(b"\r\x1b[2K\x1b[?25h" + says)


def read(terminal):
    try:
        return os.read(terminal, 65536)
    except OSError:  # its other end is closed
        return b""


SWALLOWED = """
import os, signal
from vlm_inspect.app import pipeline
from vlm_inspect.__main__ import main
really = pipeline.build_result

def answer(*arguments, **options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        {then}
    return really(*arguments, **options)

pipeline.build_result = answer
main()
"""


@pytest.mark.parametrize("then", ["pass", "raise RuntimeError('a module that was half imported') from None"])
@pytest.mark.parametrize("command", ["show", "tree", "table"])
def test_ctrl_c_that_a_library_swallows_is_still_ctrl_c(here, command, then):
    program = (sys.executable, "-c", SWALLOWED.format(then=then))
    answer = run(command, save(here, "model"), cwd=here, program=program)
    assert answer == type(answer)(130, "", "interrupted\n")


def test_a_command_that_is_called_in_python_leaves_its_signal_handlers():
    before = signal.getsignal(signal.SIGINT)
    call("show", "./none")
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_a_file_is_written_leaves_the_old_one_and_no_other(here, monkeypatch):
    (here / "card.md").write_text("old")
    model = save(here, "model")
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGINT))
    answer = call("show", model, "--output", "card.md")
    assert answer.code == 130
    assert (here / "card.md").read_text() == "old"
    assert sorted(path.name for path in here.iterdir()) == ["card.md", "model"]


@pytest.fixture
def bug(monkeypatch):
    def raising(*_, **__):
        raise LookupError("nobody thought of this\x1b[31m")

    monkeypatch.setattr(pipeline, "build_result", raising)


@pytest.mark.parametrize("command", ["show", "tree", "table"])
@pytest.mark.usefixtures("bug")
def test_a_bug_is_exit_4_and_asks_for_a_report(here, command):
    answer = call(command, save(here, "model"))
    assert (answer.code, answer.stdout) == (exits.BUG, "")
    assert answer.stderr.startswith("This is a bug in vlm-inspect ")
    assert "LookupError: nobody thought of this\\u001b" in answer.stderr
    assert "Please report it with the output of --debug." in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.usefixtures("bug")
def test_debug_shows_a_bugs_traceback(here):
    answer = call("show", save(here, "model"), "--debug")
    assert answer.code == exits.BUG
    assert "Traceback (most recent call last):\n" in answer.stderr
    assert "in raising\n" in answer.stderr


def test_debug_shows_no_traceback_of_a_users_error():
    assert "Traceback" not in call("show", "./none", "--debug").stderr


def wait_until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
