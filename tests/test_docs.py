"""What the documents show is what the program prints, and what they name exists.

`BLESS_GOLDEN=1 pytest tests/test_docs.py` rewrites the outputs in the console blocks.
"""

import doctest
import json
import os
import re
import shlex
from pathlib import Path

import pytest
import typer
from huggingface_hub import constants
from msgspec.structs import fields
from typer.testing import CliRunner

import vlm_inspect
from tests import checkpoints, sparse
from tools import cli_reference
from vlm_inspect.app import requests as use_cases
from vlm_inspect.cli import exits
from vlm_inspect.cli.main import program
from vlm_inspect.core import architecture as records
from vlm_inspect.core.model_ref import ModelIdentity
from vlm_inspect.core.module_tree import UnusedConfigKey
from vlm_inspect.core.stages import BaseStage
from vlm_inspect.render import FORMATS
from vlm_inspect.render.columns import COLUMNS, column_ids
from vlm_inspect.render.facts import FACT_KEYS
from vlm_inspect.settings import tomllib  # the standard library's, or tomli's on Python 3.10
from vlm_inspect.sources import catalogue

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


README = read("README.md")
CORRECTIONS = read("docs/seed-corrections.md")
CONFIGURATION = read("docs/reference/configuration.md")
RECORD = read("docs/reference/record.md")
ARCHITECTURE = read("docs/architecture.md")

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
VERSIONS = re.compile(r"(transformers|torch) \d+(\.\d+)+")
CODE = re.compile(r"`([^`]+)`")
COMMANDS = typer.main.get_command(program())
DIFFERENT = {"diff", "verify"}
"""Commands whose examples show differences."""
REASONS = {"renamed", "seed wrong", "wording"}


def page_id(path):
    return path.relative_to(ROOT).as_posix()


def blocks(language, document=README):
    return [body for name, body in FENCE.findall(document) if name == language]


def pages_with(language, text):
    return [path for path in DOCUMENTS if text in "".join(blocks(language, path.read_text(encoding="utf-8")))]


def run(*arguments):
    return CliRunner().invoke(program(), arguments)


def without_versions(text):
    return VERSIONS.sub(r"\1 X", text)


# --- commands


def shown_commands():
    """Every line `vlm-inspect …` of the shell blocks of all documents, without comments and pipes."""
    for path in DOCUMENTS:
        document = path.read_text(encoding="utf-8")
        for line in "".join([*blocks("console", document), *blocks("sh", document)]).splitlines():
            bare = re.split(r"#| \|", line.removeprefix("$ "))[0].strip()
            if bare.startswith("vlm-inspect ") and "[OPTIONS]" not in bare:
                yield bare


@pytest.mark.parametrize("line", dict.fromkeys(shown_commands()))
def test_a_shown_command_is_valid(line):
    words = shlex.split(line)[1:]
    context = COMMANDS.make_context("vlm-inspect", list(words), resilient_parsing=words[0].startswith("-"))
    if not words[0].startswith("-"):
        name, command, rest = COMMANDS.resolve_command(context, words)
        command.make_context(name, rest, parent=context)


@pytest.fixture(scope="module")
def damaged_checkpoint(tmp_path_factory):
    """The folders of the verify guide: a LLaVA with a few wrong tensors, and a LoRA adapter."""
    folder = tmp_path_factory.mktemp("checkpoints")
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}
    tensors = checkpoints.tensors_of(config)
    language_model = "model.language_model.layers"
    del tensors[f"{language_model}.7.mlp.up_proj.weight"]
    tensors[f"{language_model}.3.self_attn.q_proj.weight"] = (4096, 4000)
    tensors |= {f"{language_model}.{layer}.foo.weight": (2, 2) for layer in range(32)}
    checkpoints.save(folder / "my-finetune", config, tensors)
    adapter = {"peft_type": "LORA", "r": 8, "target_modules": ["q_proj", "v_proj"]}
    adapter["base_model_name_or_path"] = "llava-hf/llava-1.5-7b-hf"
    lora = {
        f"base_model.model.{language_model}.{layer}.self_attn.{name}.lora_{part}.weight": shape
        for layer in range(32)
        for name in adapter["target_modules"]
        for part, shape in (("A", (8, 4096)), ("B", (4096, 8)))
    }
    sparse.write(folder / "my-lora" / "adapter_model.safetensors", lora)
    (folder / "my-lora" / "adapter_config.json").write_text(json.dumps(adapter), encoding="utf-8")
    return folder


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    """The working directory of a page's examples: without a configuration, with the files that it names."""
    document = request.param.read_text(encoding="utf-8")
    place = tmp_path
    if "./my-finetune" in "".join([*blocks("console", document), *blocks("python", document)]):
        place = request.getfixturevalue("damaged_checkpoint")
    if "MODELS.md" in "".join(blocks("console", document)):
        (place / "MODELS.md").write_text(blocks("markdown", document)[0], encoding="utf-8")
    monkeypatch.chdir(place)
    return place


def printed(line):
    command, _, lines = line.partition(" | head -n ")
    words = shlex.split(command)
    assert words[0] == "vlm-inspect"
    assert "--offline" in words, "what is shown must come out without a network"
    result = run(*words[1:])
    assert result.exit_code == (1 if words[1] in DIFFERENT else 0), (line, result.output)
    return "\n".join(result.output.splitlines()[: int(lines) if lines else None]).strip("\n")


def with_outputs(block):
    """A console block, its commands with their present outputs."""
    lines = [part.partition("\n")[0] for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return "\n\n".join(f"$ {line}\n{printed(line)}" for line in lines) + "\n"


def in_its_folder(pages):
    """Parametrize a test by pages, with the fixture `folder` for each."""
    return pytest.mark.parametrize(
        ("path", "folder"),
        [pytest.param(path, path, id=page_id(path)) for path in pages],
        indirect=["folder"],
    )


@in_its_folder(pages_with("console", "$ "))
@pytest.mark.usefixtures("folder")
def test_shown_outputs_are_what_the_commands_print(path):
    document = path.read_text(encoding="utf-8")
    present = CONSOLE.sub(lambda match: with_outputs(match[0]), document)
    if os.environ.get("BLESS_GOLDEN"):
        path.write_text(present, encoding="utf-8")
    else:
        assert without_versions(document) == without_versions(present)


def test_enough_is_shown():
    assert {page_id(path) for path in pages_with("console", "$ ")} >= {"README.md", "docs/guides/diff.md"}
    assert len(re.findall(r"^\$ ", "".join(blocks("console", README)), re.MULTILINE)) >= 3


@in_its_folder(pages_with("python", ">>> "))
@pytest.mark.usefixtures("folder")
def test_shown_python_runs(path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code = "".join(blocks("python", path.read_text(encoding="utf-8")))
    examples = doctest.DocTestParser().get_doctest(code, {}, path.name, str(path), 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_the_tables_of_the_readme_are_fresh(monkeypatch):
    monkeypatch.chdir(ROOT)
    result = run("table", "--check", "README.md", "--offline")
    assert result.exit_code == 0, result.output


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 180


# --- reference pages


def test_the_reference_of_the_command_line_is_fresh():
    assert cli_reference.PAGE.read_text(encoding="utf-8") == cli_reference.reference(), "run: make docs"


@pytest.mark.parametrize("name", COMMANDS.commands)
def test_every_command_is_in_the_readme(name):
    assert f"vlm-inspect {name}" in README


def first_cells(document, heading):
    """The names in code in the first column of the tables below a heading."""
    section = re.split(rf"^## {re.escape(heading)}$", document, flags=re.MULTILINE)[1].partition("\n## ")[0]
    return [CODE.findall(line.split("|")[1])[0] for line in section.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("`--kind architectures`", "architectures"),
        ("`--kind comparison`", "comparison"),
        ("In no table by default", "optional"),
    ],
)
def test_every_column_is_listed(heading, kind):
    listed = first_cells(read("docs/reference/columns.md"), heading)
    columns = [column.id for column in COLUMNS if column.kind == kind]
    assert sorted(listed) == sorted(columns)
    if kind != "optional":
        assert listed == columns
    assert set(listed) <= set(column_ids())


@pytest.mark.parametrize("key", FACT_KEYS)
def test_every_fact_is_listed(key):
    assert f"`{key}`" in CONFIGURATION.partition("## Facts")[2]


def test_the_labels_of_the_card_are_those_that_are_shown():
    section = read("docs/concepts/output.md").partition("## The card of `show`")[2].partition("\n## ")[0]
    labels = re.findall(r"^\| ([A-Z][\w ]+) \|", section, re.MULTILINE)
    assert len(labels) > 3
    shown = "".join(blocks("console", read("docs/getting-started.md")))
    for label in labels:
        assert re.search(rf"^ *{label} {{2,}}", shown, re.MULTILINE), label


@pytest.mark.parametrize("name", COMMANDS.commands)
def test_the_formats_of_every_command_are_listed(name):
    helps = [option.help for option in COMMANDS.commands[name].params if option.name == "format"]
    rows = read("docs/concepts/output.md").partition("## Formats")[2].splitlines()
    listed = [CODE.findall(row.split("|")[2]) for row in rows if row.startswith("|") and f"`{name}`" in row]
    assert listed == [re.findall(r"\w+", text.partition(".")[0].replace(" or ", " ")) for text in helps]
    assert {each for formats in listed for each in formats} <= {*FORMATS, "json", "github"}


def test_the_exit_codes_are_those_of_the_program():
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    listed = re.findall(r"^\| (\d+) \|", read("docs/reference/exit-codes.md"), re.MULTILINE)
    assert {int(code) for code in listed} == {0, *codes}


STAGES = BaseStage.__subclasses__()
RECORDS = [
    each
    for each in [*vars(records).values(), ModelIdentity, UnusedConfigKey]
    if getattr(each, "__struct_fields__", ())
]


@pytest.mark.parametrize("record", dict.fromkeys(RECORDS), ids=lambda record: record.__name__)
def test_every_field_of_a_record_is_described(record):
    assert first_cells(RECORD, record.__name__) == list(record.__struct_fields__)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_every_field_of_a_stage_is_described(stage):
    section = RECORD.partition("## Stages")[2].partition("\n## ")[0]
    common = {field.name for field in fields(BaseStage)}
    kind = stage.__struct_config__.tag
    (row,) = [line for line in section.splitlines() if line.startswith(f"| `{kind}` |")]
    own = [field.name for field in fields(stage) if field.name not in common]
    assert CODE.findall(row.split("|", 2)[2]) == own
    assert common <= set(first_cells(RECORD, "Stages"))


# --- the configuration


def test_the_example_configuration_is_read(tmp_path):
    (example,) = blocks("toml", CONFIGURATION)
    path = tmp_path / "vlm-inspect.toml"
    path.write_text(example, encoding="utf-8")
    settings = use_cases.load_settings(path)
    assert [model.name for model in settings.models] == ["LLaVA-1.5-7B", "HuggingFaceM4/idefics2-8b"]
    assert settings.tables["comparison"].columns == ("model", "parameters", "fine_tuning")
    assert settings.snapshots == tmp_path / "snapshots"
    assert len(settings.files) == 2


def test_the_example_configuration_shows_every_key():
    (example,) = blocks("toml", CONFIGURATION)
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
        (header, model_key(row[0])): cell for row in rows for header, cell in zip(headers[1:], row[1:], strict=True)
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


def anchors(path):
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_what_a_document_links_to_exists(path):
    prose = FENCE.sub("", path.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=page_id)
def test_the_files_that_a_document_names_exist(path):
    prose = path.read_text(encoding="utf-8")
    for named in re.findall(r"`((?:vlm_inspect|tests|docs|\.ci)/[\w./-]+)`", prose):
        assert (ROOT / named).exists() or "org__name" in named, named


def test_every_page_is_in_the_index():
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md"):
        name = path.relative_to(DOCS).as_posix()
        assert name == "README.md" or f"]({name})" in index


def test_the_package_layout_is_that_of_the_import_contract():
    layers = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"][0]["layers"]
    floors = {name: len(layers) - i for i, layer in enumerate(layers) for name in layer.split(" | ")}
    rows = next(rows for heading, _, rows in tables_of(ARCHITECTURE) if heading == "Package layout")
    assert {CODE.findall(row[0])[0]: int(row[2]) for row in rows} == floors


def test_the_files_that_the_architecture_page_names_exist():
    package = Path(vlm_inspect.__file__).parent
    prose = FENCE.sub("", ARCHITECTURE)
    named = [name for name in CODE.findall(prose) if re.fullmatch(r"[\w/]+(\.py|/)", name)]
    assert len(named) > 5
    for name in named:
        assert list(package.rglob(name)) if "/" not in name else (package / name).exists(), name


def test_every_verb_of_the_makefile_is_explained():
    verbs = re.findall(r"^([a-z-]+):.*##", read("Makefile"), re.MULTILINE)
    assert verbs
    for verb in verbs:
        assert f"`make {verb}`" in read("CONTRIBUTING.md")


def test_the_changelog_has_this_version():
    assert f"## [{vlm_inspect.__version__}]" in read("CHANGELOG.md")
