"""The properties fail where a command does what it must not do."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import Answer
from tests.properties import audit

SHOW = ("show", "./model", "--format", "markdown")


def write_outside():
    Path("../written").write_text("x", encoding="utf-8")


def read_outside():
    Path("../outside.json").read_text(encoding="utf-8")


def start_process():
    subprocess.run([sys.executable, "-c", ""], check=True)


def connect():
    with socket.socket() as one:
        one.connect_ex(("127.0.0.1", 9))


def loop():
    while True:
        pass


def grow():
    assert len(b"x" * (1 << 29))


def change_input():
    Path("model/config.json").write_text("[]", encoding="utf-8")


ACTIONS = {
    write_outside: "which the command line does not name",
    read_outside: "read .*outside.json",
    start_process: r"subprocess\.Popen",
    connect: r"socket\.connect",
    loop: "more than 0.2 s",
    grow: "peak memory",
    change_input: "a file changed",
}
ANSWERS = {
    Answer(4, "", "This is a bug in vlm-inspect."): "exit code 4",
    Answer(0, "", "Traceback (most recent call last):"): "a traceback",
    Answer(3, "", ""): "without a message",
    Answer(3, "", "error: \x1b[31m"): "U\\+001B",
    Answer(0, "| a\x07 |\n", ""): "U\\+0007",
    Answer(0, "<script>\n", ""): "HTML in Markdown",
}


@pytest.mark.parametrize(("action", "message"), ACTIONS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_an_action_is_found(program, monkeypatch, action, message):
    monkeypatch.setattr(audit, "SECONDS", 0.2 if action is loop else audit.SECONDS)
    monkeypatch.setattr(audit, "MEMORY", 64 * 2**20)
    monkeypatch.setattr(program, "call", lambda *_: action() or Answer(0, "", ""))
    with pytest.raises(AssertionError, match=message):
        program.run({"model/config.json": b"{}"}, SHOW, writes=["kept"] if action is change_input else [])


@pytest.mark.parametrize(("answer", "message"), ANSWERS.items(), ids=ANSWERS.values())
def test_an_answer_is_found(program, monkeypatch, answer, message):
    monkeypatch.setattr(program, "call", lambda *_: answer)
    with pytest.raises(AssertionError, match=message):
        program.run({}, SHOW)


def test_nothing_is_found_in_a_command_that_does_what_it_may(program, monkeypatch):
    def write_named(*_):
        Path("kept").write_text("x", encoding="utf-8")
        return Answer(1, "words\n", "error: no\n")

    monkeypatch.setattr(program, "call", write_named)
    assert program.run({"model/config.json": b"{}"}, SHOW, writes=["kept"]) == [1]
