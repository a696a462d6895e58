"""Isolated builds from the code in a model's repo: what the code can build, and what it cannot do."""

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.builders import sandbox as builders_sandbox
from vlm_inspect.builders import sandbox
from vlm_inspect.builders.sandbox import process
from vlm_inspect.core.errors import RemoteCodeError

HOME = str(Path(sandbox.__file__).parents[3])

CONFIG = """
from transformers import PretrainedConfig

class TinyConfig(PretrainedConfig):
    model_type = "tiny_remote"

    def __init__(self, width=8, layers=3, **kwargs):
        super().__init__(**kwargs)
        self.width, self.layers = width, layers
"""
MODEL = """
import torch
from torch import nn
from transformers import PreTrainedModel
from .configuration_tiny import TinyConfig

class TinyLayer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        {early}
        self.embed_tokens = nn.Embedding(100, config.width)
        self.layers = nn.ModuleList([TinyLayer(config.width) for _ in range(config.layers)])
        {late}

    def get_input_embeddings(self):
        return self.embed_tokens
"""
LIMITS = process.Limits(seconds=60)


def code(*, at_import="", early="pass", late="pass"):
    return process.RemoteCode(
        {
            "configuration_tiny.py": CONFIG,
            "modeling_tiny.py": at_import + MODEL.replace("{early}", early).replace("{late}", late),
        },
        "modeling_tiny.TinyModel",
        "configuration_tiny.TinyConfig",
    )


def run(code, limits=LIMITS, config=None):
    return process.build(code, {"model_type": "tiny_remote", **(config or {})}, "org/tiny", limits)


def refused(code, limits=LIMITS):
    with pytest.raises(RemoteCodeError) as caught:
        run(code, limits)
    return caught.value


def processes():
    """Processes that run the child module: descendants of this one, or orphans."""
    ours = {child.pid for child in psutil.Process().children(recursive=True)}
    return {each.pid for each in psutil.process_iter() if (each.pid in ours or _ppid(each) == 1) and _runs_child(each)}


def _ppid(each):
    with suppress(psutil.Error):
        return each.ppid()


def _runs_child(each):
    with suppress(psutil.Error):
        line = " ".join(each.cmdline())
        return "vlm_inspect.builders.sandbox.child" in line and HOME in line


@pytest.fixture
def new_process():
    """Start the child as a new process, as for users. Otherwise it is forked from a warm process."""


@pytest.fixture(autouse=True)
def forked(request, monkeypatch):
    if "new_process" not in request.fixturenames:
        monkeypatch.setattr(process, "_start", builders_sandbox.start)
    builders_sandbox.warm()


@pytest.fixture(autouse=True)
def no_leftovers(forked, tmp_path, monkeypatch):  # noqa: ARG001 - the warm process is started before
    """Check that no process and no temporary file is left, whatever the code did."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = processes()
    yield
    assert processes() <= before
    assert not list(tmp_path.glob("vlm-inspect-*"))


@pytest.mark.usefixtures("new_process")
def test_the_class_of_a_repo_is_built_without_secrets_and_without_a_home_folder(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    early = "self.seen = ','.join(sorted(os.environ)); self.home = os.path.expanduser('~')"
    tree = run(code(at_import="import os\n", early=early), config={"width": 16, "layers": 5})
    assert tree.root.class_name == "TinyModel"
    assert tree.total == 100 * 16 + 5 * (16 * 64 + 64 + 64 * 16 + 16)
    assert [name for name, _ in tree.find("layers").children] == ["0", "1", "2", "3", "4"]
    assert tree.config["layers"] == 5
    assert any("isolated" in note for note in tree.notes)
    seen = dict(tree.root.attributes)
    assert not set(seen["seen"].split(",")) & {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "HF_HOME"}
    assert seen["home"] != str(Path.home())


def test_flash_attention_need_not_be_installed():
    tree = run(code(early='assert config._attn_implementation == "eager"'), config={"width": 4})
    assert tree.total


# what untrusted code may try, and how it must fail; all tried in one run
ATTEMPTS = {
    "read a file of the user": ("open({secret!r}).read()", "Permission denied"),
    "list the folder of the user": ("os.listdir({folder!r})", "Permission denied"),
    "read the parent's environment": ("open('/proc/{parent}/environ').read()", "denied|No such file"),
    "open an internet socket": ("socket.socket(socket.AF_INET)", "not permitted"),
    "open an IPv6 socket": ("socket.socket(socket.AF_INET6)", "not permitted"),
    "open a local socket": ("socket.socket(socket.AF_UNIX)", "not permitted"),
    "write a file": ("open({target!r}, 'w')", "Permission denied"),
    "write ten gigabytes where it works": ("open('big', 'wb').truncate(10**10)", "Permission denied"),
    "write ten gigabytes into memory": ("os.truncate(os.memfd_create('x'), 10**10)", "File too large"),
    "remove its own code": ("os.remove(__file__)", "denied"),
    "fork": ("os.fork()", "not permitted"),
    "start a program": ("subprocess.run(['true'])", "not permitted"),
    "start a shell": ("os.posix_spawn('/bin/sh', ['sh'], {{}})", "not permitted"),
    "start a worker": ("multiprocessing.Process(target=print).start()", "not permitted"),
    "allocate a hundred gigabytes": ("bytearray(100 * 2**30)", "MemoryError"),
    "allocate them as a tensor": ("torch.zeros(25 * 2**30, device='cpu')", "memory"),
    "map them, shared": ("mmap.mmap(-1, 100 * 2**30)", "Cannot allocate"),
    "raise its limits": (
        "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)",
        "not permitted|not allowed",
    ),
    "kill its parent": ("os.kill(os.getppid(), 9)", "not permitted"),
    "kill the calling process": ("os.kill({parent}, 9)", "not permitted"),
    "kill all": ("os.kill(-1, 9)", "not permitted"),
    "leave its namespace": ("syscall(272, 0x10000000)", "not permitted"),
    "use the other table of calls": ("syscall(0x40000000 + 41, 2, 1, 0)", "not implemented"),
    "fork by another name": ("syscall(435, 0, 0)", "not implemented"),
    "clone itself": ("syscall(56, 17, 0, 0, 0, 0)", "not permitted"),
}
HELPERS = """
import ctypes, mmap, multiprocessing, os, resource, socket, subprocess

def syscall(*arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def attempt(text, module):
    try:
        return repr(eval(text, module))
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:180]
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    secret = folder / "token"
    secret.write_text("hf_secretsecretsecret")
    known = {"secret": str(secret), "folder": str(folder), "target": str(folder / "w"), "parent": os.getpid()}
    lines = [
        f"self.try_{number} = attempt({text.format(**known)!r}, globals())"
        for number, (text, _) in enumerate(ATTEMPTS.values())
    ]
    tree = run(code(at_import=HELPERS, early="\n        ".join(lines)))
    assert [path.name for path in folder.iterdir()] == ["token"]
    return dict(tree.root.attributes)


@pytest.mark.parametrize("number", range(len(ATTEMPTS)), ids=list(ATTEMPTS))
def test_the_code_cannot(outcomes, number):
    expected = list(ATTEMPTS.values())[number][1]
    assert re.search(expected, outcomes[f"try_{number}"])


def test_the_code_can_use_threads_and_compute():
    early = """
        import threading
        done = []
        thread = threading.Thread(target=lambda: done.append(float(torch.ones(3, device="cpu").sum())))
        thread.start()
        thread.join()
        self.done = done[0]"""
    assert dict(run(code(early=early)).root.attributes)["done"] == 3.0


def test_sleeping_forever_is_an_error():
    error = refused(code(at_import="import time\n", early="time.sleep(10**6)"), process.Limits(seconds=3))
    assert "within 3 s" in error.message


def test_catching_every_exception_and_signal_does_not_help():
    early = """
        import signal, time
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        time.sleep(10**6)"""
    assert "within 3 s" in refused(code(early=early), process.Limits(seconds=3)).message


def test_ending_its_own_process_is_an_error():
    assert "without an answer" in refused(code(at_import="import os\n", early="os._exit(0)")).message


def test_system_exit_is_an_error():
    assert "SystemExit" in refused(code(at_import="raise SystemExit(0)\n")).message


def test_printed_text_is_discarded(capfd):
    tree = run(code(at_import="print('\\x1b[2J printed ' * 10000)\n"))
    assert tree.total
    out, err = capfd.readouterr()
    assert "printed" not in out + err


def test_terminal_escapes_are_removed_from_names():
    tree = run(code(late="self.add_module('\\x1b[31mred', nn.Linear(2, 2)); self.note = '\\x1b[2J'"))
    everything = repr([(path, node.class_name, node.attributes) for path, node in tree.root.walk()])
    assert "\\x1b" not in everything


FORGE = """
        import os
        for number in range(3, 64):
            try:
                os.write(number, {forged!r})
            except OSError:
                pass
        os._exit(0)"""


@pytest.mark.parametrize(
    "forged",
    [
        b"no json",
        b"{}",
        b'{"tree": {"nodes": []}}',
        b'{"tree": {"nodes": [{"class_name": "A", "children": {"x": 0}}]}}',
        b'{"tree": {"nodes": [{"class_name": "A", "children": {"x": 7}}]}}',
        b'{"tree": {"nodes": [{"class_name": "A", "parameters": {"w": [-1]}}]}}',
        b'{"tree": {"nodes": [{"class_name": "A", "parameters": {"w": [1099511627776, 1099511627776]}}]}}',
        b'{"tree": {"nodes": [{"class_name": "A", "children": {"a.b": 0}}]}}',
        b"[" * 100_000,
    ],
)
def test_an_invalid_forged_answer_is_an_error(forged):
    error = refused(code(early=FORGE.format(forged=forged)))
    assert "invalid answer" in error.message or "does not build" in error.message


def test_an_endless_answer_is_an_error():
    early = """
        import os
        while True:
            for number in range(3, 32):
                try:
                    os.write(number, b' ' * 65536)
                except OSError:
                    pass"""
    error = refused(code(early=early))
    assert "sent an answer of more than" in error.message


def test_a_small_answer_cannot_expand_to_a_huge_tree():
    nodes = ['{"class_name": "A", "parameters": {"w": [1]}}']
    nodes += [f'{{"class_name": "A", "children": {{"a": {n}, "b": {n}}}}}' for n in range(60)]
    forged = ('{"tree": {"nodes": [' + ",".join(nodes) + "]}}").encode()
    assert "invalid answer" in refused(code(early=FORGE.format(forged=forged))).message


def test_a_missing_package_is_named():
    error = refused(code(at_import="import einops_that_is_missing\n"))
    assert "einops_that_is_missing" in error.message
    assert "Install" in error.hint


def test_a_file_name_outside_the_folder_is_refused():
    with pytest.raises(ValueError, match="leads out"):
        run(process.RemoteCode({"../evil.py": ""}, "evil.Model"))


def test_the_code_is_killed_when_the_calling_process_dies(tmp_path):
    script = tmp_path / "caller.py"
    files = dict(code(at_import="import time\n", early="time.sleep(10**6)").files)
    script.write_text(
        "from vlm_inspect.builders.sandbox import process\n"
        f"code = process.RemoteCode({files!r}, 'modeling_tiny.TinyModel', 'configuration_tiny.TinyConfig')\n"
        "process.build(code, {}, 'org/tiny')\n"
    )
    before = processes()
    caller = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "TMPDIR": str(tmp_path / "t")})
    deadline = time.monotonic() + 60
    while len(processes() - before) < 2 and time.monotonic() < deadline:  # the outer and the inner one
        time.sleep(0.1)
    assert len(processes() - before) == 2
    caller.kill()
    caller.wait()
    while processes() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes() - before


def test_an_endless_build_is_stopped_by_its_number_of_modules():
    endless = code(late="self.all = nn.ModuleList(nn.Identity() for _ in range(10**9))")
    error = refused(endless, process.Limits(seconds=120))
    assert "it asks for more than 100,000 modules" in error.message
