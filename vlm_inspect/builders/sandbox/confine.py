"""Restrict this process for good: files, network, processes, memory and time.

Two mechanisms of the kernel are required, or nothing is run: Landlock (through landlockpy) for the files that
may be opened, and seccomp for the system calls. The only seccomp library on PyPI needs a C library that many
machines lack, so the filter is written here: a table and a loop. Namespaces, if the system allows them, hide
network devices and other processes. setrlimit limits memory, time and file sizes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

_SYSTEM_FILES = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"),
)
# CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
_NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_CLONE_THREAD = 0x00010000
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE3 = 435
# offsets in struct seccomp_data: number, architecture, low halves of the first and the third argument
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _THIRD_ARGUMENT = 0, 4, 16, 32
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_X32_CALLS = 0x40000000


class Machine(Struct, frozen=True):
    """The numbers of system calls on one architecture."""

    audit: int  # of the architecture, in <linux/audit.h>
    clone: int
    prlimit: int
    denied: tuple[int, ...]


# denied, in this order: starting programs and processes; sockets, and io_uring, which can open them too;
# signals to and memory of other processes; new namespaces and mounts; keys and kernel programs
_MACHINES = {
    "x86_64": Machine(
        audit=0xC000003E,
        clone=56,
        prlimit=302,
        denied=(
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(41, 42, 49, 50, 425, 426, 427),  # socket, connect, bind, listen, io_uring_*
            *(62, 200, 234, 129, 297, 424, 434, 101, 310, 311, 438),  # kill … pidfd_getfd
            *(272, 308, 165, 166, 155, 161, 428, 429, 430, 442),  # unshare, setns, mount …
            *(248, 249, 250, 321, 298, 323, 175, 313, 246, 169, 160),  # add_key … reboot, setrlimit
        ),
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        clone=220,
        prlimit=261,
        denied=(
            *(221, 281),  # execve, execveat; fork and vfork do not exist there
            *(198, 203, 200, 201, 425, 426, 427),
            *(129, 130, 131, 138, 240, 424, 434, 117, 270, 271, 438),
            *(97, 268, 40, 39, 41, 51, 428, 429, 430, 442),
            *(217, 218, 219, 280, 241, 282, 105, 273, 104, 142, 164),
        ),
    ),
}


class SandboxUnavailableError(Exception):
    """This system cannot isolate a process."""


def check() -> None:
    """Raise SandboxUnavailableError if this system lacks what `confine` needs."""
    if sys.platform != "linux":
        raise SandboxUnavailableError(f"isolation needs Linux, and this is {platform.system()}")
    _machine()
    import landlockpy

    if not landlockpy.supported():
        raise SandboxUnavailableError("isolation needs Landlock (Linux 5.13 or later, and enabled)")


def enter_namespaces() -> bool:
    """Enter new namespaces from the next fork on. Returns False if the system does not allow it."""
    return bool(_libc().unshare(_NEW_NAMESPACES) == 0)


def confine(readable: Sequence[Path], memory: int, seconds: int) -> None:
    """Forbid this thread, and those that it starts, to write files, start processes or open connections.

    There must be no other threads. `readable` files and folders may be read besides Python's own; `memory`
    is in bytes on top of what is in use now, `seconds` are of CPU time. Raises SandboxUnavailableError.
    """
    check()
    import resource  # not on Windows, which `check` refuses

    in_use = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: in_use + memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    _restrict_files([*readable, *_python_paths()])
    _restrict_calls(_machine())


def _python_paths() -> Iterator[Path]:
    """What imports read: Python's prefixes, the installed packages, the system's libraries."""
    yield Path(__file__).parents[2]
    yield from map(Path, {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()})
    yield from (Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages")))
    yield from map(Path, _SYSTEM_FILES)


def _restrict_files(readable: Sequence[Path]) -> None:
    from landlockpy import AccessFS, Ruleset, Scope

    with Ruleset(scoped=Scope.SIGNAL | Scope.ABSTRACT_UNIX_SOCKET) as rules:
        for path in readable:
            if path.exists():
                folder = AccessFS.READ_DIR if path.is_dir() else AccessFS.READ_FILE
                rules.allow_path(path, AccessFS.READ_FILE | folder)
        rules.restrict()


def _restrict_calls(machine: Machine) -> None:
    program = b"".join(struct.pack("<HBBI", *instruction) for instruction in _filter(machine))
    instructions = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):  # struct sock_fprog
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    filter_ = Program(len(program) // 8, ctypes.cast(instructions, ctypes.c_void_p))
    libc = _libc()
    seccomp = (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(*seccomp):
        raise SandboxUnavailableError(f"seccomp was refused: {os.strerror(ctypes.get_errno())}")


def _filter(machine: Machine) -> Iterator[tuple[int, int, int, int]]:
    """The filter as BPF instructions: (code, jump if true, jump if false, operand)."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _JUMP_EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, _KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _JUMP_AT_LEAST, 0, 1, _X32_CALLS  # a second table of the same system calls
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    for number in machine.denied:
        yield _JUMP_EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    # a filter cannot read the flags of clone3; without it libc uses clone
    yield _JUMP_EQUAL, 0, 1, _CLONE3
    yield _RETURN, 0, 0, _ERRNO | errno.ENOSYS
    yield _JUMP_EQUAL, 0, 5, machine.prlimit  # limits may be read, not set
    yield _LOAD, 0, 0, _THIRD_ARGUMENT
    yield _JUMP_EQUAL, 0, 2, 0
    yield _LOAD, 0, 0, _THIRD_ARGUMENT + 4
    yield _JUMP_EQUAL, 5, 0, 0
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _JUMP_EQUAL, 0, 3, machine.clone
    yield _LOAD, 0, 0, _FIRST_ARGUMENT
    yield _JUMP_SET, 1, 0, _CLONE_THREAD  # a thread may be started, a process not
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW


def _machine() -> Machine:
    name = platform.machine()
    if name not in _MACHINES or struct.calcsize("P") != 8:  # noqa: PLR2004 - bytes of a 64-bit pointer
        raise SandboxUnavailableError(f"isolation supports {' and '.join(_MACHINES)}, not {name}")
    return _MACHINES[name]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
