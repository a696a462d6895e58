"""Ctrl-C, SIGTERM and SIGHUP: the program ends without a traceback and leaves no temporary files."""

import os
import pty
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import sparse
from tests.builders.test_remote import CONFIG, MODEL
from tests.cli.program import LLAVA, SCRIPT, environment, save
from tests.faults.forks import ROOT
from tests.faults.readme import FRESH, wait_until

NAME = "org/name"
TENSORS = {f"model.layers.{index}.mlp.down_proj.weight": (64, 256) for index in range(4)}
LONG = 30
"""Seconds that the Hub delays a response; a test that waits for it fails by its time limit."""


@pytest.fixture
def start(tmp_path):
    """Starts the installed program; kills it after the test."""
    running = []

    def begin(*words, **streams):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        env = environment(HF_HOME=str(tmp_path / "home"), TMPDIR=str(tmp_path / "temporary"))
        (tmp_path / "temporary").mkdir(exist_ok=True)
        process = subprocess.Popen([*SCRIPT, *map(str, words)], cwd=tmp_path, env=env, **pipes)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def end_of(process):
    """Exit code (negative for a signal), stdout and stderr."""
    stdout, stderr = process.communicate(timeout=20)
    return process.returncode, (stdout or b"").decode(), (stderr or b"").decode()


def stopped(process, number=signal.SIGINT):
    process.send_signal(number)
    return end_of(process)


INTERRUPTED = (130, "", "interrupted\n")


@pytest.fixture
def model(hub, tmp_path):
    """A model with two shards on the Hub, and a snapshot file of it."""
    sparse.write_sharded(tmp_path / "model", TENSORS, 2)
    files = {path.name: path for path in (tmp_path / "model").iterdir()}
    hub.add_model(NAME, {"config.json": LLAVA, **files})
    (tmp_path / "vlm-inspect.toml").write_text(f'[[models]]\nid = "{NAME}"\n')
    (tmp_path / "snapshots").mkdir()
    stored = (ROOT / "snapshots" / "llava-hf--llava-1.5-7b-hf.json").read_text()
    (tmp_path / "snapshots" / "org--name.json").write_text(stored)
    (tmp_path / "README.md").write_text(FRESH)
    return hub


COMMANDS = {
    "table": ("config.json", "table", NAME),
    "table --write": ("config.json", "table", "--write", "README.md"),
    "snapshot": ("config.json", "snapshot"),
    "check": ("config.json", "check", "--update"),
    "diff": ("config.json", "diff", NAME, NAME),
    "verify": ("model.safetensors.index.json", "verify", NAME),
    "headers": (".safetensors", "show", NAME, "--builder", "header"),
    "doctor": ("vlm-inspect/doctor", "doctor"),
}


@pytest.mark.parametrize(("slow", "words"), [(slow, words) for slow, *words in COMMANDS.values()], ids=COMMANDS)
def test_ctrl_c_while_the_hub_is_slow_ends_with_130_and_changes_no_file(model, start, tmp_path, slow, words):
    model.fault(slow, delay=LONG)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    process = start(*words)
    wait_until(lambda: any(slow in request.path for request in model.requests))
    code, stdout, stderr = stopped(process)
    assert (code, stderr) == (130, "interrupted\n")
    assert "Traceback" not in stdout
    assert {path: path.read_bytes() for path in before} == before
    assert not list(tmp_path.rglob(".vlm-inspect-*"))


def test_ctrl_c_while_threads_fetch_several_headers_ends_with_130(model, start):
    model.fault("-of-00002.safetensors", delay=LONG)
    process = start("show", NAME, "--builder", "header")
    wait_until(lambda: sum("-of-00002" in request.path for request in model.requests) == 2)
    assert stopped(process) == INTERRUPTED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_end_the_program_silently(model, start, tmp_path, number):
    model.fault("config.json", delay=LONG)
    process = start("table", "--write", "README.md")
    wait_until(lambda: model.requests)
    assert stopped(process, number) == (-number, "", "")
    assert (tmp_path / "README.md").read_text() == FRESH


@pytest.mark.parametrize("pause", [0, 0.01, 0.1])
def test_repeated_ctrl_c_is_as_one(model, start, pause):
    model.fault("config.json", delay=LONG)
    process = start("snapshot")
    wait_until(lambda: model.requests)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(pause)
    code, stdout, stderr = end_of(process)
    assert (code, stdout) == (130, "")
    assert stderr in {"interrupted\n", ""}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_was_ignored_at_start_is_ignored(model, start, number):
    model.fault("config.json", delay=1)
    ignoring = {"preexec_fn": lambda: signal.signal(number, signal.SIG_IGN)}  # as nohup, and `&` in a script
    process = start("show", NAME, "--builder", "header", "--format", "json", **ignoring)
    wait_until(lambda: model.requests)
    process.send_signal(number)
    model.forget_faults()
    code, stdout, stderr = end_of(process)
    assert (code, '"builder": "header"' in stdout, stderr) == (0, True, "")


def has_started(process):
    """Whether a command has started: it handles SIGTERM, which Python does not."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1


@pytest.mark.parametrize("delay", [0, 0.1, 0.3, 0.6, 1.2, 2.4])
def test_ctrl_c_at_any_moment_of_a_build_ends_with_130_and_no_traceback(start, tmp_path, delay):
    process = start("show", save(tmp_path, "llava"), "--no-cache")
    wait_until(lambda: has_started(process))
    time.sleep(delay)
    code, _, stderr = stopped(process)
    # when its work is done Python itself dies by the signal, which a shell calls 130, too
    code = 130 if code == -signal.SIGINT else code
    assert (code, stderr) in {(130, "interrupted\n"), (130, ""), (0, "")}


# --- output that is not read


def wide(folder):
    """A command whose output is larger than a pipe buffer."""
    shutil.copy(ROOT / "snapshots" / "llava-hf--llava-1.5-7b-hf.json", folder / "llava.json")
    return ["table", "--format", "json", *["llava.json"] * 60]


@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stdout and stderr"])
def test_ctrl_c_while_the_output_is_not_read_ends_with_130(start, tmp_path, both):
    reading, writing = os.pipe()
    process = start(*wide(tmp_path), stdout=writing, stderr=writing if both else subprocess.PIPE)
    os.close(writing)
    wait_until(lambda: is_blocked(process))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    os.close(reading)
    assert both or process.stderr.read() == b"interrupted\n"


def is_blocked(process):
    """Whether it waits for the reader of a pipe."""
    return "pipe" in Path(f"/proc/{process.pid}/wchan").read_text() and has_started(process)


def test_ctrl_c_on_a_terminal_restores_the_cursor(model, start, tmp_path):
    (tmp_path / "second.json").write_bytes((tmp_path / "snapshots" / "org--name.json").read_bytes())
    model.fault("config.json", delay=LONG)
    outside, terminal = pty.openpty()
    process = start("table", "second.json", NAME, stdout=terminal, stderr=terminal)
    os.close(terminal)
    wait_until(lambda: model.requests)
    seen = os.read(outside, 65536) if has_output(outside) else b""
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    seen += os.read(outside, 65536)
    os.close(outside)
    assert b"Traceback" not in seen
    assert b"interrupted" in seen
    assert seen.rfind(b"\x1b[?25l") <= seen.rfind(b"\x1b[?25h")


def has_output(outside):
    import select

    return bool(select.select([outside], [], [], 5)[0])


# --- child processes


def descendants(pid):
    """All descendants of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            found += [(parent, int(entry.name))]
    below = [child for parent, child in found if parent == pid]
    return [*below, *(deep for child in below for deep in descendants(child))]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def endless(tmp_path):
    """A folder whose code never ends."""
    folder = save(
        tmp_path,
        "endless",
        {
            "model_type": "tiny_remote",
            "architectures": ["TinyModel"],
            "auto_map": {
                "AutoConfig": "configuration_tiny.TinyConfig",
                "AutoModel": "modeling_tiny.TinyModel",
            },
        },
    )
    (folder / "configuration_tiny.py").write_text(CONFIG)
    early = "import time; time.sleep(1000)"
    (folder / "modeling_tiny.py").write_text(MODEL.replace("{early}", early).replace("{late}", "pass"))
    return folder


@pytest.mark.parametrize(("stage", "number"), [("importing", signal.SIGINT), ("running", signal.SIGTERM)])
def test_the_sandbox_ends_with_the_program(start, tmp_path, endless, number, stage):
    process = start("show", endless, "--trust-remote-code", "--builder", "remote-code")
    wait_until(lambda: len(descendants(process.pid)) == (1 if stage == "importing" else 2))
    if stage == "running":
        time.sleep(0.3)
    children = descendants(process.pid)
    code, _, stderr = stopped(process, number)
    assert (code, stderr) == (INTERRUPTED[0::2] if number == signal.SIGINT else (-number, ""))
    wait_until(lambda: not any(alive(child) for child in children))
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(("pause", "number"), [(0, signal.SIGTERM), (1.5, signal.SIGINT), (1.5, signal.SIGKILL)])
def test_worker_processes_end_with_the_program(start, tmp_path, number, pause):
    models = [save(tmp_path, f"model-{index}", {**LLAVA, "image_token_index": index}) for index in range(100)]
    process = start("table", *models, "--jobs", "2", "--no-cache")
    wait_until(lambda: len(descendants(process.pid)) == 3)  # two workers, and multiprocessing's resource tracker
    time.sleep(pause)
    children = descendants(process.pid)
    code, stdout, stderr = stopped(process, number)
    if number == signal.SIGKILL:  # the resource tracker warns of what it cleans up
        assert (code, stdout) == (-number, "")
        assert "Traceback" not in stderr
    else:
        wanted = (130, "interrupted\n") if number == signal.SIGINT else (-number, "")
        assert (code, stdout, stderr) == (wanted[0], "", wanted[1])
    wait_until(lambda: not any(alive(child) for child in children))
