"""What the documents show comes out as shown, and what there is, is in them."""

import doctest
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from huggingface_hub import constants
from typer.testing import CliRunner

import vlm_inspect
from tools import cli_reference
from vlm_inspect.app import requests as use_cases
from vlm_inspect.cli import exits
from vlm_inspect.cli.main import program
from vlm_inspect.render import FORMATS
from vlm_inspect.render.columns import column_ids
from vlm_inspect.render.facts import FACT_KEYS
from vlm_inspect.settings import tomllib  # the standard library's, or tomli's on Python 3.10
from vlm_inspect.sources import catalogue

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
CORRECTIONS = (ROOT / "docs" / "seed-corrections.md").read_text(encoding="utf-8")

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VERSIONS = re.compile(r"(transformers|torch) \d+(\.\d+)+")
COMMANDS = typer.main.get_command(program())
REASONS = {"renamed", "seed wrong", "wording"}


def blocks(language, document=README):
    return [body for name, body in FENCE.findall(document) if name == language]


def command_lines():
    """Every `vlm-inspect …` of the README's blocks, comments off."""
    bodies = [*blocks("console"), *blocks("sh")]
    lines = [line for body in bodies for line in body.splitlines()]
    bare = [line.removeprefix("$ ").partition("#")[0].strip() for line in lines]
    return [line for line in bare if line.startswith("vlm-inspect ")]


def shown():
    """Every command of the README with the output below it."""
    for body in blocks("console"):
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            yield line, output


def run(*arguments):
    return CliRunner().invoke(program(), arguments)


def without_versions(text):
    return VERSIONS.sub(r"\1 X", text)


# --- the README's commands


@pytest.mark.parametrize("line", command_lines())
def test_a_shown_command_is_one(line):
    words = shlex.split(line.partition(" | ")[0])[1:]
    context = COMMANDS.make_context("vlm-inspect", list(words), resilient_parsing=words[0].startswith("-"))
    if not words[0].startswith("-"):
        name, command, rest = COMMANDS.resolve_command(context, words)
        command.make_context(name, rest, parent=context)


def test_shown_outputs_are_what_the_commands_print(tmp_path, monkeypatch):
    # as a reader has it: there is no configuration, and what one command writes the next one reads
    monkeypatch.chdir(tmp_path)
    examples = list(shown())
    assert len(examples) > 5
    for line, output in examples:
        command, _, pipe = line.partition(" | head -n ")
        words = shlex.split(command)
        assert words[0] == "vlm-inspect"
        assert "--offline" in words, "what is shown must come out without a network"
        result = run(*words[1:])
        assert result.exit_code == (1 if words[1] == "diff" else 0), line  # 1: they differ, as they should
        printed = result.output.splitlines()[: int(pipe) if pipe else None]
        assert without_versions("\n".join(printed).strip()) == without_versions(output.strip()), line


def test_the_tables_of_the_readme_are_fresh(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = run("table", "--check", "README.md", "--offline")
    assert result.exit_code == 0, result.output


def test_the_python_of_the_readme_runs_as_shown(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    examples = doctest.DocTestParser().get_doctest("".join(blocks("python")), {}, "README", "README.md", 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0


# --- what there is, is in the README


@pytest.mark.parametrize("name", COMMANDS.commands)
def test_every_command_has_a_heading(name):
    assert re.search(rf"^### .*`vlm-inspect {name}\b", README, re.MULTILINE)


def test_the_reference_of_the_command_line_is_fresh():
    assert cli_reference.PAGE.read_text(encoding="utf-8") == cli_reference.reference(), "run: make docs"


@pytest.mark.parametrize("name", [*column_ids(), *FACT_KEYS, *FORMATS, "json"])
def test_every_name_that_users_type_is_in_the_readme(name):
    assert re.search(rf"[`.]{re.escape(name)}\b", README)


def test_the_exit_codes_are_those_of_the_program():
    section = README.partition("## Exit codes")[2].partition("\n## ")[0]
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)} == {0, *codes}


# --- the configuration


def test_the_example_configuration_is_read(tmp_path):
    (example,) = blocks("toml")
    path = tmp_path / "vlm-inspect.toml"
    path.write_text(example, encoding="utf-8")
    settings = use_cases.load_settings(path)
    assert [model.name for model in settings.models] == ["LLaVA-1.5-7B", "HuggingFaceM4/idefics2-8b"]
    assert settings.tables["comparison"].columns == ("model", "parameters", "fine_tuning")
    assert settings.snapshots == tmp_path / "snapshots"
    assert len(settings.files) == 2


def test_the_example_configuration_shows_every_key():
    (example,) = blocks("toml")
    data = tomllib.loads(example)
    assert set(data) == {"files", "snapshots", "models", "tables"}
    assert set(data["models"][0]) == {"id", "revision", "alias", "facts"}
    assert set(data["tables"]["comparison"]) == {"kind", "models", "columns"}


def test_this_projects_own_tables_hold_the_whole_catalogue():
    settings = use_cases.load_settings(ROOT / "pyproject.toml")
    assert settings.files == (ROOT / "README.md",)
    for name in ("comparison", "architectures"):
        assert sorted(settings.tables[name].models) == sorted(catalogue.names())


# --- the corrections to the seed


def cells_of(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables_of(document):
    """Every Markdown table, as (the heading above it, headers, rows)."""
    heading, lines = "", []
    for line in [*document.splitlines(), ""]:
        if line.startswith("|"):
            lines.append(cells_of(line))
        elif lines:
            yield heading, lines[0], lines[2:]
            lines = []
        heading = re.sub(r"^#+ ", "", line) if line.startswith("#") else heading


def model_key(cell):
    """A model in any spelling: an id in code, a display name."""
    return cell.strip("`").rpartition("/")[2].lower().removesuffix("-hf")


def cells_by_model(headers, rows):
    return {
        (header, model_key(row[0])): cell
        for row in rows
        for header, cell in zip(headers[1:], row[1:], strict=True)
    }


def corrected():
    """The corrections as (column, model) → (seed, tool, reason)."""
    found = {}
    for heading, headers, rows in tables_of(CORRECTIONS):
        if headers[-1] != "Reason":
            continue
        for row in rows:
            column, model, *rest = row if headers[0] == "Column" else [heading, *row]
            assert (column, model_key(model)) not in found
            found[column, model_key(model)] = tuple(rest)
    return found


def seed_cells():
    tables = [table for table in tables_of(CORRECTIONS) if table[0].endswith(", 2024")]
    assert len(tables) == 2
    return {key: cell for _, headers, rows in tables for key, cell in cells_by_model(headers, rows).items()}


def tool_cells():
    tables = [table for table in tables_of(README) if table[0] in {"Comparison", "Architectures"}]
    assert len(tables) == 2
    return {key: cell for _, headers, rows in tables for key, cell in cells_by_model(headers, rows).items()}


def test_every_cell_that_differs_from_the_seed_is_listed_and_no_other():
    tool, seed = tool_cells(), seed_cells()
    assert len(seed) == 8 * 9 + 6 * 14
    assert {key for key, cell in seed.items() if tool[key] != cell} == set(corrected())


def test_the_listed_cells_are_those_of_the_seed_and_of_the_tool():
    tool, seed = tool_cells(), seed_cells()
    for key, (before, now, reason) in corrected().items():
        assert (before, now) == (seed[key], tool[key]), key
        assert reason in REASONS, key


# --- all documents


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_links_to_exists(path):
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" not in target and not target.startswith("#"):
            assert (path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_of_this_project_that_a_document_names_exist(path):
    prose = path.read_text(encoding="utf-8")
    for named in re.findall(r"`((?:vlm_inspect|tests|docs|\.ci)/[\w./-]+)`", prose):
        assert (ROOT / named).exists() or "org__name" in named, named


def test_every_room_is_in_the_plan():
    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = Path(vlm_inspect.__file__).parent
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    rooms = {path.stem for path in package.glob("*.py")} | folders
    for room in {*rooms, "catalogue"}:
        assert f"`{room}`" in plan, f"give {room} a line in docs/architecture.md"


def test_the_rooms_are_in_the_order_of_the_layers():
    from tests.test_layers import RANK

    plan = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = next(rows for heading, _, rows in tables_of(plan) if heading == "The rooms")
    ranks = [RANK[row[1].strip("`")] for row in table]
    assert all(above <= below for above, below in pairwise(ranks))
    assert {row[1].strip("`") for row in table} == set(RANK)


def test_every_verb_of_the_makefile_is_explained():
    verbs = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for verb in verbs:
        assert f"`make {verb}`" in contributing


def test_the_changelog_knows_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{vlm_inspect.__version__}]" in changelog
