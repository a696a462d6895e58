"""Processes that start warm: forks of one that has imported what takes seconds to import.

A *warm process* has imported the libraries that read nothing from the environment (torch, and what
transformers imports with it), runs no thread, and forks for each task. The fork gets its working directory,
environment, descriptors and arguments as a new process would, imports the rest itself (huggingface_hub and
transformers read variables when they are imported), and ends as an interpreter ends. A fork whose environment
is the session's own can also start from a fork that has imported those (`WarmProcess.fork`). What a fork
cannot show, such as start-up, imports and PYTHON* variables, is tested with a new process.
"""

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import weakref
from copy import copy
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 240
"""Seconds that a fork may take; pytest gives up later."""
LIBRARIES = (
    *("torch", "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.checkpoint", "torch.onnx"),
    *("torch.nn.attention.flex_attention", "sympy", "tokenizers.trainers", "safetensors.torch", "httpx2"),
    *("httpcore2", "jinja2.ext", "jinja2.meta", "jinja2.sandbox", "yaml", "regex", "psutil", "tqdm.auto"),
)
MODEL_LIBRARIES = (
    *("huggingface_hub.hf_api", "accelerate", "transformers.modeling_utils", "transformers.models.auto"),
    *(f"transformers.models.{name}.modeling_{name}" for name in ("llava", "clip", "llama")),
)
"""These read variables when they are imported."""
# one thread for arithmetic: a process with more cannot fork safely
_SINGLE = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
_START = "import sys; sys.path.insert(0, sys.argv[1]); from tests import warm; warm.serve(*sys.argv[2:])"
_READ_AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_", "OMP_", "OPENBLAS_", "MKL_")
_READ_BY_NO_LIBRARY = ("PYTEST_", "VLM_INSPECT_")
_STREAMS = (("stdin", "r", "strict"), ("stdout", "w", "strict"), ("stderr", "w", "backslashreplace"))
_FIRST_FREE = 512  # above every descriptor that a task names


class WarmProcess:
    """The client's side of a warm process."""

    def __init__(self, options, environment, modules=LIBRARIES):
        """Start it: Python's own `options`, its environment, and the modules to import."""
        self.environment = environment
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, *options, "-c", _START, str(ROOT), str(there.fileno()), *modules],
                cwd=ROOT,
                env=self.environment | _SINGLE,
                stdin=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
            )
        self._socket = here
        # the modules are imported while the client does something else
        atexit.register(self.close)

    def fork(self, modules):
        """A fork of it, which imports more modules and is a warm process, too. It ends first."""
        here, there = socket.socketpair()
        other = copy(self)
        with there, open(os.devnull, "r+b") as nothing:  # noqa: PTH123 - a device
            other._process = self.start(  # noqa: SLF001 - of this class
                "tests.warm:serve_as_fork",
                [there.fileno(), *modules],
                cwd=ROOT,
                environment=self.environment | _SINGLE,
                stdin=nothing,
                stdout=nothing,
                stderr=sys.__stderr__,
                pass_fds=[there.fileno()],
            )
        other._socket = here  # noqa: SLF001 - likewise
        atexit.register(other.close)
        return other

    def start(self, function, arguments, *, cwd, environment, stdin, stdout, stderr, pass_fds=(), session=False):
        """Fork a process that calls `module:function` with sys.argv set; the rest is as of Popen."""
        reading, writing = os.pipe()
        numbers = [0, 1, 2, *pass_fds]
        descriptors = [stdin.fileno(), stdout.fileno(), stderr.fileno(), *pass_fds]
        task = {
            "function": function,
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd),
            "environment": environment,
            "numbers": numbers,
            "session": session,
        }
        data = json.dumps(task).encode()
        try:
            socket.send_fds(self._socket, [len(data).to_bytes(4, "big")], [writing, *descriptors])
            self._socket.sendall(data)
        finally:
            os.close(writing)
        return Fork(reading)

    def can_stand_in(self, environment):
        """Whether a fork shows what a new process would: nothing differs that is read at its start."""
        return all(
            environment.get(name) == self.environment.get(name)
            for name in environment.keys() | self.environment.keys()
            if name.startswith(_READ_AT_START)
        )

    def is_session(self, environment):
        """Whether nothing differs that a library may read when it is imported."""
        return all(
            environment.get(name) == self.environment.get(name)
            for name in environment.keys() | self.environment.keys()
            if not name.startswith(_READ_BY_NO_LIBRARY)
        )

    def close(self):
        """End it, and what it has forked."""
        atexit.unregister(self.close)
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()


class Fork:
    """A process that a warm one has forked, in the way of subprocess.Popen."""

    def __init__(self, status):
        self._status = status
        self._close = weakref.finalize(self, os.close, status)
        self._buffer = b""
        self.pid = int(self._line(PATIENCE))
        self.returncode = None

    def wait(self, timeout=PATIENCE):
        """The exit code; negative is a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self.returncode = int(self._line(timeout))
            self._close()
        return self.returncode

    def kill(self):
        """End it, if it has not ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _line(self, timeout):
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired("a fork of a warm process", timeout)
            data = os.read(self._status, 64)
            if not data:
                raise RuntimeError("a warm process died")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


# --- the warm process itself


def serve(number, *modules):
    """Import the modules, then fork for every task that comes through the socket, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the client, and with it this process
    for module in modules:
        import_module(module)
    gc.collect()
    gc.freeze()  # what a fork need not look at, it need not copy
    client = socket.socket(fileno=int(number))
    forks = {}
    while True:
        ready, _, _ = select.select([client, *forks], [], [])
        for ended in set(ready) & forks.keys():
            _report(*forks.pop(ended), ended)
        if client in ready:
            task = _receive(client)
            if task is None:
                break
            pid, status_pipe = _fork(client, *task)
            forks[os.pidfd_open(pid)] = pid, status_pipe
    for pid, _ in forks.values():
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def serve_as_fork():
    """What `serve` does, in a fork."""
    serve(*sys.argv[1:])


def _receive(client):
    """The task and its descriptors; None at the end."""
    size, descriptors, _, _ = socket.recv_fds(client, 4, 64)
    if not size:
        return None
    data = b""
    while len(data) < int.from_bytes(size, "big"):
        received = client.recv(65536)
        if not received:
            return None
        data += received
    return json.loads(data), descriptors


def _report(pid, status_pipe, ended):
    os.close(ended)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(status_pipe, b"%d\n" % os.waitstatus_to_exitcode(status))
    os.close(status_pipe)


def _fork(client, task, descriptors):
    status_pipe, *descriptors = descriptors
    pid = os.fork()
    if pid == 0:
        client.close()
        os.close(status_pipe)
        _live(task, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    with contextlib.suppress(BrokenPipeError):
        os.write(status_pipe, b"%d\n" % pid)
    return pid, status_pipe


def _live(task, descriptors):
    """The whole life of a fork."""
    code = 1
    try:
        _settle(task, descriptors)
        module, _, function = task["function"].partition(":")
        code = _exit_code(getattr(import_module(module), function))
        threading._shutdown()  # noqa: SLF001 - as an interpreter does at its end
        atexit._run_exitfuncs()  # noqa: SLF001 - likewise
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - reported to the test, which expects none
        traceback.print_exc()
        code = 120
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


def _settle(task, descriptors):
    """Become the process that the task describes."""
    if task["session"]:
        os.setsid()
    high = [os.dup2(descriptor, _FIRST_FREE + index) for index, descriptor in enumerate(descriptors)]
    os.closerange(3, _FIRST_FREE)  # those of the warm process
    for descriptor, number in zip(high, task["numbers"], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(task["cwd"])
    os.environ.clear()
    os.environ.update(task["environment"])
    sys.argv = ["vlm-inspect", *task["arguments"]]
    for number, (name, mode, errors) in enumerate(_STREAMS):
        stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit_code(function):
    try:
        function()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        sys.stderr.write(f"{end.code}\n")
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        return 1
    return 0
