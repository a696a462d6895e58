"""`table --write` and `--check`: the marked blocks of files, and nothing else of them."""

import pytest

from tests.cli.program import LLAVA, call, run, save

BEGIN, END = "<!-- vlm-inspect:begin architectures -->", "<!-- vlm-inspect:end architectures -->"
FRESH = f"# Title\n\n{BEGIN}\n{END}\n\nThe end.\n"
CONFIGURATION = '[[models]]\nid = "./model"\n'
ONE_FAILS = f'{CONFIGURATION}\n[[models]]\nid = "./none"\n'


@pytest.fixture
def project(here):
    """A folder with a configured model, and a README that waits for its table."""
    save(here, "model")
    (here / "vlm-inspect.toml").write_text(CONFIGURATION)
    (here / "README.md").write_bytes(FRESH.encode())
    return here


def write(*files):
    return call("table", *(word for file in files for word in ("--write", file)))


def check(*files):
    return call("table", *(word for file in files for word in ("--check", file)))


def test_a_fresh_file_gets_its_table_between_its_markers(project):
    answer = write("README.md")
    text = (project / "README.md").read_text()
    assert (answer.code, answer.stdout) == (0, "")
    assert answer.stderr == "README.md: regenerated: architectures (1 model)\n"
    assert text.startswith(
        f"# Title\n\n{BEGIN}\n<!-- Generated; to regenerate: vlm-inspect table --write README.md -->"
    )
    assert "| `model` | `LlavaForConditionalGeneration` |" in text
    assert text.endswith(f"|\n{END}\n\nThe end.\n")


def test_what_was_written_is_up_to_date_and_is_not_written_again(project):
    write("README.md")
    before = (project / "README.md").stat().st_mtime_ns
    assert check("README.md").code == 0
    again = write("README.md")
    assert (again.code, again.stderr) == (0, "README.md: up to date\n")
    assert (project / "README.md").stat().st_mtime_ns == before


def test_a_stale_file_is_exit_1_says_what_to_run_and_is_left_alone(project):
    answer = check("README.md")
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr == "README.md: stale; run: vlm-inspect table --write README.md\n"
    assert (project / "README.md").read_bytes() == FRESH.encode()


def test_what_a_stale_file_says_to_run_makes_it_fresh(project):
    (project / "READ ME.md").write_text(FRESH)
    (project / "vlm-inspect.toml").rename(project / "own.toml")
    answer = call("table", "--config", "own.toml", "--check", "READ ME.md")
    assert answer.stderr.endswith("run: vlm-inspect table --config own.toml --write 'READ ME.md'\n")
    assert call("table", "--config", "own.toml", "--write", "READ ME.md").code == 0
    assert call("table", "--config", "own.toml", "--check", "READ ME.md").code == 0


@pytest.mark.usefixtures("project")
def test_quiet_still_says_what_to_run():
    answer = call("table", "--check", "README.md", "--quiet")
    assert (answer.code, answer.stderr.count("\n")) == (1, 1)
    assert call("table", "--write", "README.md", "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# A\r\n{begin}\r\n{end}\r\nB\r\n", "B\r\n"),
        ("\ufeff# A\n{begin}\n{end}\nB\n", "B\n"),
        ("# A\n{begin}\n{end}", ""),
        ("# A\n{begin}\n{end}\nB", "B"),
        ("# A \x0c\u2028\n{begin}\n{end}\n\tB  \n\n", "\tB  \n\n"),
    ],
    ids=["CRLF", "BOM", "no final newline after the marker", "no final newline", "odd spaces"],
)
def test_everything_outside_the_markers_is_kept_to_the_byte(project, before, after):
    old = before.format(begin=BEGIN, end=END).encode()
    (project / "README.md").write_bytes(old)
    assert write("README.md").code == 0
    new = (project / "README.md").read_bytes()
    head, tail = old[: old.index(BEGIN.encode())], old[old.index(END.encode()) :]
    assert new.startswith(head)
    assert new.endswith(tail)
    assert tail.endswith(after.encode())
    assert (b"\r\n" in old) is (new.count(b"\r\n") == new.count(b"\n"))
    assert check("README.md").code == 0


def test_bytes_that_are_no_utf_8_are_kept(project):
    (project / "README.md").write_bytes(b"\x80 caf\xe9\n" + FRESH.encode())
    assert write("README.md").code == 0
    assert (project / "README.md").read_bytes().startswith(b"\x80 caf\xe9\n# Title\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("# no markers\n", "has no markers"),
        (f"{BEGIN}\n", "has no end marker"),
        (f"{END}\n", "has no begin marker"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n", "is already on line 1"),
        (f"{BEGIN}\n<!-- vlm-inspect:begin comparison -->\n{END}\n", "begins inside block"),
        ("<!-- vlm-inspect:begin bogus -->\n<!-- vlm-inspect:end bogus -->\n", "unknown marker 'bogus'"),
        ("<!-- vlm-inspect:start architectures -->\n", "looks like a marker"),
    ],
    ids=["missing", "no end", "no begin", "doubled", "crossed", "unknown", "misspelt"],
)
@pytest.mark.parametrize("way", [write, check])
def test_markers_that_are_wrong_are_exit_2_and_the_file_is_untouched(project, text, sentence, way):
    (project / "README.md").write_text(text)
    answer = way("README.md")
    assert (answer.code, answer.stdout) == (2, "")
    assert "README.md" in answer.stderr
    assert sentence in answer.stderr
    assert (project / "README.md").read_text() == text


def test_a_file_that_is_not_there_is_exit_2(project):
    answer = write("other.md")
    assert (answer.code, "there is no such file" in answer.stderr) == (2, True)
    assert not (project / "other.md").exists()


def test_a_model_that_fails_leaves_every_file_untouched_and_is_exit_3(project):
    (project / "vlm-inspect.toml").write_text(ONE_FAILS)
    for way in (write, check):
        answer = way("README.md")
        assert (answer.code, answer.stdout) == (3, "")
        assert "error: ./none: there is no such file or folder" in answer.stderr
        assert "Unchanged: README.md. 1 of 2 models failed." in answer.stderr
        assert (project / "README.md").read_bytes() == FRESH.encode()


def test_one_wrong_file_of_several_leaves_all_untouched(project):
    (project / "wrong.md").write_text("# no markers\n")
    assert write("README.md", "wrong.md").code == 2
    assert (project / "README.md").read_bytes() == FRESH.encode()


def test_two_blocks_of_one_file_and_several_files_are_written_at_once(project):
    both = f"{FRESH}<!-- vlm-inspect:begin comparison -->\n<!-- vlm-inspect:end -->\n"
    (project / "README.md").write_text(both)
    (project / "docs.md").write_text(FRESH)
    answer = write("README.md", "docs.md")
    assert answer.stderr == (
        "README.md: regenerated: architectures (1 model), comparison (1 model)\n"
        "docs.md: regenerated: architectures (1 model)\n"
    )
    assert "| Model Name |" in (project / "README.md").read_text()
    assert "| # of Parameters |" in (project / "README.md").read_text()
    assert "| Model Name |" in (project / "docs.md").read_text()
    assert check("README.md", "docs.md").code == 0


def test_a_table_of_the_configuration_has_its_own_models_and_columns(project):
    save(project, "second", LLAVA)
    (project / "vlm-inspect.toml").write_text(
        f'{CONFIGURATION}\n[[models]]\nid = "./second"\nalias = "Second"\n'
        '[tables.small]\nmodels = ["Second"]\ncolumns = ["model", "vision_layers"]\n'
    )
    (project / "README.md").write_text("<!-- vlm-inspect:begin small -->\n<!-- vlm-inspect:end small -->\n")
    assert write("README.md").code == 0
    text = (project / "README.md").read_text()
    assert "| Model Name | Vision Layers |\n| --- | --- |\n| `Second` | 24 layers |\n" in text
    assert "`model`" not in text


def test_the_configured_files_are_written_and_checked_from_a_folder_below(project, monkeypatch):
    configured = f'files = ["README.md"]\n{CONFIGURATION}'
    (project / "vlm-inspect.toml").write_text(configured)
    assert call("table", "--check-files").stderr.startswith("README.md: stale; run: ")
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    answer = call("table", "--write-files")
    assert (answer.code, answer.stdout) == (0, "")
    assert call("table", "--check-files").code == 0
    assert "| `model` |" in (project / "README.md").read_text()


@pytest.mark.parametrize("option", ["--write-files", "--check-files"])
def test_no_configured_files_is_exit_2(project, option):
    answer = call("table", option)
    assert (answer.code, "names no files" in answer.stderr) == (2, True)
    (project / "vlm-inspect.toml").unlink()
    assert "no configuration file in this folder or above it names files" in call("table", option).stderr


def test_without_a_configuration_a_readme_gets_the_catalogue(here):
    (here / "README.md").write_text(FRESH)
    assert call("table", "--write", "README.md", "--offline").code == 0
    assert (here / "README.md").read_text().count("\n| `") == 9


@pytest.mark.slow
def test_the_installed_program_regenerates_a_readme(project):
    assert run("table", "--write", "README.md", cwd=project).code == 0
    assert check("README.md").code == 0


def test_the_line_that_says_how_to_regenerate_names_the_file_from_the_configurations_folder(project, monkeypatch):
    (project / "docs").mkdir()
    (project / "docs" / "models.md").write_text(FRESH)
    write("docs/models.md")
    assert "vlm-inspect table --write docs/models.md -->" in (project / "docs" / "models.md").read_text()
    monkeypatch.chdir(project / "docs")
    assert check("models.md").code == 0


def test_a_files_name_cannot_end_the_comment_it_is_named_in(project):
    name = "a-->b.md"
    (project / name).write_text(FRESH)
    assert write(name).code == 0
    assert "--write FILE -->" in (project / name).read_text()
