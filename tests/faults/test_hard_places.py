"""Full disks, folders that may only be read, links, mounts: told in a sentence, and nothing is harmed."""

import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.cli.program import SCRIPT, environment, run
from tests.faults.nursery import ROOT, Nursery, Task
from tests.faults.readme import BEGIN, FRESH
from vlm_inspect.atomic_files import replace_file

TABLE = "| `LlavaForConditionalGeneration` |"
WRITE = ("table", "--write", "README.md")


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as nursery:
        yield nursery


@pytest.fixture
def project(tmp_path):
    """A configured model that is answered without torch, and a README that waits for its table."""
    shutil.copy(ROOT / "snapshots" / "llava-hf--llava-1.5-7b-hf.json", tmp_path / "llava.json")
    (tmp_path / "vlm-inspect.toml").write_text('[[models]]\nid = "./llava.json"\n')
    (tmp_path / "README.md").write_text(FRESH)
    return tmp_path


@pytest.fixture
def ask(nursery, project):
    def asked(*words, function="vlm_inspect.__main__:main"):
        ended = nursery.run(Task(str(project), tuple(map(str, words)), function))
        assert "Traceback" not in ended.said
        assert "bug" not in ended.said
        return ended

    return asked


def litter(folder):
    return [path.name for path in folder.rglob(".*")]


# --- no room


def with_small_files(*words):
    """What a child does that may write no file of more than 2,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    as_words(words)


def as_words(words):
    from vlm_inspect.__main__ import main

    sys.argv = ["vlm-inspect", *words]
    main()


COMMANDS = [
    (("snapshot",), "llava.json"),
    (("table", "--format", "json", "--output", "table.json"), "table.json"),
    (("show", "llava.json", "--format", "json", "--output", "README.md"), "README.md"),
]


@pytest.mark.parametrize(("words", "named"), COMMANDS, ids=["snapshot", "new output", "output over a file"])
def test_what_does_not_fit_is_a_sentence_and_leaves_what_was_there(ask, project, words, named):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    ended = ask(*words, function=f"{__name__}:with_small_files")
    assert ended.code in {2, 3}
    assert named in ended.said
    assert "no file may grow as long as it would be. What was there before is unchanged." in ended.said
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    assert litter(project) == []


FULL_DISK = f"""
import os, shutil, subprocess, sys
from pathlib import Path
subprocess.run([{shutil.which("mount")!r}, "-t", "tmpfs", "-o", "size=64k", "tmpfs", "disk"], check=True)
for name in ("llava.json", "vlm-inspect.toml", "README.md"):
    shutil.copy(name, "disk")
os.chdir("disk")
try:
    with Path("filler").open("wb", 0) as filler:
        while True:
            filler.write(bytes(4096))
except OSError:
    pass
from {__name__} import as_words
try:
    as_words(("table", "--write", "README.md"))
finally:
    print(sorted(os.listdir()), Path("README.md").read_bytes() == Path("../README.md").read_bytes())
"""
MOUNTED = f"""
import subprocess
subprocess.run([{shutil.which("mount")!r}, "--bind", "original.md", "README.md"], check=True)
from {__name__} import as_words
as_words(("table", "--write", "README.md"))
"""


def with_mounts(code, folder):
    """Python code in a mount namespace of its own, which ends with it."""
    words = [str(shutil.which("unshare")), "-m", sys.executable, "-c", code]
    return subprocess.run(
        words, cwd=folder, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False
    )


def may_mount():
    """Whether there is such a thing here, for this user."""
    return bool(shutil.which("unshare")) and with_mounts("", None).returncode == 0


needs_mounts = pytest.mark.skipif("not may_mount()", reason="no mounts of its own for this user")


@needs_mounts
def test_a_full_disk_is_told_as_one_and_the_readme_stays(project):
    (project / "disk").mkdir()
    done = with_mounts(FULL_DISK, project)
    assert "'README.md' could not be written: the disk is full. What was there before is" in done.stderr
    assert "Free some space, then run the same command again." in done.stderr
    assert "Traceback" not in done.stderr
    listed = "['README.md', 'filler', 'llava.json', 'vlm-inspect.toml'] True\n"
    assert (done.returncode, done.stdout) == (2, listed)


@needs_mounts
def test_a_file_that_is_a_mount_of_its_own_as_containers_have_them_is_told_as_one(project):
    shutil.copy(project / "README.md", project / "original.md")
    done = with_mounts(MOUNTED, project)
    assert done.returncode == 2, done.stderr
    assert "'README.md' could not be written: it is mounted as a file of its own" in done.stderr
    assert (project / "original.md").read_text() == FRESH
    assert litter(project) == []


@pytest.fixture
def full_device(tmp_path):
    """A device without room; one of the test's own for root, who could do harm to the machine's."""
    if os.geteuid():
        return Path("/dev/full")
    device = tmp_path / "full"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    return device


@pytest.mark.parametrize("way", ["--output", ">"])
def test_a_full_device_is_a_sentence_and_stays_a_device(project, full_device, way):
    words = [*SCRIPT, "show", "llava.json", *(["--output", full_device] if way == "--output" else [])]
    with full_device.open("wb", 0) as full:
        stdout = full if way == ">" else subprocess.PIPE
        done = subprocess.run(
            words, cwd=project, env=environment(), stdout=stdout, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert b"could not be written: " in done.stderr
    assert b"Traceback" not in done.stderr
    assert full_device.is_char_device()


# --- no permission


def as_nobody(*words):
    """What a child does that is not root: it may not write where only the owner may."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    as_words(words)


@pytest.fixture
def public(project):
    """A project that everybody may read; pytest's folders are for their owner alone."""
    with tempfile.TemporaryDirectory(dir=Path("/tmp").resolve(), ignore_cleanup_errors=True) as name:  # noqa: S108
        folder = Path(name)
        folder.chmod(0o755)
        for path in project.iterdir():
            shutil.copy(path, folder)
        yield folder
        folder.chmod(0o755)


def ask_as_nobody(nursery, folder, *words):
    ended = nursery.run(Task(str(folder), words, f"{__name__}:as_nobody"))
    assert "bug" not in ended.said
    return ended


def test_a_folder_that_may_only_be_read_is_a_sentence(nursery, public):
    (public / "README.md").chmod(0o666)
    public.chmod(0o555)
    ended = ask_as_nobody(nursery, public, *WRITE)
    assert ended.code == 2
    assert "'README.md' could not be written: you have no permission to write it." in ended.said
    assert "ls -ld" in ended.said
    assert (public / "README.md").read_text() == FRESH
    ended = ask_as_nobody(nursery, public, "snapshot")
    assert (ended.code, "snapshots: Permission denied" in ended.said) == (3, True)


def test_a_readme_that_may_only_be_read_is_left_alone_though_its_folder_may_be_written(nursery, public):
    public.chmod(0o777)
    (public / "README.md").chmod(0o444)
    ended = ask_as_nobody(nursery, public, *WRITE)
    assert (ended.code, "you have no permission to write it" in ended.said) == (2, True)
    assert (public / "README.md").read_text() == FRESH


def test_who_may_not_read_a_readme_is_told_so(nursery, public):
    (public / "README.md").chmod(0)
    ended = ask_as_nobody(nursery, public, *WRITE)
    assert (ended.code, "README.md' is not readable" in ended.said) == (2, True)


# --- links


def test_a_readme_that_is_a_link_stays_one_and_its_target_is_replaced(ask, project):
    (project / "docs").mkdir()
    (project / "README.md").rename(project / "docs" / "index.md")
    (project / "README.md").symlink_to("docs/index.md")
    assert ask(*WRITE).code == 0
    assert str((project / "README.md").readlink()) == "docs/index.md"
    assert TABLE in (project / "docs" / "index.md").read_text()
    assert litter(project) == []


def test_a_link_over_links_into_another_folder_is_followed_to_its_end(ask, project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (project / "README.md").rename(elsewhere / "real.md")
    (elsewhere / "second").symlink_to("real.md")
    (project / "README.md").symlink_to(elsewhere / "second")
    assert ask(*WRITE).code == 0
    assert (project / "README.md").is_symlink()
    assert (elsewhere / "second").is_symlink()
    assert TABLE in (elsewhere / "real.md").read_text()


@pytest.mark.parametrize("target", ["README.md", "nowhere.md", "nowhere/at all.md"])
def test_a_link_that_leads_nowhere_is_a_sentence(ask, project, target):
    (project / "README.md").unlink()
    (project / "README.md").symlink_to(target)
    ended = ask(*WRITE)
    assert (ended.code, "'README.md' could not be read: " in ended.said) == (2, True)
    assert (project / "README.md").is_symlink()


def test_an_output_that_is_a_link_to_a_file_yet_to_be_makes_that_file(ask, project):
    (project / "out.md").symlink_to("made.md")
    assert ask("show", "llava.json", "--output", "out.md").code == 0
    assert (project / "out.md").is_symlink()
    assert (project / "made.md").read_text().startswith("#")


def test_a_copy_that_shares_the_file_with_its_original_keeps_the_old_text(ask, project):
    os.link(project / "README.md", project / "backup.md")
    assert ask(*WRITE).code == 0
    assert TABLE in (project / "README.md").read_text()
    assert (project / "backup.md").read_text() == FRESH


# --- what a file is beside its text


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755, 0o2644])
def test_owner_group_and_mode_are_kept(ask, project, mode):
    if os.geteuid() == 0:
        os.chown(project / "README.md", 1234, 4321)
    (project / "README.md").chmod(mode)
    before = (project / "README.md").stat()
    assert ask(*WRITE).code == 0
    after = (project / "README.md").stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_attributes_are_kept(ask, project):
    os.setxattr(project / "README.md", "user.origin", b"of our own")
    assert ask(*WRITE).code == 0
    assert os.getxattr(project / "README.md", "user.origin") == b"of our own"


def test_a_private_file_is_private_from_its_first_byte(tmp_path):
    path = tmp_path / "private"
    path.touch(0o600)
    seen = []

    def look():
        (new,) = tmp_path.glob(".vlm-inspect-*")
        seen.append(stat.S_IMODE(new.stat().st_mode))
        return False

    replace_file(path, b"secret", unless=look)
    assert seen == [0o600]


# --- places


def test_a_readme_on_another_file_system_is_written(ask, project):
    shared = Path("/dev/shm")  # noqa: S108 - another file system than that of the tests, where there is one
    if not shared.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        (project / "README.md").replace(project / "old.md")
        shutil.copy(project / "old.md", Path(folder) / "README.md")
        (project / "README.md").symlink_to(Path(folder) / "README.md")
        assert ask(*WRITE).code == 0
        assert TABLE in (Path(folder) / "README.md").read_text()
        assert [path.name for path in Path(folder).iterdir()] == ["README.md"]


def test_a_folder_that_disappears_meanwhile_is_a_sentence(ask, project):
    docs = project / "docs"
    docs.mkdir()
    (docs / "index.md").write_text(FRESH)
    ended = ask("table", "--write", "docs/index.md", function=f"{__name__}:whose_folder_disappears")
    assert (ended.code, "docs/index.md' could not be " in ended.said) == (2, True)
    assert not docs.exists()


def whose_folder_disappears(*words):
    """What a child does whose file is removed, with its folder, when the new text is ready."""
    flush = os.fsync

    def remove(descriptor):
        shutil.rmtree("docs")
        flush(descriptor)

    os.fsync = remove
    as_words(words)


@pytest.mark.parametrize(
    "words",
    [
        ("table", "llava-hf/llava-1.5-7b-hf", "--offline"),
        WRITE,
        ("table", "--write-files"),
        ("snapshot", "--offline"),
        ("check", "--offline"),
        ("check", "--format", "github", "--offline"),
        ("show", "./model"),
        ("show", "llava-hf/llava-1.5-7b-hf", "--builder", "config", "--offline"),
        ("show", "llava-hf/llava-1.5-7b-hf", "--builder", "config", "--offline", "--output", "x.md"),
        ("diff", "a.json", "b.json"),
    ],
    ids=" ".join,
)
def test_a_working_directory_that_is_gone_is_no_bug(nursery, tmp_path, words):
    (tmp_path / "gone").mkdir()
    ended = nursery.run(Task(str(tmp_path / "gone"), words, f"{__name__}:nowhere"))
    assert ended.code in {0, 2, 3}, ended.said
    assert "bug" not in ended.said


def nowhere(*words):
    """What a child does whose working directory was removed."""
    Path.cwd().rmdir()
    as_words(words)


def test_snapshots_go_to_a_folder_that_is_a_link(ask, project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (project / "snapshots").symlink_to(elsewhere)
    assert ask("snapshot").code == 0
    assert len(list(elsewhere.iterdir())) == 1
    assert (project / "snapshots").is_symlink()


def test_a_snapshot_folder_that_is_a_file_is_a_sentence(ask, project):
    (project / "snapshots").write_text("somebody's own")
    ended = ask("snapshot")
    assert (ended.code, "snapshots" in ended.said) == (3, True)
    assert (project / "snapshots").read_text() == "somebody's own"


def test_the_installed_program_writes_in_a_folder_of_strange_names(project):
    strange = project / "a b\n\u202eé*?" / "README.md"
    strange.parent.mkdir()
    strange.write_text(FRESH)
    assert run("table", "--write", strange, cwd=project).code == 0
    assert TABLE in strange.read_text()
    assert BEGIN in strange.read_text()
