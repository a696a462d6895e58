"""The action, the hooks, the workflow and the recipes do what docs/guides/ci.md says, run by what runs them.

The action's scripts are run by bash as GitHub's runner does it, the hooks by pre-commit from a repository of
their own, the recipe by make. Where the question is not what vlm-inspect answers, a stand-in takes its place.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.action_runner import Runner
from tests.stand_ins import StandIns, answer
from vlm_inspect.cli.main import program

ROOT = Path(__file__).parent.parent
ACTION = ROOT / "action.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"
WORKFLOW = ROOT / "examples" / "workflow.yml"
DOCUMENT = (ROOT / "docs" / "guides" / "ci.md").read_text(encoding="utf-8")
PROGRAMS = Path(sys.executable).parent

DEFINITION = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
STEPS = DEFINITION["runs"]["steps"]
MANIFEST = {hook["id"]: hook for hook in yaml.safe_load(HOOKS.read_text(encoding="utf-8"))}

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_ACTION = "OWNER/vlm-inspect@COMMIT"
FULL_COMMIT = re.compile(r"[0-9a-f]{40}")

CONFIGURATION = """\
files = ["README.md"]

[[models]]
id = "model"

[tables.architectures]
"""
README = """\
# A model

<!-- vlm-inspect:begin architectures -->
<!-- vlm-inspect:end architectures -->
"""
HOSTILE = """$(touch pwned) `touch pwned`; touch pwned | touch pwned & "touch pwned" ' touch pwned '
touch pwned # ${{ github.token }} %0A \\ * ~ ::error::pwned"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A project whose table and snapshot are as they should be."""
    project = tmp_path_factory.mktemp("fresh") / "project"
    (project / "model").mkdir(parents=True)
    config = '{"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}\n'
    (project / "model" / "config.json").write_text(config, encoding="utf-8")
    (project / "README.md").write_text(README, encoding="utf-8")
    configuration = project / "vlm-inspect.toml"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    for command in (["table", "--write-files"], ["snapshot"]):
        done = CliRunner().invoke(program(), [*command, "--config", str(configuration)])
        assert done.exit_code == 0, done.output
    return project


def damaged(project, to):
    """A copy whose table and whose snapshot somebody has edited."""
    shutil.copytree(project, to)
    edit(to / "README.md", "4096", "4097")
    edit(to / "snapshots" / "model.json", "CLIPVisionModel", "SiglipVisionModel")
    return to


def edit(path, before, after):
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def blocks(language):
    return [body for name, body in FENCE.findall(DOCUMENT) if name == language]


def rows(first):
    """The rows of the document's table whose first column is titled `first`, as lists of cells."""
    table = DOCUMENT.split(f"| {first} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


# --- the action, with vlm-inspect itself ---------------------------------------------------------------


@pytest.fixture
def programs(tmp_path):
    programs = StandIns(tmp_path / "programs")
    programs.add_python()
    return programs


@pytest.fixture(scope="module")
def on_fresh(fresh, tmp_path_factory):
    programs = StandIns(tmp_path_factory.mktemp("action") / "programs")
    programs.add_python()
    return Runner(fresh, [programs.folder, PROGRAMS]).run(ACTION, {"offline": "true"})


@pytest.fixture(scope="module")
def on_damaged(fresh, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    programs = StandIns(folder / "programs")
    programs.add_python()
    project = damaged(fresh, folder / "project")
    return Runner(project, [programs.folder, PROGRAMS]).run(ACTION, {"files": "README.md"})


def test_the_action_passes_where_all_is_as_it_should_be(on_fresh):
    assert not on_fresh.failed, on_fresh.log
    assert on_fresh.annotations == []
    assert on_fresh.outputs["exit-code"] == "0"
    assert "### vlm-inspect table: up to date\n\n    README.md: up to date\n" in on_fresh.summary
    assert "### vlm-inspect: 1 model: 1 unchanged\n" in on_fresh.summary


def test_the_summary_names_the_library_and_is_the_report(on_fresh, on_damaged):
    for outcome in (on_fresh, on_damaged):
        assert re.match(r"## vlm-inspect, transformers \d+\.\d+", outcome.summary)
        assert outcome.outputs["report"] == outcome.summary


def test_the_action_fails_where_a_table_and_a_snapshot_were_edited(on_damaged):
    assert on_damaged.failed == "Result"
    assert on_damaged.outputs["exit-code"] == "1"


def test_the_action_marks_the_stale_file_and_the_snapshot_that_differs(on_damaged):
    [table, snapshot] = on_damaged.annotations
    assert table[:2] == ("error", {"file": "README.md", "title": "vlm-inspect table"})
    assert table[2] == "The tables are stale; run: vlm-inspect table --write README.md"
    assert snapshot[:2] == ("error", {"file": "snapshots/model.json", "title": "vlm-inspect: model"})
    assert "SiglipVisionModel" in snapshot[2]


def test_the_summary_says_what_is_stale_and_what_differs(on_damaged):
    assert "### vlm-inspect table: stale\n\n    README.md: stale; run: " in on_damaged.summary
    assert "### vlm-inspect: 1 model: 1 changed\n" in on_damaged.summary
    assert "SiglipVisionModel" in on_damaged.summary


@pytest.mark.parametrize("configuration", ["", None])
def test_no_file_to_check_is_said_and_is_no_failure(configuration, tmp_path, programs):
    project = tmp_path / "project"
    project.mkdir()
    if configuration is not None:
        (project / "vlm-inspect.toml").write_text(configuration, encoding="utf-8")
    outcome = Runner(project, [programs.folder, PROGRAMS]).run(ACTION, {"snapshots": "false"})
    assert not outcome.failed, outcome.log
    [(level, _, message)] = outcome.annotations
    assert (level, message.partition(":")[0]) == ("notice", "No tables were checked")
    assert "### vlm-inspect table: no files to check\n" in outcome.summary


def test_a_configuration_that_cannot_be_read_fails_both_and_says_why(tmp_path, programs):
    project = tmp_path / "project"
    project.mkdir()
    (project / "vlm-inspect.toml").write_text("filez = []\n", encoding="utf-8")
    outcome = Runner(project, [programs.folder, PROGRAMS]).run(ACTION)
    assert (outcome.failed, outcome.outputs["exit-code"]) == ("Result", "2")
    assert [level for level, _, _ in outcome.annotations] == ["error", "error"]
    assert outcome.summary.count("filez") >= 2
    assert "### vlm-inspect check: no answer (exit code 2)" in outcome.summary


def test_hostile_file_names_are_file_names(tmp_path, programs):
    project = tmp_path / "project"
    project.mkdir()
    outcome = Runner(project, [programs.folder, PROGRAMS]).run(ACTION, {"files": HOSTILE, "snapshots": "false"})
    assert (outcome.failed, outcome.outputs["exit-code"]) == ("Result", "2")
    assert not list(tmp_path.rglob("pwned*"))


# --- the action, and how it calls what it calls --------------------------------------------------------


@pytest.fixture
def job(tmp_path, programs):
    """A job whose vlm-inspect is a stand-in: all is well, unless a test says otherwise."""
    project = tmp_path / "project"
    project.mkdir()
    programs.add("vlm-inspect", *well())
    return Runner(project, [programs.folder])


def well():
    return answer("table"), answer("check", files=[("--summary", "### vlm-inspect: fine\n")])


def differing():
    return answer("table"), answer("check", files=[("--summary", "### vlm-inspect: differs\n")], code=1)


def test_scripts_hold_no_expressions():
    for step in STEPS:
        if "run" in step:
            assert "${{" not in step["run"]
            assert step["shell"] == "bash"


def test_actions_are_pinned_to_commits():
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    for step in [*STEPS, *workflow["jobs"]["check"]["steps"]]:
        name, _, pin = step.get("uses", "").partition("@")
        assert not name or FULL_COMMIT.fullmatch(pin) or f"{name}@{pin}" == OWN_ACTION


def test_inputs_and_outputs_are_those_of_the_document():
    stated = {name.strip("`"): default.strip("`") for name, default, _ in rows("input")}
    assert stated == {name: each["default"] for name, each in DEFINITION["inputs"].items()}
    assert [name.strip("`") for name, _ in rows("output")] == list(DEFINITION["outputs"])
    assert all(each["description"] for each in DEFINITION["inputs"].values())


@pytest.mark.parametrize(
    ("inputs", "table", "check"),
    [
        ({}, ["--check-files"], []),
        ({"files": "a.md  b/c.md\n\nd.md\n"}, ["--check=a.md", "--check=b/c.md", "--check=d.md"], []),
        ({"files": " \n"}, ["--check-files"], []),
        ({"files": "--write=a.md"}, ["--check=--write=a.md"], []),
        ({"offline": "true"}, ["--check-files", "--offline"], ["--offline"]),
        ({"latest": "true"}, ["--check-files"], ["--latest"]),
    ],
)
def test_inputs_become_options(inputs, table, check, job, programs):
    assert not job.run(ACTION, inputs).failed
    tables, snapshots = programs.arguments("vlm-inspect")
    assert tables == ["table", *table]
    assert snapshots[:4] == ["check", "--format", "github", "--summary"]
    assert snapshots[5:] == check


def test_check_is_left_out_on_demand(job, programs):
    outcome = job.run(ACTION, {"snapshots": "false"})
    assert "Check snapshots" not in outcome.ran
    assert [arguments[0] for arguments in programs.arguments("vlm-inspect")] == ["table"]


@pytest.mark.parametrize(
    ("table", "check", "code"), [(1, 0, 1), (0, 1, 1), (1, 3, 3), (3, 1, 3), (4, 0, 4), (0, 127, 127)]
)
def test_both_run_whatever_the_first_says_and_either_fails_the_action(table, check, code, job, programs):
    programs.add("vlm-inspect", answer("table", code=table), answer("check", code=check))
    outcome = job.run(ACTION)
    assert [arguments[0] for arguments in programs.arguments("vlm-inspect")] == ["table", "check"]
    assert (outcome.failed, outcome.outputs["exit-code"]) == ("Result", str(code))


@pytest.mark.parametrize("name", ["snapshots", "latest", "offline", "comment"])
def test_a_switch_that_is_neither_true_nor_false_is_refused_before_anything_is_done(name, job, programs):
    outcome = job.run(ACTION, {name: "yes"})
    assert outcome.failed == "Install vlm-inspect"
    assert programs.arguments("vlm-inspect") == programs.arguments("python") == []
    assert [level for level, _, _ in outcome.annotations] == ["error"]


@pytest.mark.parametrize(
    ("inputs", "installed"),
    [
        ({}, [[str(ROOT)]]),
        ({"transformers": "5.24.0"}, [[str(ROOT), "transformers==5.24.0"]]),
        ({"transformers": ">=5.6,<6"}, [[str(ROOT), "transformers>=5.6,<6"]]),
        ({"vlm-inspect-version": "0.1.0"}, [["vlm-inspect==0.1.0"]]),
        ({"vlm-inspect-version": ">=0.1"}, [["vlm-inspect>=0.1"]]),
        ({"vlm-inspect-version": "installed"}, []),
        ({"vlm-inspect-version": "installed", "transformers": "5.*"}, [["transformers==5.*"]]),
        ({"torch-index-url": "file:///wheels"}, [["--index-url=file:///wheels", "torch"], [str(ROOT)]]),
    ],
)
def test_what_is_installed(inputs, installed, job, programs):
    assert not job.run(ACTION, inputs).failed
    begin = ["-m", "pip", "install", "--disable-pip-version-check"]
    assert programs.arguments("python") == [[*begin, *packages] for packages in installed]


def test_nothing_in_the_project_can_stand_in_for_pip(job, programs):
    job.run(ACTION)
    [call] = programs.calls("python")
    assert not Path(call["folder"]).is_relative_to(job.workspace)


@pytest.mark.parametrize(
    ("inputs", "of_the_job", "used"),
    [
        ({"token": "hf_input"}, {"HF_TOKEN": "hf_job"}, "hf_input"),
        ({}, {"HF_TOKEN": "hf_job"}, "hf_job"),
        ({}, {}, ""),
    ],
)
def test_the_token_goes_by_the_environment(inputs, of_the_job, used, job, programs):
    job.env = of_the_job
    outcome = job.run(ACTION, inputs)
    calls = programs.calls("vlm-inspect")
    assert [call["HF_TOKEN"] for call in calls] == [used, used]
    assert "hf_" not in " ".join(argument for call in calls for argument in call["arguments"])
    assert "hf_" not in outcome.log


def test_the_token_is_given_to_no_other_step(job, programs):
    job.run(ACTION, {"token": "hf_input"})
    assert "HF_TOKEN" not in programs.calls("python")[0]
    assert [step["name"] for step in STEPS if "HF_TOKEN" in step.get("env", {})] == [
        "Check tables in files",
        "Check snapshots",
    ]


def test_it_runs_in_the_working_directory(job, programs):
    (job.workspace / "part").mkdir()
    programs.add("vlm-inspect", answer("table", err="a.md: stale; run: again\n", code=1), well()[1])
    outcome = job.run(ACTION, {"working-directory": "part", "files": "a.md"})
    assert {call["folder"] for call in programs.calls("vlm-inspect")} == {str(job.workspace / "part")}
    assert [properties["file"] for _, properties, _ in outcome.annotations] == ["part/a.md"]


def test_odd_file_names_survive_the_annotation(job, programs):
    path = job.workspace / "50%2C, a:b.md"
    programs.add("vlm-inspect", answer("table", err=f"{path}: stale; run: write '{path}'\n", code=1), well()[1])
    [(_, properties, message)] = job.run(ACTION).annotations
    assert properties == {"file": "50%2C, a:b.md", "title": "vlm-inspect table"}
    assert message == "The tables are stale; run: write '50%2C, a:b.md'"


def test_what_a_model_says_is_no_workflow_command(job, programs):
    loud = "error: a\n::error::pwned\n::set-env name=PATH::pwned\n"
    programs.add("vlm-inspect", answer("table", err=loud), answer("check", err=loud, code=3))
    outcome = job.run(ACTION)
    assert "::error::pwned" in outcome.log
    assert "pwned" not in str(outcome.annotations)


def test_hostile_inputs_stay_data(job, programs, tmp_path):
    (job.workspace / HOSTILE).mkdir()
    for name in ("inside.md", "--check=inside.md"):  # what a star could become
        (job.workspace / HOSTILE / name).touch()
    names = ["files", "transformers", "vlm-inspect-version", "torch-index-url", "working-directory", "token"]
    programs.add("vlm-inspect", *differing())
    programs.add("gh", answer("api"))
    job.github = {"event.pull_request.number": "7", "token": "t"}
    outcome = job.run(ACTION, dict.fromkeys(names, HOSTILE) | {"comment": "true"})
    assert (outcome.failed, outcome.outputs["exit-code"]) == ("Result", "1"), outcome.log
    assert not [path for path in tmp_path.rglob("*") if path.name == "pwned"]
    [torch, packages] = programs.arguments("python")
    assert torch[-2:] == [f"--index-url={HOSTILE}", "torch"]
    assert packages[-2:] == [f"vlm-inspect{HOSTILE}", f"transformers{HOSTILE}"]
    assert programs.arguments("vlm-inspect")[0] == ["table", *(f"--check={word}" for word in HOSTILE.split())]
    assert outcome.annotations == []


# --- the comment ---------------------------------------------------------------------------------------


@pytest.fixture
def pull_request(job, programs):
    job.github = {"event.pull_request.number": "7", "token": "the job's"}
    programs.add("vlm-inspect", *differing())
    return job


def commented(programs):
    return [call for call in programs.arguments("gh") if "--method" in call]


def test_a_report_becomes_a_comment(pull_request, programs):
    programs.add("gh", answer("--method"), answer("api"))
    outcome = pull_request.run(ACTION, {"comment": "true"})
    assert (outcome.failed, outcome.annotations) == ("Result", [])
    [call] = commented(programs)
    assert call[:5] == ["api", "--silent", "--method", "POST", "repos/someone/project/issues/7/comments"]
    assert {call["GH_TOKEN"] for call in programs.calls("gh")} == {"the job's"}


def test_the_comment_holds_the_report_and_is_cut_before_github_refuses_it(pull_request, programs, tmp_path):
    copied = tmp_path / "body"
    gh = programs.folder / "gh"
    gh.write_text(f'#!/bin/sh\nfor word; do case $word in body=@*) cp "${{word#body=@}}" {copied};; esac; done\n')
    gh.chmod(0o755)
    pull_request.run(ACTION, {"comment": "true"})
    marker, *rest = copied.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"<!-- vlm-inspect report \d+ -->", marker)
    assert "### vlm-inspect: differs" in rest

    long = answer("check", files=[("--summary", "- é\n" * 40_000)], code=1)
    programs.add("vlm-inspect", answer("table"), long)
    outcome = pull_request.run(ACTION, {"comment": "true"})
    text = copied.read_text(encoding="utf-8")
    assert 55_000 < len(text.encode()) < 65_536 < len(outcome.summary)
    assert text.endswith("(cut here; the summary of the job has the whole report)\n")


@pytest.mark.parametrize("differs", [True, False])
def test_an_earlier_comment_is_brought_up_to_date(differs, pull_request, programs):
    programs.add("vlm-inspect", *(differing() if differs else well()))
    programs.add("gh", answer("--method"), answer("--paginate", out="11\n12\n"))
    pull_request.run(ACTION, {"comment": "true"})
    [call] = commented(programs)
    assert call[:5] == ["api", "--silent", "--method", "PATCH", "repos/someone/project/issues/comments/11"]


def test_nothing_is_commented_while_all_is_well(pull_request, programs):
    programs.add("vlm-inspect", *well())
    programs.add("gh", answer("api"))
    assert not pull_request.run(ACTION, {"comment": "true"}).failed
    assert programs.arguments("gh")
    assert commented(programs) == []


@pytest.mark.parametrize("refused", ["--paginate", "--method"])
def test_a_token_that_may_not_comment_is_a_warning(refused, pull_request, programs):
    programs.add("gh", answer(refused, err="HTTP 403\n", code=1), answer("api"))
    outcome = pull_request.run(ACTION, {"comment": "true"})
    assert [level for level, _, _ in outcome.annotations] == ["warning"]
    assert (outcome.failed, outcome.outputs["exit-code"]) == ("Result", "1")


@pytest.mark.parametrize(("inputs", "github"), [({"comment": "true"}, {}), ({}, {"event.pull_request.number": "7"})])
def test_nobody_is_asked_to_comment_without_a_pull_request_or_unasked(inputs, github, job, programs):
    programs.add("gh", answer("api"))
    job.github = github
    job.run(ACTION, inputs)
    assert programs.arguments("gh") == []


def test_each_way_of_using_the_action_has_a_comment_of_its_own(pull_request, programs):
    programs.add("gh", answer("api"))
    for transformers in ("5.5.4", "5.6.0", "5.5.4"):
        pull_request.run(ACTION, {"comment": "true", "transformers": transformers})
    first, second, again = [call[-1] for call in programs.arguments("gh") if "--paginate" in call]
    assert first == again != second


# --- the workflow --------------------------------------------------------------------------------------


def test_the_workflow_asks_for_little_and_gives_the_action_what_it_knows():
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    triggers = workflow[True]  # YAML 1.1 reads the key `on` so
    assert set(triggers) == {"pull_request", "schedule", "workflow_dispatch"}
    job = workflow["jobs"]["check"]
    assert len(job["strategy"]["matrix"]["include"]) == 2
    [checkout, check] = job["steps"]
    assert checkout["with"] == {"persist-credentials": False}
    assert set(check["with"]) <= set(DEFINITION["inputs"])


def test_the_inputs_that_the_workflow_has_in_comments_exist():
    named = re.findall(r"^ +# ([a-z-]+): ", WORKFLOW.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == ["comment", "token"]
    assert set(named) <= set(DEFINITION["inputs"])


# --- pre-commit ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hooks(tmp_path_factory):
    """A repository of the hooks, and an environment without this machine's settings of git and pre-commit."""
    folder = tmp_path_factory.mktemp("hooks")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_"))}
    environment |= {
        "PATH": os.pathsep.join([str(PROGRAMS), os.environ["PATH"]]),
        "PRE_COMMIT_HOME": str(folder / "cache"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "NO_COLOR": "1",
    }
    for person in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{person}_NAME": "A", f"GIT_{person}_EMAIL": "a@b.invalid"}
    repository = folder / "repository"
    repository.mkdir()
    shutil.copy(HOOKS, repository)
    commit(repository, environment)
    return repository, environment


def run(environment, folder, *command):
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return done.returncode, done.stdout


def commit(folder, environment):
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=as it is"]):
        code, said = run(environment, folder, "git", *command)
        assert code == 0, said


def checked(project, hooks, *names):
    """The project under pre-commit, with hooks that use the present environment, as in the guide."""
    repository, environment = hooks
    _, revision = run(environment, repository, "git", "rev-parse", "HEAD")
    chosen = [{"id": name, "language": "system"} for name in names]
    config = {"repos": [{"repo": str(repository), "rev": revision.strip(), "hooks": chosen}]}
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    commit(project, environment)
    return run(environment, project, "pre-commit", "run", "--all-files", "--hook-stage", "manual")


def verdicts(said):
    return re.findall(
        r"^vlm-inspect (.*?)\.+(Passed|Failed|Skipped)$", re.sub(r"\(no files.*?\)", "", said), re.MULTILINE
    )


def test_the_manifest_is_valid(hooks):
    code, said = run(hooks[1], ROOT, "pre-commit", "validate-manifest", str(HOOKS))
    assert code == 0, said


def test_the_hooks_pass_where_all_is_as_it_should_be(fresh, hooks, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(fresh, project)
    code, said = checked(project, hooks, "vlm-inspect-table", "vlm-inspect-check")
    assert verdicts(said) == [("table --check-files", "Passed"), ("check", "Passed")], said
    assert code == 0


def test_the_hooks_fail_and_regenerate_where_something_was_edited(fresh, hooks, tmp_path):
    project = damaged(fresh, tmp_path / "project")
    code, said = checked(project, hooks, "vlm-inspect-table", "vlm-inspect-check", "vlm-inspect-table-write")
    told = [("table --check-files", "Failed"), ("check", "Failed"), ("table --write-files", "Failed")]
    assert verdicts(said) == told, said
    assert code == 1
    assert "README.md: stale" in said
    assert "SiglipVisionModel" in said
    assert "files were modified by this hook" in said
    assert (project / "README.md").read_bytes() == (fresh / "README.md").read_bytes()


@pytest.mark.parametrize("name", MANIFEST)
def test_hooks_are_in_the_document_with_what_they_run(name):
    stated = {row[0].strip("`"): row[1] for row in rows("hook")}
    assert set(stated) == set(MANIFEST)
    options = MANIFEST[name]["entry"].removeprefix("vlm-inspect ").removesuffix(" --format terminal")
    assert f"`{options}`" in stated[name]


@pytest.mark.parametrize(
    ("name", "path", "runs"),
    [
        ("vlm-inspect-table", "README.md", True),
        ("vlm-inspect-table", "docs/models.markdown", True),
        ("vlm-inspect-table", "pyproject.toml", True),
        ("vlm-inspect-table", "models/tiny/config.json", True),
        ("vlm-inspect-table", "src/app.py", False),
        ("vlm-inspect-table", "other.toml", False),
        ("vlm-inspect-table", "tsconfig.json", False),
        ("vlm-inspect-check", "vlm-inspect.toml", True),
        ("vlm-inspect-check", "ci/snapshots/a--b.json", True),
        ("vlm-inspect-check", "uv.lock", True),
        ("vlm-inspect-check", "requirements-dev.txt", True),
        ("vlm-inspect-check", "README.md", False),
        ("vlm-inspect-check", "package.json", False),
    ],
)
def test_hooks_run_when_their_files_change(name, path, runs):
    assert bool(re.search(MANIFEST[name]["files"], path)) == runs


def test_only_the_quick_hooks_run_at_a_commit():
    at_commit = [name for name, hook in MANIFEST.items() if "pre-commit" in hook["stages"]]
    assert at_commit == ["vlm-inspect-table", "vlm-inspect-table-write"]
    assert all("manual" in hook["stages"] and not hook["pass_filenames"] for hook in MANIFEST.values())


# --- the document's recipes ----------------------------------------------------------------------------


def test_the_yaml_of_the_document_is_for_what_is_there():
    step, config, override = map(yaml.safe_load, blocks("yaml"))
    assert set(step[0]["with"]) <= set(DEFINITION["inputs"])
    named = [hook["id"] for hook in [*config["repos"][0]["hooks"], *override]]
    assert set(named) <= set(MANIFEST)
    repository, commit = OWN_ACTION.split("@")
    assert step[0]["uses"] == OWN_ACTION
    assert (config["repos"][0]["repo"], config["repos"][0]["rev"]) == (
        f"https://github.com/{repository}",
        commit,
    )
    for placeholder in (repository, commit):  # what to put there is said before it is used
        assert f"`{placeholder}`" in DOCUMENT.partition("```yaml")[0]


@pytest.mark.parametrize(("table", "check"), [(0, 0), (1, 0), (0, 1), (3, 1)])
def test_the_make_recipe_runs_both_checks(table, check, tmp_path, programs):
    programs.add("vlm-inspect", answer("table", code=table), answer("check", code=check))
    [recipe] = blocks("make")
    (tmp_path / "Makefile").write_text(recipe, encoding="utf-8")
    environment = os.environ | {"PATH": os.pathsep.join([str(programs.folder), os.environ["PATH"]])}
    code, said = run(environment, tmp_path, "make", "--keep-going", "check-models")
    assert (code != 0) == bool(table or check), said
    assert programs.arguments("vlm-inspect") == [["table", "--check-files"], ["check"]]


@pytest.mark.parametrize(("table", "check", "code"), [(0, 0, 0), (1, 0, 1), (0, 3, 3)])
def test_the_plain_commands_run_both_checks(table, check, code, tmp_path, programs):
    programs.add("vlm-inspect", answer("table", code=table), answer("check", code=check))
    programs.add("pip")
    environment = os.environ | {"PATH": os.pathsep.join([str(programs.folder), os.environ["PATH"]])}
    assert run(environment, tmp_path, "bash", "-e", "-c", blocks("sh")[-1])[0] == code
    assert [arguments[0] for arguments in programs.arguments("vlm-inspect")] == ["table", "check"]
    assert programs.arguments("pip") == [["install", "./vlm-inspect", "transformers==5.24.0"]]
