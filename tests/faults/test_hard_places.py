"""File size limits, read-only folders, links, mounts: a clear error, and no file changes."""

import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.program import environment
from tests.faults import forks
from tests.faults.forks import ROOT, Task
from tests.faults.readme import FRESH

TABLE = "| `LlavaForConditionalGeneration` |"
WRITE = ("table", "--write", "README.md")


@pytest.fixture
def run(project):
    def run_in_fork(*words, function="vlm_inspect.__main__:main", folder=project):
        ended = forks.run(Task(str(folder), tuple(map(str, words)), function))
        assert "Traceback" not in ended.output
        assert "bug" not in ended.output
        return ended

    return run_in_fork


def run_program(words):
    from vlm_inspect.__main__ import main

    sys.argv = ["vlm-inspect", *words]
    main()


# --- no space


def run_with_small_files(*words):
    """The program with a limit of 2,000 bytes for files."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    run_program(words)


COMMANDS = [
    (("snapshot",), "llava.json"),
    (("table", "--format", "json", "--output", "table.json"), "table.json"),
    (("show", "llava.json", "--format", "json", "--output", "README.md"), "README.md"),
]


@pytest.mark.parametrize(("words", "named"), COMMANDS, ids=["snapshot", "new output", "output over a file"])
def test_a_file_size_limit_is_an_error_and_no_file_changes(run, project, words, named):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    ended = run(*words, function=f"{__name__}:run_with_small_files")
    assert ended.code in {2, 3}
    assert named in ended.output
    assert "could not be written: file size limit exceeded (ulimit -f). The file is unchanged." in ended.output
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


MOUNTED = f"""
import subprocess
subprocess.run([{shutil.which("mount")!r}, "--bind", "original.md", "README.md"], check=True)
from {__name__} import run_program
run_program(("table", "--write", "README.md"))
"""


def run_with_mounts(code, folder):
    """Python code in its own mount namespace."""
    words = [str(shutil.which("unshare")), "-m", sys.executable, "-c", code]
    return subprocess.run(
        words, cwd=folder, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False
    )


def can_mount():
    return bool(shutil.which("unshare")) and run_with_mounts("", None).returncode == 0


needs_mounts = pytest.mark.skipif("not can_mount()", reason="this user cannot mount")


@needs_mounts
def test_a_file_that_is_a_mount_point_is_an_error(project):
    shutil.copy(project / "README.md", project / "original.md")
    done = run_with_mounts(MOUNTED, project)
    assert done.returncode == 2, done.stderr
    assert "'README.md' could not be written: the file is a mount point and cannot be replaced" in done.stderr
    assert (project / "original.md").read_text() == FRESH
    assert not list(project.rglob(".*"))


# --- no permission


def run_as_nobody(*words):
    """The program as a user who is not root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    run_program(words)


@pytest.mark.parametrize(
    ("folder_mode", "mode", "words", "code", "sentence"),
    [
        (0o555, 0o666, WRITE, 2, "'README.md' could not be written: Permission denied."),
        (0o555, 0o666, ("snapshot",), 3, "snapshots: Permission denied"),
        (0o777, 0o444, WRITE, 2, "'README.md' could not be written: Permission denied."),
        (0o755, 0o000, WRITE, 2, "README.md' is not readable"),
    ],
    ids=["read-only folder", "snapshots in a read-only folder", "read-only file", "unreadable file"],
)
def test_missing_permissions_are_an_error(run, project, folder_mode, mode, words, code, sentence):
    with tempfile.TemporaryDirectory(dir=Path("/tmp").resolve()) as name:  # noqa: S108 - pytest's are private
        public = Path(name)
        for path in project.iterdir():
            shutil.copy(path, public)
        (public / "README.md").chmod(mode)
        public.chmod(folder_mode)
        ended = run(*words, function=f"{__name__}:run_as_nobody", folder=public)
        assert (ended.code, sentence in ended.output) == (code, True), ended.output
        assert (public / "README.md").read_text() == FRESH
        public.chmod(0o755)


# --- links and modes


def test_a_chain_of_links_is_followed(run, project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (project / "README.md").rename(tmp_path / "elsewhere" / "real.md")
    (tmp_path / "elsewhere" / "second").symlink_to("real.md")
    (project / "README.md").symlink_to("../elsewhere/second")
    assert run(*WRITE).code == 0
    assert str((project / "README.md").readlink()) == "../elsewhere/second"
    assert (tmp_path / "elsewhere" / "second").is_symlink()
    assert TABLE in (tmp_path / "elsewhere" / "real.md").read_text()
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("target", ["README.md", "nowhere.md", "nowhere/at all.md"])
def test_a_dangling_link_is_an_error(run, project, target):
    (project / "README.md").unlink()
    (project / "README.md").symlink_to(target)
    ended = run(*WRITE)
    assert (ended.code, "'README.md' could not be read: " in ended.output) == (2, True)
    assert (project / "README.md").is_symlink()


def test_an_output_link_to_a_new_file_creates_that_file(run, project):
    (project / "out.md").symlink_to("made.md")
    assert run("show", "llava.json", "--output", "out.md").code == 0
    assert (project / "out.md").is_symlink()
    assert (project / "made.md").read_text().startswith("#")


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_the_mode_is_preserved(run, project, mode):
    (project / "README.md").chmod(mode)
    assert run(*WRITE).code == 0
    assert stat.S_IMODE((project / "README.md").stat().st_mode) == mode
    assert TABLE in (project / "README.md").read_text()


# --- folders


@pytest.mark.parametrize(
    "words",
    [
        ("table", "llava-hf/llava-1.5-7b-hf", "--offline"),
        WRITE,
        ("table", "--write-files"),
        ("snapshot", "--offline"),
        ("check", "--format", "github", "--offline"),
        ("show", "./model"),
        ("show", "llava-hf/llava-1.5-7b-hf", "--builder", "config", "--offline", "--output", "x.md"),
        ("diff", "a.json", "b.json"),
    ],
    ids=" ".join,
)
def test_a_removed_working_directory_is_no_bug(run, tmp_path, words):
    (tmp_path / "gone").mkdir()
    ended = run(*words, function=f"{__name__}:run_in_removed_folder", folder=tmp_path / "gone")
    assert ended.code in {0, 2, 3}, ended.output


def run_in_removed_folder(*words):
    """The program in a working directory that was removed."""
    Path.cwd().rmdir()
    run_program(words)


def test_snapshots_are_written_through_a_folder_link_and_not_over_a_file(run, project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (project / "snapshots").symlink_to("../elsewhere")
    assert run("snapshot").code == 0
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    (project / "snapshots").unlink()
    (project / "snapshots").write_text("somebody's own")
    ended = run("snapshot")
    assert (ended.code, "snapshots" in ended.output) == (3, True)
    assert (project / "snapshots").read_text() == "somebody's own"
